"""The order in which samples are visited: a pure function of the seed, the epoch and the world size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.data.store import Indices
from seqclass.errors import TrainingError


def shuffled(blocks: Sequence[int], blocks_at_once: int, *, seed: int, epoch: int) -> Iterator[tuple[Indices, Indices]]:
    """A random order that needs only a few blocks in memory at a time.

    Blocks are drawn in random order, `blocks_at_once` at a time, and the samples of those are mixed. With all blocks at
    once this is a uniform permutation.

    Args:
        blocks: Number of samples in each block; samples are numbered through.
        blocks_at_once: How many blocks are mixed with each other.
        seed: Of the run.
        epoch: From 0.

    Yields:
        The blocks of a group, ascending, and their samples in the order in which they are visited.
    """
    generator = np.random.default_rng([seed, epoch])
    first = np.concatenate([[0], np.cumsum(blocks)])
    drawn = generator.permutation(len(blocks))
    for begin in range(0, len(drawn), blocks_at_once):
        group = np.sort(drawn[begin : begin + blocks_at_once])
        yield group, generator.permutation(np.concatenate([np.arange(*first[block : block + 2]) for block in group]))


class RandomStrands:
    """Decides for one sample after the other, in the order of visits, whether its other strand is read.

    Args:
        seed: Of the run.
        epoch: From 0.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self._generator = np.random.default_rng([seed, epoch, 1])

    def next(self, count: int) -> NDArray[np.bool_]:
        """For the next `count` samples, True where the other strand is read."""
        return self._generator.integers(0, 2, count, dtype=np.uint8).astype(bool)


def batch_sizes(num_samples: int, batch_size: int, world_size: int = 1) -> list[int]:
    """Sizes of an epoch's batches in the order of visits; rank r of `world_size` takes every one after the r-th.

    No sample is dropped, none repeated, and all ranks get as many batches. The sizes differ by at most one, and none is
    larger than `batch_size`, unless there would be batches without a sample.

    Raises:
        TrainingError: There are fewer samples than ranks.
    """
    if num_samples < world_size:
        raise TrainingError(
            f"{num_samples} samples cannot be shared by {world_size} processes", remedy="Use fewer processes"
        )
    steps = min(-(-num_samples // (batch_size * world_size)), num_samples // world_size)
    count = steps * world_size
    return [num_samples // count + (number < num_samples % count) for number in range(count)]


def cut(sizes: NDArray[np.integer[Any]], most: int, most_samples: int) -> Indices:
    """Bounds of the fewest, nearly equal parts of a row of samples that are not much larger than allowed.

    Args:
        sizes: `(samples,)`, of each sample.
        most: What the sizes in a part may add up to, its last sample left out.
        most_samples: How many samples a part may have.

    Returns:
        `(parts + 1,)`: part i is the samples from bound i up to bound i + 1.
    """
    load = np.maximum(sizes / most, 1 / most_samples)
    total = float(load.sum())
    before = np.cumsum(load) - load
    # Rounding must not make one part more of a sum that is whole.
    parts = max(1, math.ceil(total - 1e-6))
    inner = np.searchsorted(before, total / parts * np.arange(1, parts) - 1e-6)
    return np.unique([0, *inner, len(sizes)])
