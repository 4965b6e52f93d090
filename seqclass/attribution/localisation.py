"""How much of a saliency map lies where it should."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from seqclass.metrics import auroc


def inside(length: int, intervals: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which of `length` residues lie inside intervals, 0-based half-open, which may reach over the ends."""
    covered = np.zeros(length, dtype=bool)
    for start, end in intervals:
        covered[max(0, start) : max(0, end)] = True
    return covered


def localisation(saliency: NDArray[np.float32], where: NDArray[np.bool_]) -> tuple[float, float]:
    """How well the size of saliency tells the residues where it should lie from the others.

    Args:
        saliency: `(length,)`; its sign does not count.
        where: `(length,)`, true where it should lie.

    Returns:
        AUROC of the size inside against outside; and whether the top position lies inside, 0 or 1, of several equally
        high ones the share.
    """
    size = np.abs(saliency)
    return auroc(where, size), float(where[size == size.max()].mean())
