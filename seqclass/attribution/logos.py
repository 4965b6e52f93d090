"""Sequence logos: letters as high as their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from seqclass.alphabets import Alphabet, Tokens
from seqclass.attribution.plot_style import DARK, LETTERS


def draw_logo(axes: Axes, values: NDArray[np.floating[Any]], alphabet: Alphabet, start: int = 0) -> None:
    """Draws a stack of letters at each position, with logomaker (Tareen and Kinney 2020, Bioinformatics 36, 2272).

    Args:
        axes: Where.
        values: `(positions, letters)`: the height of each letter, downwards where it is negative; 0 for none.
        alphabet: What the columns stand for.
        start: Coordinate of the middle of the first position.
    """
    import logomaker
    import pandas

    places = range(start, start + len(values))
    table = pandas.DataFrame(np.asarray(values, dtype=float), index=places, columns=list(alphabet.letters))
    # Below zero the largest letter is nearest to it, as above, and letters stay upright: so they can be read.
    colours = LETTERS[alphabet]
    logomaker.Logo(table, ax=axes, color_scheme=colours, font_name="DejaVu Sans", flip_below=False, zorder=2)
    axes.set_xlim(start - 0.5, start + len(table) - 0.5)
    axes.axhline(0, color=DARK, linewidth=0.5)


def at_own_letters(values: NDArray[np.floating[Any]], tokens: Tokens, alphabet: Alphabet) -> NDArray[np.float64]:
    """`(length,)` values as `(length, letters)`, each at the sequence's own letter; an unknown residue has none."""
    letters = np.zeros((len(tokens), len(alphabet.letters)))
    known = np.flatnonzero(tokens < len(alphabet.letters))
    letters[known, tokens[known]] = np.asarray(values)[known]
    return letters


def information(
    ppm: NDArray[np.floating[Any]], background: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.float64]:
    """Heights of a motif's logo in bits: a letter's probability times the position's information against a background.

    Schneider and Stephens 1990 (Nucleic Acids Res. 18, 6097).

    Args:
        ppm: `(positions, letters)` probabilities.
        background: `(letters,)` probabilities; equal ones by default.
    """
    expected = np.full(ppm.shape[1], 1 / ppm.shape[1]) if background is None else np.asarray(background)
    odds = np.log2(np.maximum(ppm, 1e-12) / np.maximum(expected, 1e-12))
    bits: NDArray[np.float64] = ppm * (ppm * odds).sum(axis=1, keepdims=True)
    return bits
