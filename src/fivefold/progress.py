"""Progress bars on stderr; none when it is not a terminal, or when silenced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_silenced = False


class Bar:
    """A running bar, or none."""

    def __init__(self, shown: tuple[Progress, TaskID] | None) -> None:
        self._shown = shown

    def advance(self, text: str | None = None, steps: float = 1) -> None:
        """Move on, and show `text` in the place of the description."""
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, advance=steps, description=text)


class Rate:
    """How fast bytes go by, from the moment it is made."""

    def __init__(self) -> None:
        self._start, self._bytes = time.monotonic(), 0

    def add(self, more: int) -> str:
        """Count `more` bytes; the rate so far as text, such as `1.2 MB/s`."""
        self._bytes += more
        return f"{self._bytes / 1e6 / max(1e-9, time.monotonic() - self._start):.2g} MB/s"


@contextmanager
def progress_bar(description: str, total: float) -> Iterator[Bar]:
    """Show a bar for as long as the block runs."""
    if _silenced:
        yield Bar(None)
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Bar(None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("/"), TimeRemainingColumn()
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        yield Bar((progress, progress.add_task(description, total=total)))


@contextmanager
def silenced(on: bool) -> Iterator[None]:
    """Show no bars for as long as the block runs, if `on`."""
    global _silenced
    before, _silenced = _silenced, _silenced or on
    try:
        yield
    finally:
        _silenced = before


def silence() -> None:
    """Show no bars from now on."""
    global _silenced
    _silenced = True
