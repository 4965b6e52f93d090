"""The order in which samples are visited: a pure function of the seed, the epoch and the world size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.data.labels import LabelLayout, Packed, unpack_labels
from seqclass.data.store import Indices
from seqclass.errors import TrainingError
from seqclass.metrics import MISSING

_BLOCK = 1 << 16


def shuffled(
    blocks: Sequence[int],
    blocks_at_once: int,
    *,
    seed: int,
    epoch: int,
    times: Indices | None = None,
    blocks_at_first: int | None = None,
) -> Iterator[tuple[Indices, Indices]]:
    """A random order that needs only a few blocks in memory at a time.

    Blocks are drawn in random order, `blocks_at_once` at a time, and the samples of those are mixed. With all blocks at
    once this is a uniform permutation.

    Args:
        blocks: Number of samples in each block; samples are numbered through.
        blocks_at_once: How many blocks are mixed with each other.
        seed: Of the run.
        epoch: From 0.
        times: `(samples,)`, how often each sample is visited. Default: once.
        blocks_at_first: How many blocks are mixed in the first group. Default: as many as in others.

    Yields:
        The blocks of a group, ascending, and their samples in the order in which they are visited.
    """
    generator = np.random.default_rng([seed, epoch])
    first = np.concatenate([[0], np.cumsum(blocks)])
    drawn = generator.permutation(len(blocks))
    begins = np.arange(blocks_at_first or blocks_at_once, len(drawn), blocks_at_once)
    for blocks_of_group in np.split(drawn, begins):
        group = np.sort(blocks_of_group)
        samples = np.concatenate([np.arange(*first[block : block + 2]) for block in group])
        yield group, generator.permutation(samples if times is None else np.repeat(samples, times[samples]))


def draw_weighted(
    weights: NDArray[np.floating[Any]], bucket: NDArray[np.integer[Any]], count: Indices, seed: int, epoch: int
) -> Indices:
    """How often each sample is visited in an epoch, drawn with replacement, `(samples,)`.

    Args:
        weights: `(samples,)`, what chances are proportional to.
        bucket: `(samples,)`, the bucket of each.
        count: `(buckets,)`, how many draws fall to each bucket, the same in all epochs.
        seed: Of the run.
        epoch: From 0.
    """
    generator = np.random.default_rng([seed, epoch, 4])
    times = np.zeros(len(weights), dtype=np.int64)
    for number, draws in enumerate(count.tolist()):
        members = np.flatnonzero(bucket == number)
        upto = np.cumsum(weights[members], dtype=np.float64)
        drawn = np.searchsorted(upto, generator.random(draws) * upto[-1], side="right")
        times[members] = np.bincount(drawn, minlength=len(members))
    return times


def balanced_weights(layout: LabelLayout, rows: Packed) -> NDArray[np.float64]:
    """Weights by which every target is drawn about as often: one over how many samples have a sample's rarest target.

    Samples without any label weigh as if they had a target of their own.

    Args:
        layout: What the labels mean.
        rows: `(samples, layout.row_bytes)`, the packed labels.
    """
    positives, _, labelled = layout.count(rows)
    rarity = 1 / np.maximum(positives, 1)
    weights = np.zeros(len(rows))
    for begin in range(0, len(rows), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        carries = unpack_labels(rows[block, : layout.bit_bytes], len(layout.binary)).astype(bool)
        weights[block] = np.where(carries, rarity[layout.binary], 0).max(axis=1, initial=0)
    for group, classes in zip(layout.exclusive, layout.classes(rows).T, strict=True):
        of_class = rarity[layout.members(group)][classes]
        np.maximum(weights, np.where(classes != MISSING, of_class, 0), out=weights)
    return np.where(weights > 0, weights, 1 / max(1, len(rows) - labelled))


def batch_sizes(num_samples: int, batch_size: int, world_size: int = 1, fewest: int = 1) -> list[int]:
    """Sizes of an epoch's batches in the order of visits; rank r of `world_size` takes every one after the r-th.

    No sample is dropped, none repeated, and all ranks get as many batches. The sizes differ by at most one, and none is
    larger than `batch_size`, unless there would be batches of less than the `fewest` samples.

    Raises:
        TrainingError: There are too few samples for one batch a rank.
    """
    check_enough(num_samples, world_size, fewest)
    steps = min(-(-num_samples // (batch_size * world_size)), num_samples // (world_size * fewest))
    count = steps * world_size
    return [num_samples // count + (number < num_samples % count) for number in range(count)]


def check_enough(num_samples: int, world_size: int, fewest: int) -> None:
    """Makes sure that each process gets a batch.

    Raises:
        TrainingError: There are too few samples.
    """
    if num_samples < world_size * fewest:
        raise TrainingError(
            f"{num_samples} samples cannot be shared by {world_size} processes"
            + (f" in batches of at least {fewest}" if fewest > 1 else ""),
            remedy="Use fewer processes" if world_size > 1 else "Import more samples",
        )


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
