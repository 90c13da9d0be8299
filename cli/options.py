"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from cli.data_directory import DEFAULT_PATH

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_PATH,
    show_default=True,
    envvar="AUGURY_DATA_DIR",
    help="Where databases, models, secrets and logs lie.",
)
