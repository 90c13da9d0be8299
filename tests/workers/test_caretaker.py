"""What a lane does that no bell asks for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text

from db.pools import deployment_pool
from tests.stack import wait_until
from tests.workers.workshop import POOL, Workshop
from workers.caretaker import Caretaker

Open = Callable[..., Workshop]


def caretaker(workshop: Workshop) -> Caretaker:
    return Caretaker(
        workshop.engine,
        workshop.leases,
        workshop.residency,
        pools=[POOL],
        serve=workshop.runner.serve,
        stopping=lambda: workshop.stopping,
        give_up=lambda error: workshop.journal.note("give up", str(error)),
    )


def run(workshop: Workshop, statement: str, **parameters: str) -> None:
    with workshop.engine.connect() as connection:
        connection.execute(text(statement), parameters)


def order(workshop: Workshop, **actions: str) -> None:
    """Order this lane to do these things to versions."""
    for version, action in actions.items():
        run(
            workshop,
            "INSERT INTO lane_orders (lane_id, version_id, action) VALUES ('lane', :version, :action)",
            version=version,
            action=action,
        )


def test_orders_are_obeyed_once(open_workshop: Open) -> None:
    workshop = open_workshop(a={}, b={}, c={})
    for version in "ab":
        workshop.residency.acquire(version)
    order(workshop, a="unload", b="load", c="load")
    caretaker(workshop).tend()
    assert workshop.residency.held() == ["b", "c"]
    workshop.residency.unload("c")
    caretaker(workshop).tend()
    assert workshop.residency.held() == ["b"]
    assert workshop.journal.of("load") == ["a", "b", "c"]


def test_a_version_that_cannot_be_loaded_does_not_keep_others_from_it(
    open_workshop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = open_workshop(gone={"unavailable": "no such file"}, v={})
    order(workshop, gone="load", v="load", unknown="load")
    caretaker(workshop).tend()
    assert workshop.residency.held() == ["v"]
    assert sorted(workshop.told) == [
        ("gone", "no such file"),
        ("unknown", "The version has been deleted."),
        ("v", None),
    ]
    assert "version gone cannot be loaded: no such file" in caplog.messages


def test_what_a_lane_is_to_keep_is_loaded_and_loaded_again(
    open_workshop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = open_workshop(gone={"unavailable": "no such file"}, v={})
    run(workshop, "UPDATE lanes SET kept = '{gone,v}'")
    keeper = caretaker(workshop)
    for _ in range(2):
        keeper.tend()
        assert workshop.residency.held() == ["v"]
    # What cannot be loaded is not tried each time.
    assert sorted(workshop.journal.of("load")) == ["gone", "v"]
    order(workshop, v="unload")
    for _ in range(2):
        keeper.tend()
    assert workshop.residency.held() == ["v"]
    run(workshop, "UPDATE lanes SET kept = '{}'")
    keeper.tend()
    assert workshop.residency.kept == frozenset()


def test_what_waits_for_a_kept_version_is_served_without_a_bell(open_workshop: Open) -> None:
    workshop = open_workshop(v={}, w={})
    run(workshop, "UPDATE lanes SET kept = '{v}'")
    workshop.submit("deployed", pool=deployment_pool(POOL, "d"))
    keeper = caretaker(workshop)
    with keeper.floor:
        workshop.residency.acquire("v")
        keeper.tend()
        assert workshop.batches() == []
    keeper.tend()
    assert workshop.batches() == [["deployed"]]
    workshop.submit("public")
    workshop.submit("of another version", version="w", pool=deployment_pool(POOL, "d"))
    keeper.tend()
    assert workshop.batches() == [["deployed"]]


def test_what_has_expired_goes_without_anybody_asking(open_workshop: Open) -> None:
    workshop = open_workshop(short={"ttl_seconds": 0}, long={"ttl_seconds": 60})
    for version in ("short", "long"):
        workshop.residency.acquire(version)
    caretaker(workshop).tend()
    assert workshop.residency.held() == ["long"]


@pytest.mark.slow
def test_a_version_at_work_is_unloaded_only_when_its_lane_is_at_rest(open_workshop: Open) -> None:
    workshop = open_workshop(v={})
    keeper = caretaker(workshop)
    order(workshop, v="unload")
    workshop.submit("long", seconds=0.3)
    with keeper.floor:
        tending = threading.Thread(target=keeper.tend)
        tending.start()
        workshop.serve()
        assert workshop.residency.held() == ["v"]
    tending.join()
    assert workshop.residency.held() == []
    assert [name for name, _ in workshop.journal.events if name in ("end", "unload")] == ["end", "unload"]


@pytest.mark.slow
@pytest.mark.own_database
def test_a_caretaker_looks_by_itself_and_outlives_trouble_with_the_database(
    open_workshop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = open_workshop(v={})
    keeper = caretaker(workshop)
    with caplog.at_level(logging.WARNING, "workers.caretaker"):
        run(workshop, "ALTER TABLE lane_orders RENAME TO hidden")
        keeper.start()
        wait_until(lambda: "orders cannot be read" in caplog.text, 10)
    run(workshop, "ALTER TABLE hidden RENAME TO lane_orders")
    order(workshop, v="load")
    wait_until(lambda: workshop.residency.held() == ["v"], 10)
    keeper.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "caretaker"]


@pytest.mark.slow
def test_a_device_that_is_lost_while_loading_ends_the_lane(open_workshop: Open) -> None:
    workshop = open_workshop(v={"lost": "the GPU has fallen off the bus"})
    keeper = caretaker(workshop)
    order(workshop, v="load")
    keeper.start()
    wait_until(lambda: bool(workshop.journal.of("give up")), 10)
    keeper.close()
    assert workshop.journal.of("give up") == ["the GPU has fallen off the bus"]
    assert workshop.told == []
