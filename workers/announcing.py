"""Telling whoever waits: gateways of predictions that have ended, lanes of predictions that wait again."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

import redis

from db.endings import Ended
from db.lanes import TakenBack
from workers.bells import Bells
from workers.messages import News, encode_news, news_of

logger = logging.getLogger(__name__)


class Announcer:
    """Publishes news. It never raises: gateways look at the rows too, and the steward rings again."""

    def __init__(self, client: redis.Redis, bells: Bells) -> None:
        self._client = client
        self._bells = bells

    def ended(self, predictions: Iterable[Ended]) -> None:
        """Tell the gateways that wait for these, one message each. Nobody waits: nothing is sent."""
        by_channel: dict[str, list[News]] = defaultdict(list)
        for one in predictions:
            for channel in one.waiter.split(",") if one.waiter else ():
                by_channel[channel].append(news_of(one))
        try:
            for channel, news in by_channel.items():
                self._client.publish(channel, encode_news(news))
        except redis.RedisError as error:
            logger.warning("news could not be published: %s", error)

    def taken_back(self, taken: TakenBack) -> None:
        """Ring for what waits again after a lane's death, and tell of what has failed by it."""
        if taken.lanes:
            logger.warning(
                "took back the leases of %d lanes; %d predictions failed", len(taken.lanes), len(taken.failed)
            )
        self._bells.ring(taken.pools)
        self.ended(taken.failed)
