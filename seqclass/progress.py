"""A progress bar on standard error for whatever takes longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PATIENCE_SECONDS = 2.0

Item = TypeVar("Item")


class Advance(Protocol):
    """Called with the number of units done since the last call."""

    def __call__(self, done: float = 1) -> None: ...


@contextmanager
def progress(description: str, total: float | None = None, unit: str = "") -> Iterator[Advance]:
    """Yields a function to report progress to; the bar appears after two seconds and vanishes at the end.

    Where standard error is no terminal there is no bar.

    Args:
        description: What is being done, as in "Scoring test windows".
        total: How many units there are, if known.
        unit: What is counted, shown behind the figures.
    """
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(description, total=total)
    start = time.monotonic()
    shown = False

    def advance(done: float = 1) -> None:
        nonlocal shown
        bar.advance(task, done)
        if not shown and bar.console.is_terminal and time.monotonic() - start > _PATIENCE_SECONDS:
            bar.start()
            shown = True

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


def track(items: Iterable[Item], description: str, total: float | None = None, unit: str = "") -> Iterator[Item]:
    """Yields `items` one by one behind a progress bar."""
    with progress(description, total, unit) as advance:
        for item in items:
            yield item
            advance()
