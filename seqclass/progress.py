"""A progress bar on standard error for whatever takes longer than two seconds, or whoever watches in place of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_PATIENCE_SECONDS = 2.0

Item = TypeVar("Item")

Watch = Callable[[str, float, float | None], None]
"""Is told what is being done, how many units of it are done, and how many there are, if known."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


class Advance(Protocol):
    """Called with the number of units done since the last call."""

    def __call__(self, done: float = 1) -> None: ...


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Within the block, in this thread, progress is told to `watch`, and no bar is shown.

    What `watch` raises ends the work.
    """
    before = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(before)


@contextmanager
def progress(description: str, total: float | None = None, unit: str = "") -> Iterator[Advance]:
    """Yields a function to report progress to; the bar appears after two seconds and vanishes at the end.

    Where standard error is no terminal there is no bar.

    Args:
        description: What is being done, as in "Scoring test windows".
        total: How many units there are, if known.
        unit: What is counted, shown behind the figures; "bytes" are shown as MB, with their rate.
    """
    watch = _watch.get()
    if watch is not None:
        yield _telling(watch, description, total)
        return
    amount = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), TextColumn(unit))
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amount,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(description, total=total)

    def advance(done: float = 1) -> None:
        bar.advance(task, done)

    # A timer, and not a look at the clock in `advance`: the first unit may be the one that takes long.
    timer = threading.Timer(_PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    if bar.console.is_terminal:
        timer.start()
    try:
        yield advance
    finally:
        if timer.is_alive():
            timer.cancel()
            timer.join()
        if bar.live.is_started:
            bar.stop()


def _telling(watch: Watch, description: str, total: float | None) -> Advance:
    units = 0.0

    def advance(done: float = 1) -> None:
        nonlocal units
        units += done
        watch(description, units, total)

    watch(description, units, total)
    return advance


def track(items: Iterable[Item], description: str, total: float | None = None, unit: str = "") -> Iterator[Item]:
    """Yields `items` one by one behind a progress bar."""
    with progress(description, total, unit) as advance:
        for item in items:
            yield item
            advance()
