"""Arrays of DeepSEA's layout, made row by row, so that files of any size can be written in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqclass.data.simulate.matlab_files import RowArray

Array = NDArray[np.uint8]

# Per token A, C, G, T, N: the channels A, G, C, T.
_ONE_HOT = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], dtype=np.uint8)


def as_rows(name: str, matlab_array: Array) -> RowArray:
    """An array in MATLAB's order, `(samples, ...)`, as a RowArray."""
    seen = matlab_array.T
    return RowArray(name, seen.shape, lambda index: np.ascontiguousarray(seen[index]))


def random_split(
    name: str, samples: int, window: int, targets: int, *, seed: int = 0, unknown: float = 0.0, positive: float = 0.02
) -> tuple[RowArray, RowArray]:
    """One-hot windows and labels of a split whose second half is the reverse complement of its first."""
    half = samples // 2

    def bases(position: int) -> Array:
        rng = np.random.default_rng([seed, 0, position])
        drawn = np.frombuffer(rng.bytes(half), np.uint8) & 3
        return np.where(rng.random(half) < unknown, np.uint8(4), drawn) if unknown else drawn

    def onehot(position: int) -> Array:
        tokens = np.concatenate([bases(position), _COMPLEMENT[bases(window - 1 - position)]])
        return np.ascontiguousarray(_ONE_HOT.T[:, tokens])

    def labels(target: int) -> Array:
        rng = np.random.default_rng([seed, 1, target])
        return np.tile((rng.random(half, np.float32) < positive).astype(np.uint8), 2)

    return (
        RowArray(f"{name}xdata", (window, 4, 2 * half), onehot),
        RowArray(f"{name}data", (targets, 2 * half), labels),
    )


def one_hot(tokens: Array) -> Array:
    """`(samples, 4, window)` with channels A, G, C, T from tokens `(samples, window)`."""
    return np.ascontiguousarray(_ONE_HOT[tokens].transpose(0, 2, 1))


def other_strand(tokens: Array) -> Array:
    return _COMPLEMENT[tokens[:, ::-1]]
