"""Webhooks as their owners see them: the key that signs them, the log of what was sent, and replay."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, text

from db import outbox
from db.outbox import Attempt, Delivery
from db.session import sync_engine
from db.settings import DatabaseSettings
from tests.api.asking import add_model, ask, cancel
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio

SECRET = "/v1/webhooks/default/secret"
DELIVERIES = "/v1/webhooks/deliveries"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """What the steward sees of the database."""
    engine = sync_engine(DatabaseSettings(database_url=database_url))
    yield engine
    engine.dispose()


async def get(
    served: Served,
    headers: dict[str, str],
    path: str,
    expected: int = 200,
    query: dict[str, str] | None = None,
) -> Any:
    response = await served.http.get(path, params=query, headers=headers)
    assert response.status_code == expected, response.text
    return response.json()


async def post(served: Served, headers: dict[str, str], path: str, expected: int) -> Any:
    response = await served.http.post(path, headers=headers)
    assert response.status_code == expected, response.text
    return response.json()


async def canceled(served: Served, headers: dict[str, str]) -> str:
    """A prediction with a webhook, ended at once; its id."""
    made = await ask(served, headers, webhook="https://receiver.example/hook")
    await cancel(served, headers, made["id"])
    return str(made["id"])


def take(engine: Engine) -> Delivery:
    """The one delivery that is due, begun."""
    [taken] = outbox.due(engine, limit=10, per_receiver=10, busy={}, lease_seconds=60)
    return taken


async def test_the_key_is_made_once_and_in_a_form_that_every_client_takes(served: Served) -> None:
    ann, bob = await served.person("ann"), await served.person("bob")
    response = await served.http.get(SECRET, headers=ann)
    assert response.headers["cache-control"] == "no-store"
    key = response.json()["key"]
    prefix, _, encoded = key.partition("_")
    assert (prefix, len(b64decode(encoded, validate=True))) == ("whsec", 32)
    assert (await get(served, ann, SECRET))["key"] == key
    assert (await get(served, bob, SECRET))["key"] != key
    await get(served, {}, SECRET, 401)


async def test_many_who_ask_at_once_for_the_first_key_get_the_same(served: Served) -> None:
    ann = await served.person("ann")
    keys = set()

    async def fetch() -> None:
        keys.add((await get(served, ann, SECRET))["key"])

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(fetch)
    assert len(keys) == 1


async def test_after_a_rotation_two_keys_sign_for_a_day_and_never_three(
    served: Served, engine: Engine
) -> None:
    await add_model(served, await served.admin())
    ann = await served.person("ann")
    first = (await get(served, ann, SECRET))["key"]
    second = await post(served, ann, f"{SECRET}/rotate", 200)
    assert (await get(served, ann, SECRET))["key"] == second["key"] != first
    retires_at = datetime.fromisoformat(second["previous_retires_at"])
    assert abs(retires_at - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=1)
    await canceled(served, ann)
    delivery = take(engine)
    assert delivery.secrets == [second["key"], first]
    third = await post(served, ann, f"{SECRET}/rotate", 200)
    outbox.failed(engine, delivery, Attempt("No answer."), retry_seconds=0)
    again = take(engine)
    assert again.secrets == [third["key"], second["key"]]
    with engine.connect() as connection:
        connection.execute(text("UPDATE webhook_secrets SET retires_at = now() WHERE retires_at > now()"))
    outbox.failed(engine, again, Attempt("No answer."), retry_seconds=0)
    assert take(engine).secrets == [third["key"]]


async def test_rotations_at_the_same_time_leave_one_key(served: Served, engine: Engine) -> None:
    ann = await served.person("ann")
    assert (await post(served, ann, f"{SECRET}/rotate", 200))["previous_retires_at"] is None
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(post, served, ann, f"{SECRET}/rotate", 200)
    with engine.connect() as connection:
        counts = connection.execute(text("SELECT count(*), count(retires_at) FROM webhook_secrets")).one()
    assert tuple(counts) == (2, 1)


async def test_the_log_tells_of_every_attempt(served: Served, engine: Engine) -> None:
    await add_model(served, await served.admin())
    ann = await served.person("ann")
    prediction_id = await canceled(served, ann)
    outbox.failed(
        engine,
        take(engine),
        Attempt("The receiver answered 503.", status=503, milliseconds=12),
        retry_seconds=0,
    )
    [waiting] = (await get(served, ann, DELIVERIES))["results"]
    assert (waiting["status"], waiting["attempts"], waiting["last_status"]) == ("pending", 1, 503)
    outbox.delivered(engine, take(engine), Attempt(status=204, milliseconds=7))
    shown = await get(served, ann, f"{DELIVERIES}/{waiting['id']}")
    assert shown["id"].startswith("msg_")
    assert "." not in shown["id"]
    assert (shown["prediction_id"], shown["event"], shown["url"]) == (
        prediction_id,
        "completed",
        "https://receiver.example/hook",
    )
    assert (shown["status"], shown["last_status"], shown["last_error"]) == ("delivered", 204, None)
    assert shown["next_attempt_at"] is None
    assert shown["delivered_at"].endswith("Z")
    log = [[entry[name] for name in ("attempt", "status", "error", "milliseconds")] for entry in shown["log"]]
    assert log == [[1, 503, "The receiver answered 503.", 12], [2, 204, None, 7]]


@pytest.mark.slow
async def test_the_log_can_be_narrowed_and_read_by_pages(served: Served, engine: Engine) -> None:
    await add_model(served, await served.admin())
    ann = await served.person("ann")
    first, second, third = [await canceled(served, ann) for _ in range(3)]
    for delivery in outbox.due(engine, limit=2, per_receiver=10, busy={}, lease_seconds=60):
        attempt = Attempt(status=200) if delivery.prediction_id == first else Attempt("The receiver is gone.")
        outbox.failed(engine, delivery, attempt, retry_seconds=None)

    async def found(**query: str) -> list[str]:
        return [one["prediction_id"] for one in (await get(served, ann, DELIVERIES, query=query))["results"]]

    assert await found() == [third, second, first]
    assert await found(status="pending") == [third]
    assert await found(status="failed") == [second]
    assert await found(status="delivered") == [first]
    assert await found(prediction_id=second) == [second]
    assert await found(prediction_id="nobody's") == []
    page = await get(served, ann, DELIVERIES, query={"limit": "2"})
    assert [one["prediction_id"] for one in page["results"]] == [third, second]
    rest = await get(served, ann, page["next"])
    assert [one["prediction_id"] for one in rest["results"]] == [first]
    assert rest["next"] is None
    await get(served, ann, DELIVERIES, 422, {"status": "lost"})


async def test_a_replay_is_due_at_once_under_the_same_id(served: Served, engine: Engine) -> None:
    await add_model(served, await served.admin())
    ann = await served.person("ann")
    await canceled(served, ann)
    [pending] = (await get(served, ann, DELIVERIES))["results"]
    path = f"{DELIVERIES}/{pending['id']}/replay"
    refused = await post(served, ann, path, 409)
    assert refused["type"] == "urn:augury:error:delivery-pending"
    outbox.delivered(engine, take(engine), Attempt(status=200))
    again = await post(served, ann, path, 202)
    assert (again["id"], again["status"], again["attempts"]) == (pending["id"], "pending", 1)
    taken = take(engine)
    assert (taken.id, taken.attempts) == (pending["id"], 2)
    await post(served, ann, path, 409)
    outbox.failed(engine, taken, Attempt("No answer."), retry_seconds=None)
    shown = await get(served, ann, f"{DELIVERIES}/{pending['id']}")
    # It has been told once: that stays true.
    assert (shown["status"], shown["last_error"]) == ("delivered", "No answer.")
    assert [entry["attempt"] for entry in shown["log"]] == [1, 2]


async def test_deliveries_are_their_owners_and_the_administrators(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    ann, bob = await served.person("ann"), await served.person("bob")
    await canceled(served, ann)
    [one] = (await get(served, ann, DELIVERIES))["results"]
    path = f"{DELIVERIES}/{one['id']}"
    assert (await get(served, bob, DELIVERIES))["results"] == []
    await get(served, bob, path, 404)
    await post(served, bob, f"{path}/replay", 404)
    assert (await get(served, root, DELIVERIES))["results"] == [one]
    assert (await get(served, root, path))["id"] == one["id"]
    await get(served, ann, f"{DELIVERIES}/msg_unknown", 404)
    await get(served, {}, DELIVERIES, 401)
