"""In-silico experiments as a picture: what each condition does to a logit, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from seqclass.attribution.in_silico import Effects
from seqclass.attribution.plot_style import BLUE, DARK, GREEN, ORANGE, PURPLE, SKY, VERMILION, Width, drawing
from seqclass.errors import SeqclassError
from seqclass.targets import Target, find_target

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, DARK)


def plot_effects(
    path: str | Path,
    effects: Effects,
    targets: Sequence[Target],
    wanted: Sequence[str] = (),
    *,
    condition: str = "",
    title: str = "",
    width: Width = "page",
    force: bool = False,
) -> None:
    """Draws the mean change of a target's logit under each condition, and the 95 % interval of the mean.

    Conditions that are all numbers (distances, positions) lie along an axis and are joined by lines; others, such as
    motifs, stand side by side.

    Args:
        path: The file, which ends in .png, .svg or .pdf.
        effects: As from `marginalise`, `ablate`, `space` or `tile`.
        targets: Of the bundle.
        wanted: Names of up to seven targets to be drawn; all by default.
        condition: What was varied, below the axis.
        title: Above the picture.
        width: "column" or "page" of a journal.
        force: Replace what stands at `path`.

    Raises:
        SeqclassError: There are too many targets to tell apart, or the ending names no format.
        UnknownNameError: There is no such target.
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    columns = [find_target(targets, name) for name in wanted] or list(range(len(targets)))
    if len(columns) > len(_COLOURS):
        raise SeqclassError(
            f"{len(columns)} targets in one picture cannot be told apart",
            remedy=f"Name up to {len(_COLOURS)} of them",
        )
    numbers = _numbers(effects.conditions)
    is_along = numbers is not None
    places = np.arange(len(effects.conditions)) if numbers is None else numbers
    with drawing(path, width, 2.4, force=force) as figure:
        axes = figure.subplots()
        for place, column in enumerate(columns):
            mean, low, high = (each[:, column] for each in (effects.mean, effects.low, effects.high))
            aside = 0.0 if is_along else 0.6 * ((place + 0.5) / len(columns) - 0.5)
            axes.errorbar(
                places + aside,
                mean,
                yerr=np.abs(np.stack([mean - low, high - mean])),
                fmt=".-" if is_along else "o",
                color=_COLOURS[place],
                markersize=4,
                linewidth=1,
                capsize=0 if is_along else 2,
                label=targets[column].name,
            )
        if is_along:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            axes.set_xticks(places, effects.conditions)
        axes.axhline(0, color=DARK, linewidth=0.5)
        axes.set(xlabel=condition, ylabel="Δ logit")
        figure.legend(loc="outside right upper", frameon=False)
        figure.suptitle(title)


def _numbers(conditions: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """What the conditions say, if all of them are numbers."""
    try:
        return np.array([float(condition) for condition in conditions])
    except ValueError:
        return None
