"""What waits for the disk: what somebody is told, and nothing else."""

from __future__ import annotations

import pytest

from cli.postgres import EmbeddedPostgres
from db.leases import Outcome
from db.states import Status
from tests.db.interleaving import sessions
from tests.db.requests import POOL, VERSIONS, Request
from tests.wal import unflushed

pytestmark = pytest.mark.slow


def test_an_end_waits_for_the_disk_and_a_claim_does_not_not_even_one_in_vain(
    own_postgres: EmbeddedPostgres,
) -> None:
    with sessions(own_postgres.url) as world, unflushed(own_postgres.url) as unflushed_bytes:
        lane = world.lane()
        world.submit(Request())
        assert unflushed_bytes() == 0
        assert not lane.claim(POOL, "another version", limit=1, budget=1).leases
        assert unflushed_bytes() > 0
        world.submit(Request(version=VERSIONS[1]))
        assert unflushed_bytes() == 0
        claim = lane.claim(POOL, VERSIONS[0], limit=1, budget=1)
        assert claim.leases
        assert unflushed_bytes() > 0
        assert lane.finish([Outcome(claim.leases[0], Status.SUCCEEDED, '"y"')])
        assert unflushed_bytes() == 0
