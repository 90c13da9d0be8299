"""Writes docs/reference/configuration.md and .env.example from the settings classes.

Run as `python -m docs.configuration` after a setting has changed; a test compares what lies there.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from api.settings import GatewaySettings
from cli.settings import CatalogSettings
from db.settings import BlobSettings, DatabaseSettings
from workers.broker import BrokerSettings
from workers.input_settings import InputSettings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs/reference/configuration.md"
EXAMPLE = ROOT / ".env.example"

_WORKER_READERS = (
    "The worker and `python -m workers.steward` read these; the steward reads `SECRET_KEY` as well."
)

GROUPS: tuple[tuple[str, str, type[BaseSettings]], ...] = (
    ("PostgreSQL", "All processes but Flower read these.", DatabaseSettings),
    ("Redis or Valkey", "All processes read these.", BrokerSettings),
    ("Gateway", "`python -m api` reads these.", GatewaySettings),
    ("Files in inputs", "Gateway and worker read these.", InputSettings),
    ("Files", "Gateway, worker and steward read these.", BlobSettings),
    ("Catalog", "`augury up` and `augury models` read these.", CatalogSettings),
    ("Worker and steward", _WORKER_READERS, WorkerSettings),
)

# What only docker-compose.yml knows: the name, whether it must be set, and what it is.
COMPOSE = (
    ("POSTGRES_PASSWORD", True, "Password of the PostgreSQL that Compose starts; letters, digits, - and _."),
    ("REDIS_PASSWORD", True, "Password of the Valkey that Compose starts; letters, digits, - and _."),
    ("FLOWER_PASSWORD", True, "Password of Flower's page."),
    ("FLOWER_USER", False, "User name of Flower's page; admin by default."),
    ("FLOWER_PUBLISHED", False, "Where Flower's page is published; 127.0.0.1:5555 by default."),
    ("API_PUBLISHED", False, "Where the gateway is published; 127.0.0.1:8000 by default."),
    ("WORKER_POOLS", False, "The pools that a worker serves; all by default."),
    ("CPU_POOLS", False, "With docker-compose.gpu.yml, the pools that stay on the CPU; echo by default."),
    ("GPU_POOLS", False, "With docker-compose.gpu.yml, the pools on the GPU; all but echo by default."),
    ("GPU_DEVICE", False, "The device that they get; 0 by default."),
    ("GPU_LANES", False, "Lanes that share a GPU; 1 by default."),
    ("GPU_MEMORY_MB", False, "Memory for loaded models in one lane on a GPU; 16384 by default."),
    ("AWS_ACCESS_KEY_ID", False, "Who may use the bucket of an s3:// BLOB_STORE."),
    ("AWS_SECRET_ACCESS_KEY", False, "The secret that goes with it."),
    ("AWS_DEFAULT_REGION", False, "The bucket's region."),
    ("AWS_ENDPOINT_URL", False, "Where the bucket is, if not at Amazon's, such as http://minio:9000."),
    ("OMP_NUM_THREADS", False, "CPU threads of one lane; 1 by default."),
    ("PIP_EXTRA_INDEX_URL", False, "An index to build the image from, beside the default one."),
    ("AUGURY_TAG", False, "The image's tag; latest by default."),
)

# Not for operators.
_HIDDEN = frozenset({"augury_failpoint"})


def settings_of(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The settings that an operator may choose, by their names in the environment."""
    hidden = _HIDDEN if settings is InputSettings else _HIDDEN | InputSettings.model_fields.keys()
    return {name.upper(): field for name, field in settings.model_fields.items() if name not in hidden}


def aliases_of(field: FieldInfo) -> list[str]:
    """Its names in the originals, which mean the same here; the setting's own name wins."""
    choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else ()
    return [str(choice).upper() for choice in choices[1:]]


def default_of(field: FieldInfo) -> str:
    """A setting's default as one writes it in `.env`; empty where there is none."""
    default = field.get_default(call_default_factory=False)
    if field.is_required() or default is None or default == ():
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def table() -> str:
    """The reference page."""
    lines = [
        "# Configuration",
        "",
        "Settings come from the environment, and from a file `.env` in the working directory; names are the",
        "same in both. `augury up` sets those that it decides itself, such as the servers that it starts.",
        "This page is made by `python -m docs.configuration`.",
    ]
    for title, readers, settings in GROUPS:
        lines += ["", f"## {title}", "", readers, "", "| Setting | Default | What it is |", "|---|---|---|"]
        for name, field in settings_of(settings).items():
            default = "required" if field.is_required() else _code(default_of(field))
            also = "".join(f" Also: `{alias}`." for alias in aliases_of(field))
            lines.append(f"| `{name}` | {default} | {field.description}{also} |")
    lines += ["", "## Docker Compose", ""]
    lines += ["Only `docker-compose.yml` and `docker-compose.gpu.yml` read these.", ""]
    lines += ["| Setting | What it is |", "|---|---|"]
    lines += [f"| `{name}` | {what}{' Required.' if must else ''} |" for name, must, what in COMPOSE]
    return "\n".join(lines) + "\n"


def example() -> str:
    """The example of a `.env`: secrets come first, all else is commented out with its default."""
    lines = [
        "# Copy this to .env, and fill in these four for Docker Compose. Make each with",
        "#   python3 -c 'import secrets; print(secrets.token_urlsafe(48))'",
        "# `augury up` needs none of it.",
        "",
    ]
    secret_key = GatewaySettings.model_fields["secret_key"]
    lines += [*_comment(str(secret_key.description)), "SECRET_KEY="]
    for name, must, what in sorted(COMPOSE, key=lambda entry: not entry[1]):
        lines += [*_comment(what), f"{name}=" if must else f"#{name}="]
    seen = {"SECRET_KEY"}
    for title, _, settings in GROUPS:
        lines += ["", f"# --- {title} ---"]
        for name, field in settings_of(settings).items():
            if name not in seen:
                also = "".join(f" Also: {alias}." for alias in aliases_of(field))
                lines += [*_comment(f"{field.description}{also}"), f"#{name}={default_of(field)}"]
            seen.add(name)
    return "\n".join(lines) + "\n"


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")


def main() -> None:
    TABLE.write_text(table())
    EXAMPLE.write_text(example())


if __name__ == "__main__":
    main()
