"""Saliency along a sequence as a picture: tracks of methods and targets, annotation below them, then letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from seqclass.alphabets import DNA, PROTEIN
from seqclass.attribution.logos import at_own_letters, draw_logo
from seqclass.attribution.plot_features import Feature, arrange, draw_features
from seqclass.attribution.plot_style import AGAINST, DARK, FOR, MARK, SIGNED_MAP, Width, drawing, number_positions

Values = NDArray[np.floating[Any]]


class Mark(NamedTuple):
    """A named stretch to point out, in residues of the plotted sequence, 0-based half-open."""

    start: int
    end: int
    label: str


def plot_saliency(
    path: str | Path,
    sequence: str,
    tracks: Mapping[str, Values],
    *,
    strips: Mapping[str, Values] | None = None,
    features: Sequence[Feature] = (),
    marks: Sequence[Mark] = (),
    title: str = "",
    start: int = 0,
    unit: str = "bp",
    detail: int = 60,
    width: Width = "page",
    force: bool = False,
) -> None:
    """Draws saliency of one sequence into a file whose ending says the format (png, svg, pdf).

    From above: a track for each method or target, all on one axis of positions; a heat strip for each that is to take
    little room; annotation; and the most salient stretch of the last track, letter by letter.

    Args:
        path: The file.
        sequence: Letters of the sequence.
        tracks: By name, the saliency of each residue, `(length,)`.
        strips: As tracks, drawn as colours, each scaled by its own largest value.
        features: Genes, motifs or domains, as from `read_features`.
        marks: Known stretches, shaded in all tracks and labelled.
        title: Above the picture.
        start: Coordinate of the first residue, 0-based.
        unit: Of the axis: "bp" counts from 0, as BED does, and "residues" from 1.
        detail: Residues of the lowest panel, which shows letters; 0 for none.
        width: "column" or "page" of a journal.
        force: Replace what stands at `path`.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        SeqclassError: The file's ending names no format.
    """
    length, strips = len(sequence), strips or {}
    alphabet = PROTEIN if unit == "residues" else DNA
    first = start + 1 if alphabet is PROTEIN else start
    placed = arrange(features, length, width)
    rows = 1 + max((each.row for each in placed), default=-1)
    heights = [0.62] * len(tracks) + [0.14] * len(strips) + [0.17 * rows] * (rows > 0)
    heights += [0.75] * (detail > 0)
    with drawing(path, width, sum(heights) + 0.75 + 0.12 * len(heights), force=force) as figure:
        axes = list(figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        along = axes[: len(axes) - (detail > 0)]
        for axis, (name, values) in zip(axes, tracks.items(), strict=False):
            _draw_track(axis, np.asarray(values), first)
            axis.set_ylabel(_in_lines(name))
        for axis, (name, values) in zip(axes[len(tracks) :], strips.items(), strict=False):
            _draw_strip(axis, np.asarray(values), first, name)
        if rows:
            draw_features(axes[len(tracks) + len(strips)], placed, first, length)
        for row, axis in enumerate(along):
            is_strip = len(tracks) <= row < len(tracks) + len(strips)
            if not is_strip:
                _draw_marks(axis, marks, first, labels=row == 0)
            number_positions(axis, first, length, width)
            axis.spines["bottom"].set_visible(not is_strip)
            if axis is not along[-1]:
                axis.tick_params(labelbottom=False, bottom=False)
        along[-1].set_xlabel("residue" if alphabet is PROTEIN else f"position ({unit})")
        if detail:
            name, values = list({**strips, **tracks}.items())[-1]
            left, right = most_salient(np.asarray(values), detail)
            letters = at_own_letters(np.asarray(values), alphabet.encode(sequence), alphabet)[left:right]
            draw_logo(axes[-1], letters, alphabet, first + left)
            _draw_marks(axes[-1], marks, first, labels=False)
            number_positions(axes[-1], first + left, right - left, width)
            axes[-1].yaxis.set_major_locator(MaxNLocator(3))
            axes[-1].set(xlabel="the boxed stretch, letter by letter", ylabel=_in_lines(name))
            for axis in along[: len(tracks)]:
                axis.axvspan(
                    first + left - 0.5, first + right - 0.5, facecolor="none", edgecolor=DARK, linewidth=0.6, zorder=3
                )
        figure.suptitle(title)


def most_salient(values: Values, width: int) -> tuple[int, int]:
    """The stretch of up to `width` residues around the peak of the positive values, smoothed over 15 residues."""
    width = min(width, len(values))
    smooth = np.convolve(np.maximum(values, 0), np.ones(min(15, len(values))), mode="same")
    left = int(np.clip(int(smooth.argmax()) - width // 2, 0, len(values) - width))
    return left, left + width


def _in_lines(name: str) -> str:
    """A name beside an axis, which is not high enough for a long one in one line."""
    return name.replace("-", "-\n") if len(name) > 12 and "\n" not in name else name


def _draw_track(axes: Axes, values: Values, first: int) -> None:
    place = first + np.arange(len(values))
    axes.fill_between(place, np.maximum(values, 0), color=FOR, linewidth=0, step="mid")
    axes.fill_between(place, np.minimum(values, 0), color=AGAINST, linewidth=0, step="mid")
    axes.axhline(0, color=DARK, linewidth=0.4)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set_fontsize(6)


def _draw_strip(axes: Axes, values: Values, first: int, name: str) -> None:
    largest = float(np.abs(values).max()) or 1.0
    extent = (first - 0.5, first + len(values) - 0.5, 0, 1)
    axes.imshow(
        values[None], aspect="auto", cmap=SIGNED_MAP, vmin=-largest, vmax=largest, extent=extent, interpolation="none"
    )
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_title(name, loc="left", fontsize=6, pad=1.5)


def _draw_marks(axes: Axes, marks: Sequence[Mark], first: int, labels: bool) -> None:
    for mark in marks:
        left, right = first + mark.start - 0.5, first + mark.end - 0.5
        axes.axvspan(left, right, color=MARK, alpha=0.5, zorder=0, linewidth=0)
        if labels:
            axes.annotate(
                mark.label,
                ((left + right) / 2, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=6,
            )
