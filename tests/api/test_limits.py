"""Rate limits: no route is without, gateways share them, and Redis may go away."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest

from api.limits import CHUNKS_PER_LIMIT, RateLimited, RouteClass, network_of
from cli.valkey import EmbeddedValkey
from tests.api.conftest import BASE_URL, Serve, Served

pytestmark = pytest.mark.anyio

# A monitor must always get through, and this route, by either name, costs nothing.
UNLIMITED = {("GET", "/health"), ("GET", "/health_check")}
TIGHT = {"rate_limit_create": "2/hour", "rate_limit_read": "2/hour", "rate_limit_login": "2/hour"}


def routes_of(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path of an application, however its routers are nested."""
    for route in routes:
        nested = getattr(route, "original_router", None) or getattr(route, "app", None)
        if methods := getattr(route, "methods", None):
            yield from ((method, prefix + route.path) for method in methods if method != "HEAD")
        elif nested is not None and hasattr(nested, "routes"):
            yield from routes_of(nested.routes, prefix + getattr(route, "path", ""))
        else:
            raise AssertionError(f"a route of an unknown kind: {route!r}")


@pytest.mark.slow
async def test_no_route_is_without_a_limit(serve: Serve) -> None:
    async with serve(**TIGHT) as served:
        routes = sorted(set(routes_of(served.app.routes)))
        described = served.app.openapi()["paths"]
        walked = {path.replace(":path}", "}") for _, path in routes}
        assert walked >= set(described), "routes that the walk has missed"
        assert len(routes) > 20
        for number, (method, path) in enumerate(routes):
            # Each from an address of its own, and by a person of their own.
            transport = httpx.ASGITransport(
                served.app, client=(f"198.51.100.{number}", 4711), raise_app_exceptions=False
            )
            headers = await served.person(f"p{number}", role="admin")
            url = re.sub(r"{(\w+)(:path)?}", r"\1", path)
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
                answers = [(await http.request(method, url, headers=headers)).status_code for _ in range(4)]
            limited = 429 in answers
            assert limited == ((method, path) not in UNLIMITED), f"{method} {path}: {answers}"


@pytest.mark.slow
async def test_a_spent_limit_says_so_and_when_it_opens_again(serve: Serve) -> None:
    async with serve(rate_limit_read="3/2second") as served:
        ann = await served.person("ann")
        seen = []
        for _ in range(3):
            response = await served.http.get("/v1/auth/me", headers=ann)
            assert response.status_code == 200
            assert response.headers["RateLimit-Limit"] == "3"
            seen.append(int(response.headers["RateLimit-Remaining"]))
        assert seen == [2, 1, 0]
        refused = await served.http.get("/v1/auth/me", headers=ann)
        assert refused.status_code == 429
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert 0 <= int(refused.headers["RateLimit-Reset"]) <= 2
        assert 1 <= int(refused.headers["Retry-After"]) <= 2
        body = refused.json()
        assert body["type"] == "urn:augury:error:rate-limited"
        assert "3 per 2 second" in body["detail"]
        # Others are not concerned, nor are other kinds of routes.
        bob = await served.person("bob")
        assert (await served.http.get("/v1/auth/me", headers=bob)).status_code == 200
        made = await served.http.post("/v1/auth/tokens", json={"name": "x"}, headers=ann)
        assert made.status_code == 201
        deadline = time.monotonic() + 10
        while (await served.http.get("/v1/auth/me", headers=ann)).status_code == 429:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_gateways_share_a_limit_to_within_their_chunks(serve: Serve) -> None:
    limit, gateways = 1000, 2
    chunk = limit // CHUNKS_PER_LIMIT
    async with serve(rate_limit_read="1000/hour") as one, serve(rate_limit_read="1000/hour") as other:

        async def spend(served: Served) -> int:
            limiter, spent = served.gateway.limiter, 0
            for _ in range(limit):
                try:
                    await limiter.spend(limiter.allowance(RouteClass.READ, "ann"))
                except RateLimited:
                    break
                spent += 1
                await asyncio.sleep(0)
            return spent

        spent = await asyncio.gather(spend(one), spend(other))
        assert limit - gateways * chunk <= sum(spent) <= limit
        assert min(spent) > 0


@pytest.mark.slow
async def test_many_requests_at_once_take_no_more_than_the_limit(serve: Serve) -> None:
    async with serve(rate_limit_read="20/hour") as served:
        ann = await served.person("ann")
        responses = await asyncio.gather(*(served.http.get("/v1/auth/me", headers=ann) for _ in range(50)))
        assert sorted(response.status_code for response in responses) == [200] * 20 + [429] * 30


