"""Motifs as a page of logos: those of a model's filters, or known ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Alphabet
from seqclass.attribution.logos import draw_logo, information
from seqclass.attribution.plot_style import Width, drawing
from seqclass.errors import SeqclassError

_BESIDE = {"column": 2, "page": 4}


def plot_motifs(
    path: str | Path,
    ppms: Mapping[str, NDArray[np.floating[Any]]],
    alphabet: Alphabet,
    *,
    background: NDArray[np.floating[Any]] | None = None,
    title: str = "",
    width: Width = "page",
    force: bool = False,
) -> None:
    """Draws a logo a motif, letters as high as their information in bits, all to one scale.

    Args:
        path: The file, which ends in .png, .svg or .pdf.
        ppms: `(positions, letters)` probabilities by the name above the logo, as from `to_ppm`.
        alphabet: Of the columns.
        background: `(letters,)` probabilities that tell nothing; equal ones by default.
        title: Above the picture.
        width: "column" or "page" of a journal.
        force: Replace what stands at `path`.

    Raises:
        SeqclassError: There is no motif, a matrix has other columns than letters, or the ending names no format.
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    wrong = next((name for name, ppm in ppms.items() if ppm.ndim != 2 or ppm.shape[1] != len(alphabet.letters)), None)
    if not ppms or wrong is not None:
        found = "no motif" if wrong is None else f"'{wrong}' of shape {ppms[wrong].shape}"
        raise SeqclassError(
            f"{found} to draw", remedy=f"Give matrices (positions, {len(alphabet.letters)}), as of to_ppm"
        )
    heights = {name: information(ppm, background) for name, ppm in ppms.items()}
    highest = max(0.5, *(float(each.sum(axis=1).max()) for each in heights.values()))
    beside = min(_BESIDE[width], len(heights))
    rows = -(-len(heights) // beside)
    with drawing(path, width, 0.3 + 0.95 * rows, force=force) as figure:
        panels = figure.subplots(rows, beside, squeeze=False).ravel()
        for axes, (name, letters) in zip(panels, heights.items(), strict=False):
            draw_logo(axes, letters, alphabet, 1)
            axes.set_ylim(min(0.0, float(letters.min())), highest)
            axes.set_title(name)
            axes.set_xticks([1, len(letters)])
        for axes in panels[: len(heights) : beside]:
            axes.set_ylabel("bits")
        for axes in panels[len(heights) :]:
            axes.set_axis_off()
        figure.suptitle(title)
