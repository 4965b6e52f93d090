"""Which samples share a batch: those of about a length, as many as a budget of residues allows.

Padding a protein of 150 residues to 512 wastes 70 % of all work. So samples go into buckets by length, and a batch
takes from one bucket. What is padded to is a length of few possible ones, so that compiled models meet few shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.data.sampling import batch_sizes, check_enough
from seqclass.data.store import Indices

# A bucket with less than half a batch joins the next one, unless that is wider by more than this.
_WIDEST_STEP = 1.25


def padded_length(length: NDArray[np.integer[Any]]) -> Indices:
    """The lengths that samples are padded to: their own, rounded up to four significant bits.

    There are eight such lengths in an octave (16, 18, 20 ... 30, 32, 36 ... 60, 64, 72 ...), so that padding is less
    than an eighth, and 4 to 5 % on average.
    """
    length = length.astype(np.int64)
    # frexp gives the exponent of the next power of two above: exact for all integers that a float holds.
    step = np.int64(1) << np.maximum(np.frexp(np.maximum(length - 1, 0))[1] - 4, 0).astype(np.int64)
    padded: Indices = -(-length // step) * step
    return padded


@dataclass(frozen=True)
class Buckets:
    """Samples sorted by length, and the batches that each bucket falls into.

    Attributes:
        of: `(samples,)`, the bucket of each; of a type that takes few bytes.
        width: `(buckets,)`, what its samples are padded to, ascending.
        count: `(buckets,)`, how many samples of an epoch are of it.
        capacity: `(buckets,)`, the most samples in a batch.
        world_size: Number of processes that share an epoch.
        fewest: The fewest samples in a batch.
    """

    of: NDArray[np.uint16]
    width: Indices
    count: Indices
    capacity: Indices
    world_size: int
    fewest: int

    @property
    def sizes(self) -> Indices:
        """The sizes of all batches, bucket by bucket; each bucket's number of batches is a multiple of world size."""
        parts = [
            batch_sizes(count, capacity, self.world_size, self.fewest)
            for count, capacity in zip(self.count.tolist(), self.capacity.tolist(), strict=True)
        ]
        return np.concatenate([np.array(part, dtype=np.int64) for part in parts])


def one_bucket(num_samples: int, width: int, batch_size: int, world_size: int, fewest: int = 1) -> Buckets:
    """All samples in a bucket, as they are of one length.

    Raises:
        TrainingError: There are too few samples for one batch a rank.
    """
    check_enough(num_samples, world_size, fewest)
    of = np.zeros(num_samples, dtype=np.uint16)
    return Buckets(of, np.array([width]), np.array([num_samples]), np.array([batch_size]), world_size, fewest)


