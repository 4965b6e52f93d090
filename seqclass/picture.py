"""A small picture of one plot, as pages show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_LONGEST_NAME = 30


@contextmanager
def one_plot(path: Path, height: float = 3.4) -> Iterator[Axes]:
    """Axes to draw on, 7 inches wide and `height` high; the picture is written at the end of the block."""
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    figure.savefig(path, dpi=150)


def short(name: str) -> str:
    """A name that fits beside an axis: its beginning, where it has more than 30 letters."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
