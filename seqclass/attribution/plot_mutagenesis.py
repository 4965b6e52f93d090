"""The map of a saturation mutagenesis: what each letter would do at each position, and what the own letter is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from seqclass.alphabets import PROTEIN, Alphabet, Tokens
from seqclass.attribution.logos import at_own_letters, draw_logo
from seqclass.attribution.plot_style import DARK, SIGNED_MAP, Width, drawing, number_positions
from seqclass.errors import SeqclassError

# More letters side by side cannot be told apart in print.
_LOGO_LETTERS = {"column": 100, "page": 200}


def plot_mutagenesis(
    path: str | Path,
    tokens: Tokens,
    effects: NDArray[np.floating[Any]],
    alphabet: Alphabet,
    *,
    title: str = "",
    start: int = 0,
    width: Width = "page",
    force: bool = False,
) -> None:
    """Draws a heat map of substitutions, letters down and positions along, under a logo of the sequence itself.

    Red raises the logit and blue lowers it, alike on both sides of white; a dot stands at the sequence's own letter.
    Above, a letter is as high as its logit lies above the mean of all letters there; up to 200 positions.

    Args:
        path: The file, which ends in .png, .svg or .pdf.
        tokens: `(positions,)`.
        effects: `(positions, letters)` differences of the logit, as from `mutagenesis`, of one target.
        alphabet: Of the tokens.
        title: Above the picture.
        start: Coordinate of the first position, 0-based.
        width: "column" or "page" of a journal.
        force: Replace what stands at `path`.

    Raises:
        SeqclassError: The shapes do not fit, or the file's ending names no format.
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    letters = alphabet.letters
    if effects.shape != (len(tokens), len(letters)):
        raise SeqclassError(
            f"effects of shape {effects.shape} for {len(tokens)} positions of {alphabet.name}",
            remedy=f"Give those of one target, ({len(tokens)}, {len(letters)})",
        )
    first = start + 1 if alphabet is PROTEIN else start
    extent = (first - 0.5, first + len(tokens) - 0.5, len(letters) - 0.5, -0.5)
    with_logo = len(tokens) <= _LOGO_LETTERS[width]
    heights = [0.7] * with_logo + [max(0.6, 0.105 * len(letters))]
    largest = float(np.abs(effects).max()) or 1.0
    with drawing(path, width, sum(heights) + 0.7, force=force) as figure:
        *above, axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        if with_logo:
            draw_logo(above[0], at_own_letters(-effects.mean(axis=1), tokens, alphabet), alphabet, first)
            above[0].yaxis.set_major_locator(MaxNLocator(3))
            above[0].tick_params(labelbottom=False)
            above[0].set_ylabel("own letter's\nlogit")
        image = axes.imshow(
            effects.T,
            aspect="auto",
            cmap=SIGNED_MAP,
            vmin=-largest,
            vmax=largest,
            extent=extent,
            interpolation="none",
        )
        known = np.flatnonzero(tokens < len(letters))
        size = float(np.clip(240 * (1 if width == "page" else 0.5) / len(tokens), 0.3, 2))
        axes.plot(first + known, tokens[known], "o", color=DARK, markersize=size, markeredgewidth=0)
        axes.set_yticks(range(len(letters)), list(letters), fontsize=6 if len(letters) < 8 else 5)
        number_positions(axes, first, len(tokens), width)
        axes.set(xlabel="residue" if alphabet is PROTEIN else "position (bp)", ylabel="substitution")
        bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label("Δ logit")
        figure.suptitle(title)