def sort_by_length(
    length: NDArray[np.integer[Any]],
    batch_residues: int,
    world_size: int,
    fewest: int = 1,
    count: NDArray[np.floating[Any]] | None = None,
) -> Buckets:
    """Buckets of samples of different lengths.

    Args:
        length: `(samples,)`, in residues.
        batch_residues: The most residues in a batch, padding included, unless `fewest` samples have more.
        world_size: Number of processes that share an epoch.
        fewest: The fewest samples in a batch.
        count: `(samples,)`, how often each is expected in an epoch where that is not once; adds up to whole samples.

    Raises:
        TrainingError: There are too few samples for one batch a rank.
    """
    # What follows for each length is looked up: there are many samples, and few lengths.
    each = np.bincount(length, count)
    lengths = np.flatnonzero(np.bincount(length))
    rungs, rung = np.unique(padded_length(lengths), return_inverse=True)
    counts = _whole(np.bincount(rung, each[lengths]).astype(np.float64))
    check_enough(int(counts.sum()), world_size, fewest)
    least = world_size * fewest
    # Each rung's bucket is known by the widest rung that joined it.
    target = np.arange(len(rungs))
    merged = counts.copy()
    for here in range(len(rungs) - 1):
        capacity = max(fewest, batch_residues // int(rungs[here]))
        close = rungs[here + 1] <= rungs[here] * _WIDEST_STEP
        if merged[here] < least or (close and 2 * merged[here] < capacity * world_size):
            merged[here + 1] += merged[here]
            merged[here] = 0
            target[target == here] = here + 1
    if merged[-1] < least and merged.sum() > merged[-1]:
        before = int(np.flatnonzero(merged[:-1])[-1])
        merged[-1] += merged[before]
        merged[before] = 0
        target[target == before] = len(rungs) - 1
    kept = np.flatnonzero(merged)
    width = rungs[kept]
    of_length = np.zeros(int(lengths[-1]) + 1, dtype=np.uint16)
    of_length[lengths] = np.searchsorted(kept, target)[rung]
    most = np.maximum(fewest, batch_residues // width)
    return Buckets(of_length[length], width, merged[kept], most, world_size, fewest)


class Seating(NamedTuple):
    """Which visits of a portion fall to which batches of one process.

    Attributes:
        visits: Numbers of visits within the portion, sorted by batch.
        batch: The batches that are complete with this portion, in the order of steps, and then those that are begun.
        low: Where in `visits` the portion's part of each begins.
        high: Where it ends.
        num_complete: How many of them are complete.
    """

    visits: Indices
    batch: Indices
    low: Indices
    high: Indices
    num_complete: int


class Filling:
    """Fills the batches of an epoch, as visits come, a portion at a time.

    A step comes when its last sample does. Its batches, one a rank, are of one bucket, and differ in size by at most
    one.

    Args:
        buckets: The buckets.
        rank: Of this process.

    Attributes:
        width: `(batches,)` of all ranks, what the samples of each are padded to.
        weight: `(batches,)`, the share of each in its step's samples over that of an equal one.
    """

    def __init__(self, buckets: Buckets, rank: int) -> None:
        self._rank = rank
        self._world_size = buckets.world_size
        sizes = buckets.sizes
        self._end = np.cumsum(sizes)
        self._begin = self._end - sizes
        self._behind_step = self._end[self._world_size - 1 :: self._world_size]
        behind = np.cumsum(buckets.count)
        self._taken = behind - buckets.count
        self.width = buckets.width[np.searchsorted(behind, self._end, side="left")]
        steps = sizes.reshape(-1, self._world_size)
        self.weight: NDArray[np.float64] = (steps * self._world_size / steps.sum(axis=1, keepdims=True)).reshape(-1)

    def add(self, bucket: NDArray[np.integer[Any]]) -> Seating:
        """Seats the next visits, `(visits,)`, of which the buckets are given in the order of visits."""
        several = len(self._taken) > 1
        visits = np.argsort(bucket, kind="stable") if several else np.arange(len(bucket))
        count = np.bincount(bucket, minlength=len(self._taken))
        # Within a bucket, seats are numbered through as visits are, and begin so far behind them.
        shift = self._taken - (np.cumsum(count) - count)
        first, behind = self._taken, self._taken + count
        self._taken = behind
        parts = [np.empty((4, 0), dtype=np.int64)]
        for number in np.flatnonzero(count):
            touched = np.arange(
                np.searchsorted(self._behind_step, first[number], side="right"),
                np.searchsorted(self._behind_step, behind[number], side="left") + 1,
            )
            batch = touched * self._world_size + self._rank
            taken = (np.clip(place[batch], first[number], behind[number]) for place in (self._begin, self._end))
            low, high = (place - shift[number] for place in taken)
            complete = self._behind_step[touched] <= behind[number]
            due = visits[np.where(complete, self._behind_step[touched] - 1 - shift[number], 0)]
            parts.append(np.stack([batch, low, high, np.where(complete, due, len(bucket))]))
        batch, low, high, due = np.concatenate(parts, axis=1)
        order = np.argsort(due, kind="stable")
        num_complete = int((due < len(bucket)).sum())
        return Seating(visits, batch[order], low[order], high[order], num_complete)


def _whole(count: NDArray[np.floating[Any]]) -> Indices:
    """Counts rounded so that they keep their sum: the largest remainders are rounded up."""
    down = np.floor(count + 1e-9).astype(np.int64)
    short = round(float(count.sum())) - int(down.sum())
    down[np.argsort(down - count, kind="stable")[:short]] += 1
    whole: Indices = down
    return whole
