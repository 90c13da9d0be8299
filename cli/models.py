"""`augury models`: what a server serves, what it holds in memory, and what lies on the disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.data_directory import DataDirectory
from cli.errors import Fault
from cli.options import data_dir_option
from cli.screen import Screen

_LOOK_SECONDS = 0.3
_MEGABYTE = 1_000_000
_WORDS = {"loaded": "loaded", "not_loaded": "not loaded", "unavailable": "unavailable"}


class NotLoaded(Fault):
    """The version could not be loaded, or not yet."""


class NotUnloaded(Fault):
    """The version is still in memory."""


class SyncIncomplete(Fault):
    """Some models of the catalog could not be registered."""


wait_option = click.option(
    "--timeout",
    "timeout_seconds",
    default=600.0,
    show_default=True,
    help="For how many seconds to wait until it is done; 0 does not wait.",
)


@click.group()
def models() -> None:
    """List, add, pull, load, unload and remove models."""


@models.command("list")
@click.option("--catalog", "of_catalog", is_flag=True, help="What could be added, instead of what is there.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@data_dir_option
def list_models(of_catalog: bool, as_json: bool, data_dir: Path) -> None:
    """List the models of a running server: type, version, state, and which lanes hold it (host:slot)."""
    from cli.registration import catalog, connect

    data, screen = DataDirectory(data_dir), Screen()
    if of_catalog:
        rows = [
            {
                "model": entry.name,
                "type": entry.type,
                "hardware": entry.hardware,
                "about": " ".join(filter(None, [entry.description, entry.trust])),
            }
            for entry in catalog(data)
        ]
    else:
        with connect(data) as client:
            lanes = client.lanes()
            rows = [_row(model, lanes) for model in client.models()]
    if as_json:
        screen.say(json.dumps(rows, indent=2))
    else:
        _print_table(screen, rows)


def _row(model: dict[str, Any], lanes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    name = f"{model['owner']}/{model['name']}"
    if model["latest_version"] is None:
        empty = dict.fromkeys(("type", "version", "state", "lanes"), "-")
        return {"model": name, **empty, "about": "It has no version yet."}
    state, version = model["state"], model["latest_version"]["id"]
    places = [f"{lane['host']}:{lane['slot']}" for lane in lanes if version in lane["versions"]]
    return {
        "model": name,
        "type": model["model_type"],
        "version": model["version"],
        "state": _WORDS[state["status"]],
        "lanes": ",".join(places) or str(state["lanes"] or "-"),
        "about": (state["reason"] if state["status"] == "unavailable" else None) or model["description"],
    }


def _print_table(screen: Screen, rows: Sequence[dict[str, Any]]) -> None:
    """Columns as wide as they must be, the last one as long as it is."""
    if not rows:
        screen.say("There are none.")
        return
    lines = [[name.upper() for name in rows[0]], *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    for line in lines:
        screen.say("  ".join([*map(str.ljust, line, widths), line[-1]]).rstrip())


@models.command("add")
@click.argument("name", metavar="NAME")
@click.option("--type", "model_type", help="Such as text-generation.")
@click.option("--engine", help="The type's default if left out.")
@click.option("--path", help="A folder, a repository of the Hugging Face Hub, or a custom model's class.")
@click.option("--revision", help="Branch, tag or commit of the repository; pinned to its commit.")
@click.option("--description", help="A sentence for those who choose a model.")
@data_dir_option
def add_model(
    name: str, model_type: str | None, path: str | None, data_dir: Path, **more: str | None
) -> None:
    """Add a model of the catalog, or OWNER/NAME with --type and --path; what is not there is downloaded."""
    from cli.registration import add, add_entry

    data = DataDirectory(data_dir)
    if path is None and model_type is None and not any(more.values()):
        model = add_entry(data, name)
    elif path is None or model_type is None:
        raise click.UsageError("--type and --path belong together; without both, NAME is one of the catalog.")
    else:
        model = add(data, name, model_type, path, **more)
    Screen().say(f"{model['owner']}/{model['name']} is there: version {model['latest_version']['id']}")


@models.command("pull")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--revision", help="Branch, tag or commit, instead of the catalog's.")
@data_dir_option
def pull_models(names: Sequence[str], revision: str | None, data_dir: Path) -> None:
    """Download models of the catalog, or any repositories, to where lanes look for them."""
    from cli.registration import pull

    for name in names:
        folder, commit = pull(DataDirectory(data_dir), name, revision)
        Screen().say(f"{name} is at {folder}, commit {commit}")


@models.command("sync")
@click.argument("patterns", metavar="[NAME]...", nargs=-1)
@data_dir_option
def sync_models(patterns: Sequence[str], data_dir: Path) -> None:
    """Register what MODELS, or the names given here, choose of the catalog; with `*` for any letters."""
    from cli.registration import connect, selected, sync

    data, screen = DataDirectory(data_dir), Screen()
    entries = selected(data, patterns)
    with connect(data) as client:
        faults = sync(data, client, entries)
    screen.say(f"{len(entries) - len(faults)} of {len(entries)} models are as the catalog has them.")
    if faults:
        raise SyncIncomplete("\n".join(fault.message for fault in faults))


@models.command("load")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--version", help="Its id or label; else the latest.")
@click.option(
    "--lanes", default=1, show_default=True, type=click.IntRange(1), help="How many are to hold it."
)
@wait_option
@data_dir_option
def load_model(name: str, version: str | None, lanes: int, timeout_seconds: float, data_dir: Path) -> None:
    """Have lanes load a model before anybody asks for it."""
    from cli.registration import connect

    with connect(DataDirectory(data_dir)) as client:
        state = client.load(name, version=version, lanes=lanes)
        there = client.readiness()["checks"]["lanes"].get(client.model(name)["model_type"], lanes)
        wanted, until = min(lanes, there), time.monotonic() + timeout_seconds
        while state["lanes"] < wanted and not state["reason"] and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            state = client.state(name, version)
    if state["reason"]:
        raise NotLoaded(f"{name} is unavailable: {state['reason']}")
    if state["lanes"] < wanted and timeout_seconds:
        raise NotLoaded(f"{name} is not loaded after {timeout_seconds:g} s; the lanes go on loading it.")
    Screen().say(f"{name} is {_held(state)}.")


@models.command("unload")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--version", help="Its id or label; else the latest.")
@wait_option
@data_dir_option
def unload_model(name: str, version: str | None, timeout_seconds: float, data_dir: Path) -> None:
    """Have all lanes let go of a model when they are at rest; the next prediction loads it again."""
    from cli.registration import connect

    with connect(DataDirectory(data_dir)) as client:
        state, until = client.unload(name, version=version), time.monotonic() + timeout_seconds
        while state["lanes"] and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            state = client.state(name, version)
    if state["lanes"] and timeout_seconds:
        raise NotUnloaded(f"{name} is still at work in lanes after {timeout_seconds:g} s.")
    Screen().say(f"{name} is {_held(state)}.")


def _held(state: dict[str, Any]) -> str:
    lanes = state["lanes"]
    return f"in the memory of {lanes} {'lane' if lanes == 1 else 'lanes'}" if lanes else "in no lane's memory"


@models.command("rm")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--weights", is_flag=True, help="Delete as well what was downloaded for it alone.")
@data_dir_option
def remove_model(name: str, weights: bool, data_dir: Path) -> None:
    """Delete a model and its versions; its predictions stay."""
    from cli.registration import connect, remove

    data = DataDirectory(data_dir)
    with connect(data) as client:
        freed_bytes = remove(data, client, name, weights=weights)
    freed = f", and {freed_bytes / _MEGABYTE:.1f} MB on the disk are free" if freed_bytes else ""
    Screen().say(f"{name} is deleted{freed}.")
