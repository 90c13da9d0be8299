"""Rate limits: so many requests per caller and kind of route, counted together with the other gateways."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import TYPE_CHECKING

import limits
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool
from slowapi.util import get_remote_address
from starlette.requests import Request

from api.cache import TimedCache
from api.errors import TooManyRequests
from api.requests import RATE_LIMIT

if TYPE_CHECKING:
    from api.auth import Principal
    from api.settings import GatewaySettings

log = logging.getLogger(__name__)

# A process takes this part of a limit at a time and spends it without asking: a request to the counter
# then costs nothing in most cases, and the limit is exact to this part for each process.
CHUNKS_PER_LIMIT = 100
RETRY_SHARED_SECONDS = 1.0
MAX_CALLERS = 20_000


class RouteClass(StrEnum):
    """What a route costs, roughly."""

    CREATE = "create"
    READ = "read"
    LOGIN = "login"
    ANONYMOUS = "anonymous"


class RateLimited(TooManyRequests):
    """The caller has made as many requests as the limit allows for now."""


@dataclass(slots=True)
class Allowance:
    """What one caller may still do in this process without asking the counter. Times are `time.time()`."""

    item: limits.RateLimitItem
    key: str
    left: int = 0
    left_elsewhere: int = 0
    resets_at: float = 0.0
    lapses_at: float = 0.0
    refused_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def spend(self, now: float) -> bool:
        """Take one request off what is left, if that is still of this window."""
        if self.left > 0 and now < self.lapses_at:
            self.left -= 1
            return True
        return False

    @property
    def remaining(self) -> int:
        return self.left + self.left_elsewhere

    def headers(self) -> list[tuple[bytes, bytes]]:
        """RateLimit-* as in draft-ietf-httpapi-ratelimit-headers-06; Reset in seconds from now."""
        reset_seconds = max(0, ceil(self.resets_at - time.time()))
        return [
            (b"ratelimit-limit", b"%d" % self.item.amount),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % reset_seconds),
        ]


class Limiter:
    """Counts in Redis, with all gateways; in this process alone while Redis is away or slow."""

    def __init__(self, settings: GatewaySettings, pool: ConnectionPool) -> None:
        """`pool` connects to Redis, with timeouts: a request waits for the counter as long as they say."""
        self._items = {
            RouteClass.CREATE: limits.parse(settings.rate_limit_create),
            RouteClass.READ: limits.parse(settings.rate_limit_read),
            RouteClass.LOGIN: limits.parse(settings.rate_limit_login),
            RouteClass.ANONYMOUS: limits.parse(settings.rate_limit_anonymous),
        }
        storage = RedisStorage(
            "redis://",  # not used beside a pool, but parsed
            wrap_exceptions=True,
            implementation="redispy",
            connection_pool=pool,  # type: ignore[arg-type]  # typed for plain options only
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._retry_shared_at = 0.0
        self.is_shared = True
        self._allowances: TimedCache[str, Allowance] = TimedCache(
            seconds=max(item.get_expiry() for item in self._items.values()), max_entries=MAX_CALLERS
        )

    def allowance(self, route_class: RouteClass, caller: str) -> Allowance:
        """What this process knows of `caller`'s budget for this kind of route."""
        key = f"{route_class}:{caller}"
        allowance = self._allowances.get(key)
        if allowance is None:
            allowance = Allowance(self._items[route_class], key)
            self._allowances.put(key, allowance)
        return allowance

    async def spend(self, allowance: Allowance) -> None:
        """Count one request. Raises `RateLimited`."""
        now = time.time()
        if allowance.spend(now):
            return
        if now < allowance.refused_until:
            raise _refusal(allowance, now)
        async with allowance.lock:
            # Another request of this caller may have fetched enough for both meanwhile.
            if not allowance.spend(now) and now >= allowance.refused_until:
                await self._refill(allowance)
                if not allowance.spend(now):
                    allowance.refused_until = max(allowance.resets_at, now + 0.1)
        if now < allowance.refused_until:
            raise _refusal(allowance, now)

    async def _refill(self, allowance: Allowance) -> None:
        now = time.time()
        if self.is_shared or now >= self._retry_shared_at:
            # Until this attempt is over, others need not wait for it.
            self._retry_shared_at = now + RETRY_SHARED_SECONDS
            try:
                await self._take_chunk(self._shared, allowance)
            except StorageError as error:
                self._went_local(error)
            else:
                self._came_back()
                return
        await self._take_chunk(self._local, allowance)

    async def _take_chunk(self, counter: SlidingWindowCounterRateLimiter, allowance: Allowance) -> None:
        item, key = allowance.item, allowance.key
        chunk = max(1, item.amount // CHUNKS_PER_LIMIT)
        granted = chunk if await counter.hit(item, key, cost=chunk) else 0
        window = await counter.get_window_stats(item, key)
        left_elsewhere = max(0, window.remaining)
        if not granted and left_elsewhere and await counter.hit(item, key, cost=left_elsewhere):
            granted, left_elsewhere = left_elsewhere, 0
        allowance.left = granted
        allowance.left_elsewhere = left_elsewhere
        allowance.resets_at = window.reset_time
        allowance.lapses_at = time.time() + item.get_expiry()

    def _went_local(self, error: StorageError) -> None:
        if self.is_shared:
            log.warning("Redis is away (%s): rate limits count in this process alone", error)
        self.is_shared = False

    def _came_back(self) -> None:
        if not self.is_shared:
            log.warning("Redis is back: rate limits count for all gateways together")
        self.is_shared = True


def _refusal(allowance: Allowance, now: float) -> RateLimited:
    wait_seconds = allowance.refused_until - now
    sentence = f"the limit is {allowance.item}; try again in {max(1, ceil(wait_seconds))} s"
    return RateLimited(sentence, retry_after_seconds=wait_seconds)


async def limit(
    request: Request, principal: Principal | None, route_class: RouteClass, *, account: str | None = None
) -> None:
    """Count this request against its caller's limit; the middleware tells the tightest in RateLimit-*.

    A caller is a principal, else a client's address; `account` counts against the account that somebody
    tries to enter. Raises `RateLimited`.
    """
    limiter: Limiter = request.app.state.gateway.limiter
    if account is not None:
        # A digest, because what is typed there may be long, or a password in the wrong field.
        caller = "account:" + sha256(account.lower().encode()).hexdigest()
    else:
        caller = principal.id if principal else network_of(get_remote_address(request))
    allowance = limiter.allowance(route_class, caller)
    try:
        await limiter.spend(allowance)
    finally:
        before = request.scope.get(RATE_LIMIT)
        if before is None or allowance.remaining <= before.remaining:
            request.scope[RATE_LIMIT] = allowance


def network_of(host: str) -> str:
    """What stands for a client's address: an IPv4 address, the /64 of an IPv6 one, or its name as it is."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)
