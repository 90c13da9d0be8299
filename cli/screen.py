"""What the operator sees: steps with their time, lively on a terminal and plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Screen:
    """Prints steps and facts to standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Show that something is going on, and how long it took when it has succeeded."""
        started_at = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{doing} …"):
                yield
        else:
            self.say(f"… {doing}")
            yield
        self._console.print(
            f"[green]✓[/green] {escape(done)} [dim]({time.monotonic() - started_at:.1f} s)[/dim]"
        )

    def say(self, text: str = "") -> None:
        """Print a line as it is."""
        self._console.print(text, markup=False)

    def heading(self, text: str) -> None:
        """Print a line that stands out, after an empty one."""
        self._console.print(f"\n[bold]{escape(text)}[/bold]")
