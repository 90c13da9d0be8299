"""Draws a terminal's transcript as an SVG: `augury up | python -m docs.terminal > docs/images/first-run.svg`.

API tokens are cut off, long lines wrapped, and what starts something is left out where its end follows.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable
from html import escape

COLUMNS = 100
CHARACTER_WIDTH = 8.4
LINE_HEIGHT = 19
MARGIN = 18
BAR = 30

_COLOURS = (
    ("✓", "#7ee787"),
    ("$", "#79c0ff"),
    ("Prediction", "#e3b341"),
    ("Augury", "#e3b341"),
    ("Try it", "#e3b341"),
)
_STYLE = "font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def lines_of(transcript: str, command: str) -> list[str]:
    """What the picture shows, line by line."""
    shown = [f"$ {command}"]
    for line in transcript.splitlines():
        if not line.startswith("…"):
            safe = re.sub(r"aug_[\w-]{43}", "aug_…", line.rstrip())
            shown += textwrap.wrap(safe, COLUMNS, subsequent_indent="    ", drop_whitespace=False) or [""]
    return shown


def draw(lines: Iterable[str]) -> str:
    """The SVG."""
    rows = list(lines)
    width = round(2 * MARGIN + COLUMNS * CHARACTER_WIDTH)
    height = BAR + 2 * MARGIN + LINE_HEIGHT * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
    ]
    parts += [
        f'<circle cx="{MARGIN + 18 * place}" cy="18" r="6" fill="{colour}"/>'
        for place, colour in enumerate(("#ff5f56", "#ffbd2e", "#27c93f"))
    ]
    parts.append(f'<g style="{_STYLE}" xml:space="preserve">')
    for number, row in enumerate(rows):
        y = BAR + MARGIN + LINE_HEIGHT * number + 10
        parts.append(f'<text x="{MARGIN}" y="{y}" fill="{_colour(row)}">{escape(row, quote=False)}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _colour(row: str) -> str:
    return next((colour for start, colour in _COLOURS if row.startswith(start)), "#c9d1d9")


if __name__ == "__main__":
    sys.stdout.write(draw(lines_of(sys.stdin.read(), sys.argv[1] if len(sys.argv) > 1 else "make run")))
