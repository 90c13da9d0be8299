"""The `augury` command."""

from __future__ import annotations

from pathlib import Path

import click

from cli.data_directory import DataDirectory, DataDirectoryInUse
from cli.errors import Fault
from cli.models import models
from cli.options import data_dir_option
from cli.screen import Screen

_STOP_SECONDS = 120
_NOT_RUNNING = 3  # what `status` commands answer then, by the Linux Standard Base


class NoDatabase(Fault):
    """There is no database that the command could work on."""


class StillStopping(Fault):
    """The run was told to stop but has not ended yet."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="augury")
def main() -> None:
    """Augury: Replicate's API on your own machines."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535))
@data_dir_option
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1), help="Lanes: predictions at a time."
)
@click.option("--demo/--no-demo", default=True, help="Register the demo models and try one.")
@click.option("--detach", is_flag=True, help="Return when it is ready, and go on in the background.")
def up(host: str, port: int, data_dir: Path, workers: int, demo: bool, detach: bool) -> None:
    """Start everything: databases, gateway, worker and steward."""
    data, screen = DataDirectory(data_dir), Screen()
    if not detach:
        from cli.up import Launch, run

        run(Launch(host, port, data, workers, demo), screen)
        return
    from cli import background
    from cli.introduction import introduce

    if data.run():
        raise DataDirectoryInUse(data.who_has_it())
    arguments = ["--host", host, "--port", str(port), "--data-dir", str(data.path)]
    arguments += ["--workers", str(workers), "--demo" if demo else "--no-demo"]
    with screen.step("Starting Augury", "Augury runs in the background"):
        background.start(data, arguments)
    if credentials := data.credentials():
        introduce(credentials, screen)
    screen.say(f"\n`augury down --data-dir {data_dir}` stops everything; logs: {data.log('up').parent}")


@main.command()
@data_dir_option
def down(data_dir: Path) -> None:
    """Stop what `augury up` runs in this data directory."""
    import os
    import signal

    from cli.processes import stop_leftovers

    data, screen = DataDirectory(data_dir), Screen()
    run = data.run()
    if run is None:
        stopped = stop_leftovers(data.path)
        screen.say(f"Nothing runs in {data.path}." if not stopped else f"Stopped leftovers: {stopped}.")
        return
    with screen.step(f"Stopping {run.url}", "Everything has stopped"):
        os.kill(run.pid, signal.SIGTERM)
        if not data.wait_for_end(run, _STOP_SECONDS):
            raise StillStopping(f"Process {run.pid} has not ended after {_STOP_SECONDS} s.")


@main.command()
@data_dir_option
@click.pass_context
def status(context: click.Context, data_dir: Path) -> None:
    """Say whether Augury runs in this data directory, and how it is. Exits with 3 when it does not."""
    from cli.client import Client

    data, screen = DataDirectory(data_dir), Screen()
    run = data.run()
    if run is None:
        screen.say(f"Nothing runs in {data.path}.")
        context.exit(_NOT_RUNNING)
    screen.say(f"{run.url} (pid {run.pid}, {run.state})")
    with Client(run.url) as client:
        readiness = client.readiness()
    screen.say(f"  {'status':<10}{readiness.get('status')}")
    for name, state in (readiness.get("checks") or {}).items():
        screen.say(f"  {name:<10}{state}")


@main.command()
def admin() -> None:
    """Make the administrator in the database at DATABASE_URL, or give it a new password and token."""
    from pydantic import ValidationError
    from sqlalchemy.exc import SQLAlchemyError

    from cli.administrator import USERNAME, take_over
    from db.settings import DatabaseSettings

    try:
        password, token = take_over(DatabaseSettings(), "augury admin")
    except ValidationError as error:
        raise NoDatabase("DATABASE_URL must say which PostgreSQL to use.") from error
    except (SQLAlchemyError, OSError) as error:
        raise NoDatabase(f"The database cannot be used: {error}") from error
    screen = Screen()
    screen.say(f"User       {USERNAME}")
    screen.say(f"Password   {password}")
    screen.say(f"API token  {token}")


main.add_command(models)
