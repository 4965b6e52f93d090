"""How much of a saliency map lies where it should."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def share_inside(saliency: NDArray[np.float32], intervals: Iterable[tuple[int, int]]) -> float:
    """The share of the positive saliency that lies inside intervals; NaN where none is positive.

    Args:
        saliency: `(length,)`.
        intervals: Starts and ends on it, 0-based half-open; they may reach over its ends.
    """
    positive = np.maximum(saliency, 0)
    inside = np.zeros(len(saliency), dtype=bool)
    for start, end in intervals:
        inside[max(0, start) : max(0, end)] = True
    total = float(positive.sum())
    return float(positive[inside].sum()) / total if total > 0 else float("nan")