async def test_a_refused_caller_costs_redis_nothing(serve: Serve) -> None:
    async with serve(rate_limit_read="1/hour") as served:
        limiter = served.gateway.limiter
        allowance = limiter.allowance(RouteClass.READ, "ann")
        await limiter.spend(allowance)
        for _ in range(2):
            with pytest.raises(RateLimited, match="the limit is 1 per 1 hour"):
                await limiter.spend(allowance)
            allowance.refused_until = max(allowance.refused_until, time.time() + 60)
        commands = (await served.gateway.redis.info("stats"))["total_commands_processed"]
        for _ in range(100):
            with pytest.raises(RateLimited, match="the limit is 1 per 1 hour"):
                await limiter.spend(allowance)
        after = (await served.gateway.redis.info("stats"))["total_commands_processed"]
        assert after - commands <= 2


@pytest.mark.slow
async def test_logins_are_limited_by_address_and_by_account(serve: Serve) -> None:
    form = {"username": "ann", "password": "wrong"}
    async with serve(rate_limit_login="3/hour", client="198.51.100.1") as served:
        answers = [(await served.http.post("/v1/auth/token", data=form)).status_code for _ in range(4)]
        assert answers == [401, 401, 401, 429]
        other = await served.http.post("/v1/auth/token", data={**form, "username": "bob"})
        assert other.status_code == 429, "the same address tries another account"
    async with serve(rate_limit_login="3/hour", client="198.51.100.2") as served:
        response = await served.http.post("/v1/auth/token", data={**form, "username": "ANN"})
        assert response.status_code == 429, "another address tries the same account"
        other = await served.http.post("/v1/auth/token", data={**form, "username": "bob"})
        assert other.status_code == 401


async def test_guessing_tokens_has_a_limit(serve: Serve) -> None:
    async with serve(rate_limit_read="3/hour") as served:
        answers = [
            (
                await served.http.post(
                    "/v1/models", headers={"Authorization": f"Bearer aug_{guess}"}, json={}
                )
            ).status_code
            for guess in range(4)
        ]
        assert answers == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_stands_for_what_one_client_can_have(host: str, network: str) -> None:
    assert network_of(host) == network


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A server that answers nothing, though it accepts connections."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def limits_word(served: Served) -> str:
    return (await served.http.get("/ready")).json()["checks"]["limits"]


@pytest.mark.slow
async def test_without_redis_limits_hold_in_each_process_and_come_back_by_themselves(
    serve: Serve, own_valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with serve(redis=own_valkey.url, rate_limit_create="3/hour") as served:
        assert await limits_word(served) == "shared"
        own_valkey.stop()
        ann = await served.person("ann")
        answers = [await create(served.http, ann) for _ in range(5)]
        assert answers == [201, 201, 201, 429, 429]
        ready = await served.http.get("/ready")
        assert ready.status_code == 200, ready.text
        assert ready.json()["status"] == "degraded"
        assert (ready.json()["checks"]["broker"], ready.json()["checks"]["limits"]) == (
            "unavailable",
            "local",
        )
        assert caplog.text.count("rate limits count in this process alone") == 1

        own_valkey.start()
        await spend_until_shared(served)
        assert caplog.text.count("rate limits count for all gateways together") == 1
        assert (await served.http.get("/ready")).json()["status"] == "ready"


@pytest.mark.slow
async def test_a_redis_that_hangs_delays_few_requests_and_no_one_for_long(
    serve: Serve, own_valkey: EmbeddedValkey
) -> None:
    async with serve(redis=own_valkey.url) as served:
        limiter = served.gateway.limiter
        await limiter.spend(limiter.allowance(RouteClass.READ, "warm"))
        assert own_valkey.pid is not None
        with stopped(own_valkey.pid):
            waits = []
            for number in range(200):
                started = time.monotonic()
                await limiter.spend(limiter.allowance(RouteClass.READ, f"caller{number}"))
                waits.append(time.monotonic() - started)
            assert max(waits) < 0.9
            assert sum(wait > 0.1 for wait in waits) <= 3
            assert not limiter.is_shared
        await spend_until_shared(served)


async def create(http: httpx.AsyncClient, headers: dict[str, str]) -> int:
    return (await http.post("/v1/auth/tokens", json={"name": "x"}, headers=headers)).status_code


async def spend_until_shared(served: Served) -> None:
    """Callers that this process has not met ask the counter, and so find that it is back."""
    limiter, deadline = served.gateway.limiter, time.monotonic() + 15
    number = 0
    while not limiter.is_shared:
        assert time.monotonic() < deadline
        await limiter.spend(limiter.allowance(RouteClass.READ, f"new{number}"))
        number += 1
        await asyncio.sleep(0.05)
