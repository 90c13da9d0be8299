"""Waiting for predictions: one listener per gateway process hears of their ends, and of what streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from api.stopping import stop
from db.ids import new_id
from workers.messages import News, decode_news, encode_news, news_channel

log = logging.getLogger(__name__)

# A message may be lost, so the row is looked at now and then; more often while Redis is away.
LOOK_SECONDS = 1.0
LOOK_SECONDS_WITHOUT_REDIS = 0.1
RECONNECT_SECONDS = 0.5
TELL_SECONDS = 0.5


class Waiting:
    """Who waits for which prediction in this process."""

    def __init__(self, redis_url: str) -> None:
        self.channel = news_channel(new_id())
        # A connection of its own: it listens for as long as the process lives, and `_listen` mends it.
        keepalive = {} if redis_url.startswith("unix://") else {"socket_keepalive": True}
        self._redis = Redis.from_url(
            redis_url, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0), **keepalive
        )
        self._futures: dict[str, list[asyncio.Future[News]]] = {}
        self._sleepers: dict[str, set[asyncio.Event]] = {}
        self._sleepers_changed = asyncio.Event()
        self._listening = False
        self._listener: asyncio.Task[None] | None = None
        self._is_cut = False

    def open(self) -> None:
        """Begin to listen, and go on whatever becomes of Redis."""
        self._listener = asyncio.create_task(self._listen(), name="news")

    def cut_short(self) -> None:
        """The gateway stops: nobody is to wait any longer than they must. Safe from signal handlers."""
        self._is_cut = True

    async def close(self) -> None:
        """Stop listening."""
        await stop(self._listener)
        await self._redis.aclose()

    @contextmanager
    def expect(self, prediction_id: str) -> Iterator[asyncio.Future[News]]:
        """A future for the news of this prediction; to be taken before it can have ended."""
        future: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(prediction_id, []).append(future)
        try:
            yield future
        finally:
            others = self._futures[prediction_id]
            others.remove(future)
            if not others:
                del self._futures[prediction_id]

    @contextmanager
    def wake(self, channel: str, sleeper: asyncio.Event) -> Iterator[None]:
        """Set this event whenever something is published there; while Redis is away, nothing is heard."""
        self._sleepers.setdefault(channel, set()).add(sleeper)
        self._sleepers_changed.set()
        try:
            yield
        finally:
            self._sleepers[channel].remove(sleeper)
            if not self._sleepers[channel]:
                del self._sleepers[channel]
                self._sleepers_changed.set()

    async def news(
        self,
        future: asyncio.Future[News],
        look: Callable[[], Awaitable[News | None]],
        *,
        seconds: float,
        may_be_cut: bool = True,
    ) -> News | None:
        """The news that comes within `seconds`, by Redis or by a `look` at the row; else None.

        So too, where it `may_be_cut`, when the gateway stops.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0 and not (self._is_cut and may_be_cut):
            pause = LOOK_SECONDS if self._listening else LOOK_SECONDS_WITHOUT_REDIS
            done, _ = await asyncio.wait([future], timeout=min(pause, left))
            if done:
                return future.result()
            try:
                found = await look()
            except SQLAlchemyError as error:
                # It may well go on, so whoever waits for it is not told otherwise.
                log.warning("a row cannot be looked at now: %s", error)
                continue
            if found is not None:
                return found
        return None

    async def tell(self, channels: str, news: News) -> None:
        """Publish what this gateway itself has ended. Those who wait see the row where this fails."""
        try:
            async with asyncio.timeout(TELL_SECONDS):
                for channel in channels.split(","):
                    await self._redis.publish(channel, encode_news([news]))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("news could not be published: %s", error)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self.channel)
                    self._listening = True
                    async with asyncio.TaskGroup() as together:
                        together.create_task(self._hear(pubsub))
                        together.create_task(self._subscribe_for_sleepers(pubsub))
            except* (RedisError, OSError) as errors:
                if self._listening:
                    log.warning(
                        "Redis is away, so waiting requests look at their rows: %s", errors.exceptions[0]
                    )
                self._listening = False
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear(self, pubsub: PubSub) -> None:
        own = self.channel.encode()
        connection = pubsub.connection
        assert connection is not None, "it has subscribed"
        while True:
            # `PubSub.listen` takes twice as long over a message.
            message = await connection.read_response(
                timeout=inf, disconnect_on_error=False, push_request=True
            )
            if message[0] == b"message" and message[1] == own:
                self._spread(message[2])
                continue
            told = await pubsub.handle_message(message)
            if told is not None and told["channel"] is not None:
                # Also where the subscription has just begun: what came before was not heard.
                for sleeper in self._sleepers.get(told["channel"].decode(), ()):
                    sleeper.set()

    def _spread(self, payload: bytes) -> None:
        try:
            news = decode_news(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("unreadable news: %s", error)
            return
        for one in news:
            for future in self._futures.get(one.id, ()):
                if not future.done():
                    future.set_result(one)

    async def _subscribe_for_sleepers(self, pubsub: PubSub) -> None:
        """Subscribe to the channels that somebody sleeps for, and to no others, for ever."""
        subscribed: set[str] = set()
        while True:
            self._sleepers_changed.clear()
            wanted = set(self._sleepers)
            if begun := wanted - subscribed:
                await pubsub.subscribe(*begun)
            if over := subscribed - wanted:
                await pubsub.unsubscribe(*over)
            subscribed = wanted
            await self._sleepers_changed.wait()
