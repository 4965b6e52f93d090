"""Seqlets: short stretches with more saliency than chance would pile up.

After Shrikumar et al. 2018 (arXiv:1811.00416).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.errors import SequenceError


class Seqlet(NamedTuple):
    """A salient stretch.

    Attributes:
        sequence: Index of the sequence.
        start: Its first residue, 0-based.
        end: Behind its last.
        saliency: The sum in it.
        p_value: Share of windows of shuffled saliency with at least that sum.
    """

    sequence: int
    start: int
    end: int
    saliency: float
    p_value: float


def find_seqlets(
    saliency: NDArray[np.floating[Any]], width: int = 15, *, p_value: float = 1e-3, shuffles: int = 20, seed: int = 0
) -> list[Seqlet]:
    """Windows of high saliency that do not overlap, the highest of a sequence first.

    The null are windows of the same sequences, their saliency in random order: what neighbours do not explain together.

    Args:
        saliency: `(sequences, length)`; windows of positive sums are found.
        width: Residues of a window.
        p_value: Up to which a window counts.
        shuffles: Of each sequence, for the null.
        seed: Of the shuffles.

    Raises:
        SequenceError: The width is not between 1 and the length of the sequences.
    """
    values = np.asarray(saliency, dtype=np.float64)
    if not 1 <= width <= values.shape[1]:
        raise SequenceError(
            f"windows of {width} residues on sequences of {values.shape[1]}",
            remedy="Let the width be 1 to the length",
        )
    generator = np.random.default_rng(seed)
    null = np.sort(np.concatenate([_sums(generator.permuted(values, axis=1), width).ravel() for _ in range(shuffles)]))
    found = []
    for number, sums in enumerate(_sums(values, width)):
        free = np.ones(len(sums), dtype=bool)
        for start in np.argsort(-sums, kind="stable").tolist():
            chance = (len(null) - int(np.searchsorted(null, sums[start] - 1e-12)) + 1) / (len(null) + 1)
            if chance > p_value or sums[start] <= 0:
                break
            if free[start]:
                found.append(Seqlet(number, start, start + width, float(sums[start]), chance))
                free[max(0, start - width + 1) : start + width] = False
    return found


def _sums(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    sums: NDArray[np.float64] = total[:, width:] - total[:, :-width]
    return sums
