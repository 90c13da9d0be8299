"""The Compose files: what they say, and that the processes they start work together."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.administrator import renew
from cli.client import Client
from cli.embedded import free_port
from cli.processes import Service
from cli.spawn import last_lines
from db.settings import DatabaseSettings
from docs.configuration import GROUPS, aliases_of, settings_of
from model_types import registry
from tests.deploy.compose import ROOT, MissingVariable, environment_of, load
from tests.stack import wait_until

SECRETS = {
    "SECRET_KEY": secrets.token_urlsafe(48),
    "POSTGRES_PASSWORD": "postgres-password",
    "REDIS_PASSWORD": "redis-password",
    "FLOWER_PASSWORD": "flower-password",
}
# What Compose decides itself: where its own servers are.
DECIDED = {"DATABASE_HOSTADDR", "REDIS_HOST", "REDIS_PORT"}
READERS = {"Gateway": ["api"], "Catalog": ["worker"], "Worker and steward": ["worker", "steward"]}
OURS = ["migrate", "api", "worker", "steward", "flower"]


@pytest.fixture
def services() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    found: dict[str, Any] = load("docker-compose.yml", SECRETS)["services"]
    return found


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_no_secret_has_a_default(missing: str) -> None:
    with pytest.raises(MissingVariable, match=missing):
        load("docker-compose.yml", {name: value for name, value in SECRETS.items() if name != missing})


def test_every_setting_of_an_operator_reaches_its_process(services: dict[str, Any]) -> None:
    for title, _, settings in GROUPS:
        for reader in READERS.get(title, ["api", "worker", "steward"]):
            known = settings_of(settings)
            wanted = known.keys() | {alias for field in known.values() for alias in aliases_of(field)}
            missing = wanted - services[reader]["environment"].keys() - DECIDED
            assert not missing, f"{reader} does not get {missing}"


def test_where_models_run_nobody_knows_the_key_that_signs_tokens_and_urls(services: dict[str, Any]) -> None:
    assert [name for name in OURS if "SECRET_KEY" in services[name]["environment"]] == ["api", "steward"]


def test_whoever_handles_files_shares_their_store(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "steward"):
        assert services[name]["environment"]["BLOB_STORE"] == "/blobs"
        assert "blobs:/blobs" in services[name]["volumes"]


def test_our_containers_run_without_privileges(services: dict[str, Any]) -> None:
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
    assert "USER 10001" in (ROOT / "Dockerfile").read_text()


def test_only_gateway_and_flower_are_published_and_on_this_machine_alone(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"], "flower": ["127.0.0.1:5555:5555"]}


def test_workers_can_be_scaled(services: dict[str, Any]) -> None:
    assert not services["worker"].keys() & {"container_name", "ports", "hostname"}


def test_every_pool_has_a_worker_with_and_without_gpus(services: dict[str, Any]) -> None:
    on_gpus = load("docker-compose.gpu.yml", SECRETS)["services"]
    for some in (services, on_gpus):
        commands = [service["command"] for service in some.values() if "celery" in service.get("command", ())]
        served = {
            pool
            for command in commands
            if "worker" in command
            for pool in command[command.index("-Q") + 1].split(",")
        }
        assert served == set(registry.names())
    reserved = on_gpus["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved[0]["capabilities"] == ["gpu"]


class Containers:
    """The services' own commands, run as processes on given servers."""

    def __init__(self, directory: Path, services: dict[str, Any], **overrides: str) -> None:
        self._directory = directory
        self._services = services
        self._overrides = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **overrides}
        self._running = ExitStack()

    def environment(self, name: str) -> dict[str, str]:
        """What the container would have, but for where the servers are and which ports are free."""
        return environment_of(self._services[name], SECRETS) | self._overrides

    def run(self, name: str) -> None:
        """Run a service that ends by itself; it must succeed."""
        subprocess.run(self._services[name]["command"], env=self.environment(name), cwd=ROOT, check=True)

    def start(self, name: str) -> Service:
        """Start a service that stays."""
        log = self._directory / f"{name}.log"
        service = Service(name, self._services[name]["command"], self.environment(name), log)
        self._running.callback(service.stop)
        service.start()
        return service

    def is_healthy(self, name: str, port: str) -> bool:
        """Run the service's health check, whose container has a port of its own."""
        kind, program, *arguments = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        inside = "8000" if name == "api" else "5555"
        arguments = [argument.replace(f":{inside}/", f":{port}/") for argument in arguments]
        command = [program, *arguments]
        return not subprocess.run(command, env=self.environment(name), capture_output=True).returncode

    def close(self) -> None:
        self._running.close()


@pytest.fixture
def run_compose(
    tmp_path: Path, services: dict[str, Any], database_url: str, redis_url: str
) -> Iterator[Callable[..., Containers]]:
    with ExitStack() as cleanup:

        def run(**overrides: str) -> Containers:
            servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
            containers = Containers(tmp_path, services, **servers, **overrides)
            cleanup.callback(containers.close)
            return containers

        yield run


@pytest.mark.slow
def test_the_processes_of_compose_serve_a_prediction_and_flower_shows_them(
    run_compose: Callable[..., Containers], database_url: str, tmp_path: Path
) -> None:
    api_port, flower_port = str(free_port()), str(free_port())
    containers = run_compose(
        API_HOST="127.0.0.1",
        API_PORT=api_port,
        FLOWER_PORT=flower_port,
        FLOWER_ADDRESS="127.0.0.1",
        OMP_NUM_THREADS="1",
        BLOB_STORE=str(tmp_path / "blobs"),
        MODEL_CACHE_DIR=str(tmp_path),
    )
    containers.run("migrate")
    processes = [containers.start(name) for name in ("api", "worker", "steward", "flower")]

    def healthy(name: str, port: str) -> bool:
        for process in processes:
            assert process.pid is not None, f"{process.name} has died:\n{last_lines(process.log, 40)}"
        return containers.is_healthy(name, port)

    wait_until(lambda: healthy("api", api_port), 60, "the gateway's health")
    url = f"http://127.0.0.1:{api_port}"
    token = renew(url, DatabaseSettings(database_url=database_url), tmp_path).api_token
    with Client(url, token) as client:
        client.add_model({"owner": "test", "name": "echo", "model_type": "echo", "model_path": "echo"})
        prediction = client.predict("test/echo", {"text": "hello"}, wait_seconds=30)
    assert (prediction["status"], prediction["output"]) == ("succeeded", "hello")
    wait_until(lambda: healthy("flower", flower_port), 60, "Flower's health")
    flower = f"http://127.0.0.1:{flower_port}"
    for page in ("/", "/workers", "/api/workers"):
        assert httpx.get(flower + page, trust_env=False).status_code == 401
    login = ("admin", SECRETS["FLOWER_PASSWORD"])
    with httpx.Client(base_url=flower, auth=login, trust_env=False) as browser:
        wait_until(lambda: bool(browser.get("/api/workers?refresh=1").json()), 30, "a worker in Flower")
        [worker] = browser.get("/api/workers").json()
        assert browser.post(f"/api/worker/shutdown/{worker}").status_code == 403
