"""`python -m benchmarks` runs the benchmarks and prints one table; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks import (
    accept,
    backfill,
    echo,
    growth,
    openai_routes,
    refusal,
    sentences,
    streaming,
    switching,
    table,
    text,
    vision,
)
from benchmarks.servers import Servers
from benchmarks.sizes import QUICK, Sizes
from benchmarks.table import Row

BENCHMARKS: Mapping[str, Callable[[Servers, Sizes], Iterator[Row]]] = {
    "accept": accept.measure,
    "echo": echo.measure,
    "text": text.measure,
    "streaming": streaming.measure,
    "vision": vision.measure,
    "embeddings": sentences.measure,
    "openai": openai_routes.measure,
    "refusal": refusal.measure,
    "switching": switching.measure,
    "backfill": backfill.measure,
    "growth": growth.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all if none"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that they run, measures nothing"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    rows = run(arguments.names or list(BENCHMARKS), QUICK if arguments.quick else Sizes())
    if arguments.markdown:
        print(table.markdown(rows))
    else:
        Console(width=None).print(table.plain(rows))


def run(names: list[str], sizes: Sizes) -> list[Row]:
    """Run these benchmarks, each on servers of its own, and tell on the way what has been measured."""
    progress = Console(stderr=True)
    rows: list[Row] = []
    for name in names:
        with (
            progress.status(f"Measuring {name}"),
            tempfile.TemporaryDirectory(prefix="augury-bench-") as directory,
            Servers(Path(directory)) as servers,
        ):
            for row in BENCHMARKS[name](servers, sizes):
                progress.print(" · ".join(cell for cell in row.cells() if cell), highlight=False)
                rows.append(row)
    return rows


if __name__ == "__main__":
    main()
