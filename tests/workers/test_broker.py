"""Redis is found by each kind of URL, by all who talk to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.waiting import LOOK_SECONDS_WITHOUT_REDIS
from cli.processes import Service
from cli.valkey import EmbeddedValkey, valkey_binary
from tests.stack import Stack, wait_until
from workers.broker import BrokerSettings, KeptConnection


@pytest.mark.parametrize(
    ("url", "celery_url"),
    [
        ("redis://:word@somewhere:6380/2", "redis://:word@somewhere:6380/2"),
        ("rediss://somewhere/2?ssl_cert_reqs=none", "rediss://somewhere/2?ssl_cert_reqs=none"),
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
        ("unix://:word@/run/valkey.sock?db=3", "redis+socket://:word@/run/valkey.sock?virtual_host=3"),
    ],
)
def test_celery_has_its_own_name_for_a_socket(url: str, celery_url: str) -> None:
    settings = BrokerSettings(redis_url=url, _env_file=None)
    assert (settings.url(), settings.celery_url()) == (url, celery_url)


def test_a_url_that_is_not_of_redis_is_refused() -> None:
    with pytest.raises(ValueError, match="REDIS_URL must be a Redis URL"):
        BrokerSettings(redis_url="amqp://somewhere", _env_file=None)


def test_a_kept_connection_is_one_for_all_threads(redis_url: str) -> None:
    with KeptConnection.from_url(redis_url) as client, ThreadPoolExecutor(4) as threads:
        ids = set(threads.map(lambda _: client.client_id(), range(40)))
        numbers = threads.map(lambda n: client.echo(str(n)), range(40))
        assert list(numbers) == [b"%d" % n for n in range(40)]
    assert len(ids) == 1


@pytest.mark.slow
def test_a_kept_connection_is_made_when_it_is_used_and_again_when_redis_has_been_away(
    own_valkey: EmbeddedValkey,
) -> None:
    own_valkey.stop()
    retry = Retry(NoBackoff(), 1)
    with KeptConnection.from_url(own_valkey.url, socket_connect_timeout=0.5, retry=retry) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        for _ in range(2):
            own_valkey.start()
            assert client.ping()
            own_valkey.stop()


@pytest.fixture
def socket_url() -> Iterator[str]:
    """A Valkey that listens on a socket of this machine, and on no port."""
    with TemporaryDirectory() as folder:  # the names of sockets have to be short
        socket = Path(folder, "valkey.sock")
        arguments = ["--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        valkey = Service("valkey", [str(valkey_binary()), *arguments], {}, Path(folder, "valkey.log"))
        valkey.start()
        try:
            wait_until(socket.exists, 10)
            yield f"unix://{socket}?db=1"
        finally:
            valkey.kill()


@pytest.mark.slow
def test_bells_news_and_limits_go_by_a_socket(make_stack: Callable[..., Stack], socket_url: str) -> None:
    stack = make_stack(redis_url=socket_url)
    stack.start()
    model = stack.add_echo()
    seconds = []
    with stack.client() as client, redis.Redis.from_url(socket_url) as valkey:
        for _ in range(20):
            began = time.monotonic()
            assert client.predict(model, {"text": "again"}, wait_seconds=30)["output"] == "again"
            seconds.append(time.monotonic() - began)
        assert valkey.keys("*LIMITS*")
    # Who hears no news looks at the row, at the earliest after this time.
    assert min(seconds) < LOOK_SECONDS_WITHOUT_REDIS
    assert "Redis is away" not in stack.log("gateway").read_text()
