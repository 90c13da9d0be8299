"""A gateway dies right after a commit: whoever was not answered loses nothing, and nothing waits for it."""

from __future__ import annotations

import pytest

from tests.faults.scene import Scene
from tests.stack import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CRASHES = 5


def test_what_was_committed_before_the_gateway_died_is_picked_up_by_the_steward(scene: Scene) -> None:
    """Killed between the commit and the bell, over and over: no bell, no answer, but a row."""
    scene.start()
    scene.stack.stop("gateway")
    scene.stack.environment["AUGURY_FAILPOINT"] = "after_commit"
    for crash in range(1, CRASHES + 1):
        scene.stack.start_again("gateway")
        scene.wait_until_live()
        assert scene.post() is None, "it dies before it answers"
        wait_until(lambda: scene.rows("SELECT count(*) FROM predictions") == [(crash,)], 5, "the commit")  # noqa: B023
        scene.wait_until_ended(timeout_seconds=3)
    del scene.stack.environment["AUGURY_FAILPOINT"]
    scene.stack.start_again("gateway")
    scene.wait_until_live()
    scene.wait_until_ended(*scene.submit(3))
    records = scene.audit()
    assert len(records) == CRASHES + 3
    assert {(record.status, record.attempts) for record in records.values()} == {("succeeded", 1)}
