"""Which classes are taken for which: the confusion matrix, as a figure and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Counts = NDArray[np.int64]

OTHERS = "others"

# Cells are numbered while the numbers can be read, and only the classes most often mistaken stand by themselves.
_MOST_NUMBERED, _MOST_SHOWN = 12, 30


class Answers(NamedTuple):
    """Of the samples whose class is known, the true and the called one.

    Args:
        truth: `(samples,)`, indices of classes.
        guess: `(samples,)`.
        names: Of the classes.
    """

    truth: Counts
    guess: Counts
    names: Sequence[str]


def confusion_table(answers: Mapping[str, Answers]) -> str:
    """A tab-separated line for each pair of a true and a called class that occurs, and its number of samples.

    Args:
        answers: By exclusive group.
    """
    lines = ["group\ttrue\tcalled\tsamples"]
    for group, (truth, guess, names) in answers.items():
        pairs, counts = np.unique(truth * len(names) + guess, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            true, called = divmod(pair, len(names))
            lines.append(f"{group}\t{names[true]}\t{names[called]}\t{count}")
    return "\n".join(lines) + "\n"


def confusion(truth: Counts, guess: Counts, names: Sequence[str], most: int = _MOST_SHOWN) -> tuple[Counts, list[str]]:
    """How often each class (row) was taken for each (column), and the names of rows and columns.

    Of more than `most` classes, those with the most mistakes, of either kind, stand by themselves, and all others are
    together in a last row and column; right answers there are those for which both are the same class.

    Args:
        truth: `(samples,)`, indices of classes.
        guess: `(samples,)`.
        names: Of the classes.
        most: Classes that stand by themselves.
    """
    shown = np.arange(len(names))
    if len(names) > most:
        wrong = truth != guess
        mistakes = np.bincount(truth[wrong], minlength=len(names)) + np.bincount(guess[wrong], minlength=len(names))
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:most])
    row = np.full(len(names), len(shown))
    row[shown] = np.arange(len(shown))
    size = len(shown) + (len(shown) < len(names))
    counts = np.bincount(row[truth] * size + row[guess], minlength=size * size).reshape(size, size)
    return counts, [names[index] for index in shown.tolist()] + [OTHERS] * (size - len(shown))


def draw_confusion(answers: Mapping[str, Answers]) -> Figure:
    """Draws a confusion matrix of each exclusive group, below one another: colours are shares of a row.

    Where classes are few, numbers of samples stand in the cells.

    Args:
        answers: By exclusive group.
    """
    matrices = {group: confusion(*each) for group, each in answers.items()}
    sides = [2.2 + max(0.32 * len(names), 1.0) for _, names in matrices.values()]
    figure = Figure(figsize=(max(sides) + 0.8, sum(sides)), layout="constrained")
    plots = figure.subplots(len(sides), 1, squeeze=False, height_ratios=sides)[:, 0]
    for axes, (group, (counts, names)) in zip(plots, matrices.items(), strict=True):
        _draw(axes, counts, names, group)
    return figure


def plot_confusion(path: Path, answers: Mapping[str, Answers]) -> None:
    """Writes the figure of `draw_confusion` as a PNG."""
    draw_confusion(answers).savefig(path, dpi=150, bbox_inches="tight", format="png")


def draw_answers(counts: Sequence[Counts], titles: Sequence[str], threshold: float) -> Figure:
    """Draws the confusion matrices of yes-or-no targets side by side.

    Args:
        counts: `(2, 2)` each, no before yes.
        titles: Of each.
        threshold: The probability from which on the answer is yes.
    """
    figure = Figure(figsize=(2.6 * len(counts) + 0.4, 2.9), layout="constrained")
    for axes, each, title in zip(figure.subplots(1, len(counts), squeeze=False)[0], counts, titles, strict=True):
        _draw(axes, each, ("no", "yes"), title if len(title) <= 24 else title[:23] + "…")
        axes.set_xlabel(f"called (at {threshold:g})", fontsize=8)
    return figure


def _draw(axes: Axes, counts: Counts, names: Sequence[str], title: str) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    labels = [name if len(name) <= 24 else name[:23] + "…" for name in names]
    rows = np.arange(len(names))
    small = 8 if len(names) <= _MOST_NUMBERED else 7
    axes.set_xticks(rows, labels, rotation=90 if max(map(len, labels)) > 3 else 0, fontsize=small)
    axes.set_yticks(rows, labels, fontsize=small)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    if len(names) <= _MOST_NUMBERED:
        for row, column in np.ndindex(counts.shape):
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if shares[row, column] > 0.5 else "black",
            )
    axes.set_xlabel("called", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    axes.set_title(title, fontsize=9, parse_math=False)
