"""Saliency maps as pictures: the whole sequence above, its most salient stretch letter by letter below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from seqclass.atomic import atomic_file

# Okabe and Ito's palette, which colour-blind readers can tell apart; A, C, G, T as sequence logos commonly have them.
_LETTER_COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
_TRACK_COLOUR, _AGAINST_COLOUR, _MARK_COLOUR, _OTHER_LETTER = "#0072B2", "#999999", "#F0E442", "#555555"
_LETTER_FONT = FontProperties(family="DejaVu Sans Mono", weight="bold")


class Mark(NamedTuple):
    """A named stretch to point out, in residues of the plotted sequence, 0-based half-open."""

    start: int
    end: int
    label: str


def plot_saliency(
    path: str | Path,
    sequence: str,
    tracks: Mapping[str, NDArray[np.float32]],
    *,
    title: str = "",
    marks: Sequence[Mark] = (),
    start: int = 0,
    unit: str = "bp",
    detail: int = 60,
    force: bool = False,
) -> None:
    """Draws saliency tracks of one sequence into a file whose ending says the format (png, svg, pdf).

    Args:
        path: The file.
        sequence: Letters of the sequence.
        tracks: By name, the saliency of each residue, `(length,)`.
        title: Above the picture.
        marks: Known stretches, shaded and labelled.
        start: Coordinate of the first residue.
        unit: Of the axis.
        detail: Residues of the lower panel, which shows letters as high as they are salient in the last track.
        force: Replace what stands at `path`.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    length = len(sequence)
    last = np.asarray(list(tracks.values())[-1])
    detail = min(detail, length)
    smooth = np.convolve(np.maximum(last, 0), np.ones(min(15, length)), mode="same")
    first = int(np.clip(int(smooth.argmax()) - detail // 2, 0, length - detail))
    figure = Figure(figsize=(7.2, 1.3 * len(tracks) + 2.2), layout="constrained", dpi=200)
    axes = figure.subplots(len(tracks) + 1, 1, height_ratios=[*[1] * len(tracks), 1.2])
    for row, (axis, (name, saliency)) in enumerate(zip(axes, tracks.items(), strict=False)):
        place = start + np.arange(length)
        axis.fill_between(place, np.maximum(saliency, 0), color=_TRACK_COLOUR, linewidth=0, step="mid")
        axis.fill_between(place, np.minimum(saliency, 0), color=_AGAINST_COLOUR, linewidth=0, step="mid")
        axis.axvspan(start + first, start + first + detail, facecolor="none", edgecolor="#555555", linewidth=0.8)
        _mark(axis, marks, start, labels=row == 0)
        axis.set_xlim(start, start + length)
        axis.set_ylabel(name, fontsize=8, parse_math=False)
    axes[-2].set_xlabel(f"position ({unit})", fontsize=8)
    _logo(axes[-1], sequence[first : first + detail], last[first : first + detail], start + first)
    _mark(axes[-1], marks, start, labels=False)
    axes[-1].set_xlabel(f"the boxed stretch, letter by letter ({unit})", fontsize=8)
    axes[-1].set_ylabel(list(tracks)[-1], fontsize=8, parse_math=False)
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axis.yaxis.get_offset_text().set_size(7)
    figure.suptitle(title, fontsize=9, parse_math=False)
    with atomic_file(path, force=force) as partial:
        figure.savefig(partial)


def _mark(axis: Axes, marks: Sequence[Mark], start: int, labels: bool) -> None:
    for mark in marks:
        axis.axvspan(start + mark.start, start + mark.end, color=_MARK_COLOUR, alpha=0.6, zorder=0, linewidth=0)
        if labels:
            axis.annotate(
                mark.label,
                (start + (mark.start + mark.end) / 2, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                parse_math=False,
            )


def _logo(axis: Axes, letters: str, heights: NDArray[np.float32], start: int) -> None:
    """Draws each letter as high as its value, downwards where that is negative."""
    for offset, (letter, height) in enumerate(zip(letters, heights.tolist(), strict=True)):
        outline = TextPath((0, 0), letter, size=1, prop=_LETTER_FONT)
        box = outline.get_extents()
        to_cell = (
            Affine2D()
            .translate(-box.x0, -box.y0)
            .scale(0.9 / box.width, height / box.height)
            .translate(start + offset + 0.05, 0)
        )
        colour = _LETTER_COLOURS.get(letter, _OTHER_LETTER)
        axis.add_patch(PathPatch(outline.transformed(to_cell), facecolor=colour, linewidth=0))
    axis.set_xlim(start, start + len(letters))
    low, high = float(min(0, heights.min())), float(max(0, heights.max()))
    axis.set_ylim(low * 1.05, high * 1.05 if high > low else low + 1)
    axis.axhline(0, color="#555555", linewidth=0.6)
