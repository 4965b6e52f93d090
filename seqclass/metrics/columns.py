"""Going through a matrix of samples and targets one target at a time, on threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqclass.errors import EvaluationError

Result = TypeVar("Result")

# 16 float32 columns are one cache line: fewer would read the whole matrix from memory for each column.
# Turning them into rows in tiles that fit the first cache is three times faster than in one go.
COLUMNS, _TILE = 16, 1024


def map_targets(
    function: Callable[[int, NDArray[Any], NDArray[Any]], Result],
    labels: NDArray[Any],
    scores: NDArray[Any],
    rows: NDArray[np.int64] | None = None,
) -> list[Result]:
    """What a function makes of each target's column, its labels and its scores `(samples,)`, in the targets' order.

    Args:
        function: Takes the target's index, its labels and its scores, and is called from several threads: sorting and
            matrix products release the interpreter's lock, so they do run side by side.
        labels: `(samples, targets)`.
        scores: `(samples, targets)`.
        rows: Indices of the samples that are looked at. Default: all.

    Raises:
        EvaluationError: Shapes differ.
    """
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise EvaluationError(
            f"labels have shape {labels.shape} and scores {scores.shape}, where both should be (samples, targets)",
            remedy="Pass one label and one score a sample and target",
        )

    def over_block(begin: int) -> list[Result]:
        columns = slice(begin, begin + COLUMNS)
        pairs = zip(transposed(labels[:, columns], rows), transposed(scores[:, columns], rows), strict=True)
        return [function(target, *pair) for target, pair in enumerate(pairs, start=begin)]

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        blocks = pool.map(over_block, range(0, labels.shape[1], COLUMNS))
        return [result for block in blocks for result in block]


def transposed(matrix: NDArray[Any], rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
    """The transpose of a matrix, or of some of its rows, laid out anew in memory."""
    if rows is not None:
        matrix = matrix[rows]
    out = np.empty(matrix.shape[::-1], dtype=matrix.dtype)
    for begin in range(0, len(matrix), _TILE):
        out[:, begin : begin + _TILE] = matrix[begin : begin + _TILE].T
    return out
