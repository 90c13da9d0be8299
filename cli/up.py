"""`augury up`: everything at work on this machine, from one command, until it is told to stop."""

from __future__ import annotations

import ipaddress
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from cli import demo, services
from cli.catalog import DEMO, Entry
from cli.client import Client
from cli.data_directory import Credentials, DataDirectory, Run
from cli.embedded import is_free
from cli.errors import Fault
from cli.introduction import introduce
from cli.migrate import migrate
from cli.postgres import EmbeddedPostgres
from cli.processes import SUPERVISED_BY, Supervisor, stop_leftovers
from cli.registration import selected, sync
from cli.screen import Screen
from cli.settings import CatalogSettings, LaunchSettings
from cli.valkey import EmbeddedValkey
from db.lanes import take_back_all
from db.session import sync_engine
from db.settings import DatabaseSettings
from model_types import registry

START_SECONDS = 180
_LOOK_SECONDS = 0.2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOPBACK_NETWORKS = "127.0.0.0/8,::1/128"


class CannotListen(Fault):
    """The gateway's address is taken, not ours, or not permitted."""


class DatabaseUnusable(Fault):
    """The database cannot be reached or migrated."""


class StopRequested(BaseException):
    """Ctrl-C, or a signal that asks the run to end. No error: it passes every `except Exception`."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What the operator asked for."""

    host: str
    port: int
    data_directory: DataDirectory
    lanes: int
    demo: bool

    @property
    def url(self) -> str:
        """Where this machine reaches the gateway."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        host = anywhere.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def run(launch: Launch, screen: Screen) -> None:
    """Start everything, serve until a signal says stop, and stop everything. Raises Fault."""
    data, started_at = launch.data_directory, time.monotonic()
    with data.lock(), _until_told_to_stop(screen), _supervision(screen) as supervisor:
        stop_leftovers(data.path)
        _require_free_port(launch.host, launch.port)
        entries = _entries(launch)
        data.announce(Run.of_this_process(launch.url, "starting"))
        environment = _start_servers(launch, LaunchSettings(), supervisor, screen)
        _start_processes(launch, environment, supervisor, screen)
        credentials = _credentials(launch, environment)
        with Client(launch.url, credentials.api_token) as client:
            _register(entries, launch, client, supervisor, screen)
            data.announce(Run.of_this_process(launch.url, "ready"))
            screen.say(f"Augury is ready at {launch.url} after {time.monotonic() - started_at:.1f} s.")
            prediction_id = _show_demo(launch, client, screen)
        introduce(credentials, screen, prediction_id)
        screen.say("\nCtrl-C stops everything.")
        while True:
            supervisor.keep_alive(time.monotonic())
            time.sleep(_LOOK_SECONDS)


def _require_free_port(host: str, port: int) -> None:
    try:
        if is_free(host, port):
            return
    except OSError as error:
        raise CannotListen(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error
    raise CannotListen(f"Port {port} of {host} is in use by another program: choose another with --port.")


@contextmanager
def _until_told_to_stop(screen: Screen) -> Iterator[None]:
    """Turn signals into StopRequested, and take that for a normal end."""

    def request_stop(number: int, frame: FrameType | None) -> None:
        raise StopRequested

    before = {number: signal.signal(number, request_stop) for number in _STOP_SIGNALS}
    try:
        yield
    except StopRequested:
        screen.say("Everything has stopped.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _supervision(screen: Screen) -> Iterator[Supervisor]:
    supervisor = Supervisor(screen.say)
    try:
        yield supervisor
    finally:
        for number in _STOP_SIGNALS:  # stopping takes bounded time: do not let it be cut off
            signal.signal(number, signal.SIG_IGN)
        if supervisor.processes:
            screen.say("Stopping …")
        supervisor.stop()


def _start_servers(
    launch: Launch, settings: LaunchSettings, supervisor: Supervisor, screen: Screen
) -> dict[str, str]:
    """Start the servers that were not given; return the environment of our own processes."""
    data = launch.data_directory
    environment = _environment(launch, settings)
    if settings.database_url:
        environment["DATABASE_URL"] = settings.database_url
    else:
        postgres = EmbeddedPostgres(data.postgres, log=data.log("postgres"))
        with screen.step("Starting PostgreSQL", "PostgreSQL runs"):
            supervisor.start(postgres)
        environment |= {"DATABASE_URL": postgres.url, "DATABASE_HOSTADDR": ""}
    if not settings.brings_own_broker:
        valkey = EmbeddedValkey(data.valkey, log=data.log("valkey"), password=data.secret("valkey_password"))
        with screen.step("Starting Valkey", "Valkey runs"):
            supervisor.start(valkey)
        environment["REDIS_URL"] = valkey.url
    with screen.step("Migrating the database", "The database has the newest schema"):
        _migrate(_database(environment), ours_alone=settings.database_url is None)
    return environment


def _environment(launch: Launch, settings: LaunchSettings) -> dict[str, str]:
    """What our processes find in their environment, as far as it does not depend on the servers."""
    data = launch.data_directory
    threads = settings.omp_num_threads or max(1, (os.cpu_count() or 1) // launch.lanes)
    environment = os.environ | {
        SUPERVISED_BY: str(data.path),
        "API_HOST": launch.host,
        "API_PORT": str(launch.port),
        "SECRET_KEY": settings.secret_key or data.secret("secret_key"),
        "BLOB_STORE": settings.blob_store or str(data.blobs),
        "MODEL_CACHE_DIR": str(settings.model_cache_dir or data.models),
        "WORKER_CONCURRENCY": str(launch.lanes),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }
    if settings.public_url:
        environment["PUBLIC_URL"] = settings.public_url
    if launch.on_loopback:
        environment["OUTBOUND_ALLOW_CIDRS"] = settings.outbound_allow_cidrs or _LOOPBACK_NETWORKS
    return environment


def _database(environment: dict[str, str]) -> DatabaseSettings:
    """The database as our processes see it."""
    return DatabaseSettings(
        database_url=environment["DATABASE_URL"],
        database_hostaddr=environment.get("DATABASE_HOSTADDR"),
    )


def _migrate(database: DatabaseSettings, *, ours_alone: bool) -> None:
    """Migrate. In a database of ours alone all leases are of a run that has ended: take them back."""
    try:
        migrate(database.database_url)
        if ours_alone:
            engine = sync_engine(database)
            take_back_all(engine)
            engine.dispose()
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseUnusable(f"The database cannot be used: {error}") from error


def _start_processes(
    launch: Launch, environment: dict[str, str], supervisor: Supervisor, screen: Screen
) -> None:
    log = launch.data_directory.log
    with screen.step("Starting gateway, worker and steward", "Gateway, worker and steward run"):
        supervisor.start(services.gateway(environment, log("gateway")))
        # The gateway knows from each request where it is reached; webhooks have to be told.
        supervisor.start(services.steward({"PUBLIC_URL": launch.url} | environment, log("steward")))
        supervisor.start(
            services.worker(environment, log("worker"), pools=registry.names(), lanes=launch.lanes)
        )
        with Client(launch.url) as client:
            supervisor.wait_until(client.is_ready, START_SECONDS, "Augury")


def _credentials(launch: Launch, environment: dict[str, str]) -> Credentials:
    """The first administrator's: the kept ones where they still open the door, else new ones."""
    from cli.administrator import renew, still_valid

    data = launch.data_directory
    kept = data.credentials()
    if kept and still_valid(kept, launch.url):
        credentials = replace(kept, url=launch.url)
    else:
        credentials = renew(launch.url, _database(environment), data.path)
    data.keep(credentials)
    return credentials


def _entries(launch: Launch) -> list[Entry]:
    """The models to be registered. Raises Fault where the catalog is not in order or does not have them."""
    patterns = [*([DEMO] if launch.demo else []), *CatalogSettings().chosen]
    return selected(launch.data_directory, patterns) if patterns else []


def _register(
    entries: Sequence[Entry], launch: Launch, client: Client, supervisor: Supervisor, screen: Screen
) -> None:
    """Bring the catalog's models to the server. One that is refused is told, but does not stop it."""
    if not entries:
        return
    with screen.step("Registering models of the catalog", "The catalog's models are registered"):
        faults = sync(launch.data_directory, client, entries)
        supervisor.wait_until(client.is_ready, START_SECONDS, "The models' lanes")
    for fault in faults:
        screen.say(f"Not registered: {fault.message}")


def _show_demo(launch: Launch, client: Client, screen: Screen) -> str | None:
    """The first prediction's id. A failure is told, but does not stop the server."""
    if not launch.demo:
        return None
    try:
        return demo.show_prediction(client, screen)
    except Fault as fault:
        screen.say(f"{fault.message} See {launch.data_directory.log('worker')}.")
        return None
