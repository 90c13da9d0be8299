"""Commands out of other servers' documents, to be run without a shell, and the answers that they show."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

# Before a command: the answer that its document shows, as JSON.
SHOWN = "#=> "


@dataclass(frozen=True, slots=True)
class Example:
    """A command's words, and the answer that is shown for it, if there is one."""

    words: Sequence[str]
    shown: Any = None


def examples(file: Path, replaced: Mapping[str, str]) -> list[Example]:
    """The commands of a file, which stand apart by blank lines, with other texts in the place of some."""
    text = file.read_text("utf-8")
    for old, new in replaced.items():
        text = text.replace(old, new)
    found = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        command = "\n".join(line for line in lines if not line.startswith("#"))
        shown = [json.loads(line.removeprefix(SHOWN)) for line in lines if line.startswith(SHOWN)]
        if command.strip():
            # Unlike a shell, shlex keeps the line's end behind a backslash.
            found.append(Example(shlex.split(command.replace("\\\n", " ")), *shown))
    return found


def curl(http: httpx.Client, words: Sequence[str]) -> httpx.Response:
    """What curl would do: of its options, -X, -H, -d and -F."""
    assert words[0] == "curl"
    method, url, headers = None, "", dict[str, str]()
    data: str | None = None
    form: dict[str, Any] = {}
    rest = iter(words[1:])
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "-d":
                data = next(rest)
                headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
            case "-F":
                name, _, value = next(rest).partition("=")
                is_file = value.startswith("@")
                path = Path(value[1:])
                form[name] = (path.name, path.read_bytes()) if is_file else (None, value)
            case _:
                assert not word.startswith("-"), f"an option that is not known here: {word}"
                url = word
    sends = data is not None or form
    return http.request(
        method or ("POST" if sends else "GET"), url, headers=headers, content=data, files=form or None
    )


def has_shape(given: Any, shown: Any) -> bool:
    """Whether an answer has all that is shown, of the same kinds; what is shown as null may be anything."""
    if shown is None:
        return True
    if isinstance(shown, dict):
        return isinstance(given, dict) and all(has_shape(given.get(name), shown[name]) for name in shown)
    if isinstance(shown, list):
        pairs = zip(given, shown, strict=False)
        return (
            isinstance(given, list) and len(given) >= len(shown) and all(has_shape(*pair) for pair in pairs)
        )
    if isinstance(shown, int | float) and not isinstance(shown, bool):
        return isinstance(given, int | float)
    return type(given) is type(shown)
