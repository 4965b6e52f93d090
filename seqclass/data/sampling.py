"""The order in which samples are visited: a pure function of the seed, the epoch and the world size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqclass.data.store import Indices
from seqclass.errors import TrainingError


def shuffled(blocks: Sequence[int], blocks_at_once: int, *, seed: int, epoch: int) -> tuple[list[Indices], Indices]:
    """A random order that needs only a few blocks in memory at a time.

    Blocks are drawn in random order, `blocks_at_once` at a time, and the samples of those are mixed. With all blocks at
    once this is a uniform permutation.

    Args:
        blocks: Number of samples in each block; samples are numbered through.
        blocks_at_once: How many blocks are mixed with each other.
        seed: Of the run.
        epoch: From 0.

    Returns:
        The blocks of each group, ascending, and all samples in the order in which they are visited.
    """
    generator = np.random.default_rng([seed, epoch])
    first = np.concatenate([[0], np.cumsum(blocks)])
    drawn = generator.permutation(len(blocks))
    groups = [np.sort(drawn[i : i + blocks_at_once]) for i in range(0, len(drawn), blocks_at_once)]
    order = [
        generator.permutation(np.concatenate([np.arange(first[block], first[block + 1]) for block in group]))
        for group in groups
    ]
    return groups, np.concatenate(order)


def random_strands(num_samples: int, *, seed: int, epoch: int) -> NDArray[np.bool_]:
    """For each sample, whether its other strand is read in this epoch."""
    return np.random.default_rng([seed, epoch, 1]).integers(0, 2, num_samples, dtype=np.uint8).astype(bool)


def split_into_batches(order: Indices, batch_size: int, *, rank: int = 0, world_size: int = 1) -> list[Indices]:
    """This rank's share of an epoch: no sample dropped, none repeated, as many batches on every rank.

    The batches differ in size by at most one, and none is larger than `batch_size`.

    Raises:
        TrainingError: There are fewer samples than ranks.
    """
    if len(order) < world_size:
        raise TrainingError(
            f"{len(order)} samples cannot be shared by {world_size} processes", remedy="Use fewer processes"
        )
    steps = -(-len(order) // (batch_size * world_size))
    return np.array_split(order, steps * world_size)[rank::world_size]
