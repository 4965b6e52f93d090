"""Curves of several runs side by side: what was logged, against optimiser steps and against the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from seqclass.errors import TrainingError, find_name
from seqclass.training.loggers import LOGS

# Okabe and Ito's colours, told apart by the colour-blind (https://jfly.uni-koeln.de/color/), less yellow, which
# vanishes on white paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":")


class Curve(NamedTuple):
    """A scalar of one run, point by point.

    Attributes:
        steps: Optimiser steps, `(points,)`.
        seconds: Since the run began to log, `(points,)`. Of a run that went on after a stop, the pause counts.
        values: `(points,)`.
    """

    steps: NDArray[np.int64]
    seconds: NDArray[np.float64]
    values: NDArray[np.float64]


def read_curve(run: str | Path, tag: str) -> Curve:
    """What a run logged under a tag, such as "train/loss" or "valid/auroc"; docs/tensorboard.md has the list.

    Args:
        run: Folder of the run, as `fit` writes it.
        tag: In full, or a beginning of it that is unique.

    Raises:
        TrainingError: The run has no logs of TensorBoard's.
        UnknownNameError: It has no such scalar.
    """
    logs = Path(run) / LOGS
    if not any(logs.glob("events.out.tfevents.*")):
        raise TrainingError(
            "this run has no logs of TensorBoard's, which alone tell the time of each point",
            remedy="Give the folder of a run that was trained with --logger tensorboard",
            file=run,
        )
    events = EventAccumulator(str(logs), size_guidance={SCALARS: 0}).Reload()
    points = events.Scalars(find_name("scalar", tag, events.Tags()[SCALARS]))
    began = events.FirstEventTimestamp()
    return Curve(
        np.array([point.step for point in points], dtype=np.int64),
        np.array([point.wall_time - began for point in points]),
        np.array([point.value for point in points]),
    )


def draw_runs(runs: Mapping[str, str | Path], tags: Sequence[str] = ("valid/loss", "valid/auroc")) -> Figure:
    """Draws curves of runs: a row a tag, against steps on the left and against wall-clock time on the right.

    Args:
        runs: Folders by the name that each run is to have in the picture.
        tags: What is drawn.

    Raises:
        TrainingError: There is nothing to draw, or a run has no logs of TensorBoard's.
        UnknownNameError: A run has no such scalar.
    """
    if not runs or not tags:
        raise TrainingError("no run or no scalar to draw", remedy="Give at least one of each")
    figure = Figure(figsize=(9, 0.9 + 2.5 * len(tags)), layout="constrained")
    rows = figure.subplots(len(tags), 2, sharex="col", sharey="row", squeeze=False)
    longest = 0.0
    for row, tag in zip(rows, tags, strict=True):
        for number, (name, run) in enumerate(runs.items()):
            curve = read_curve(run, tag)
            longest = max(longest, float(curve.seconds.max()))
            style = _STYLES[number // len(_COLOURS) % len(_STYLES)]
            for axes, places in zip(row, (curve.steps, curve.seconds), strict=True):
                axes.plot(
                    places, curve.values, style, color=_COLOURS[number % len(_COLOURS)], lw=1.6, marker=".", label=name
                )
        row[0].set_ylabel(tag)
        for axes in row:
            axes.grid(color="0.92", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
    unit, size = ("h", 3600) if longest >= 7200 else ("min", 60) if longest >= 120 else ("s", 1)
    rows[-1][0].set_xlabel("optimiser step")
    rows[-1][0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    rows[-1][1].set_xlabel(f"wall-clock time ({unit})")
    rows[-1][1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:,.3g}"))
    handles, names = rows[0][0].get_legend_handles_labels()
    legend = figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)), frameon=False)
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    return figure
