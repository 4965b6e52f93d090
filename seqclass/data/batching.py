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
        of: `(samples,)`, the bucket of each.
        width: `(buckets,)`, what its samples are padded to, ascending.
        count: `(buckets,)`, how many samples of an epoch are of it.
        capacity: `(buckets,)`, the most samples in a batch.
        world_size: Number of processes that share an epoch.
        fewest: The fewest samples in a batch.
    """

    of: Indices
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
    of = np.zeros(num_samples, dtype=np.int64)
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
    rungs, rung = np.unique(padded_length(length), return_inverse=True)
    counts = _whole(np.bincount(rung, count).astype(np.float64))
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
    renamed = np.searchsorted(kept, target)
    return Buckets(renamed[rung], width, merged[kept], np.maximum(fewest, batch_residues // width), world_size, fewest)


class Batches(NamedTuple):
    """The batches of one process in an epoch, in the order of steps.

    Attributes:
        visits: Numbers of visits, sorted by batch.
        begin: `(batches,)`, where in `visits` each begins.
        end: `(batches,)`, where it ends.
        width: `(batches,)`, what its samples are padded to.
        due: `(batches,)`, the number of the visit with which the last sample of its step, on any rank, is known.
        weight: `(batches,)`, its share of the step's samples over that of an equal one.
    """

    visits: Indices
    begin: Indices
    end: Indices
    width: Indices
    due: Indices
    weight: NDArray[np.float64]


def arrange(buckets: Buckets, bucket: Indices, rank: int) -> Batches:
    """Fills the batches of an epoch in the order of visits; a step comes when its last sample does.

    A step's batches, one a rank, are of one bucket, and differ in size by at most one.

    Args:
        buckets: The buckets.
        bucket: `(visits,)`, the bucket of each visited sample, in the order of visits.
        rank: Of this process.
    """
    visits = np.argsort(bucket.astype(np.uint16), kind="stable") if len(buckets.width) > 1 else np.arange(len(bucket))
    sizes = buckets.sizes
    end = np.cumsum(sizes)
    steps = sizes.reshape(-1, buckets.world_size)
    due = visits[end[buckets.world_size - 1 :: buckets.world_size] - 1]
    order = np.argsort(due, kind="stable")
    mine = order * buckets.world_size + rank
    bounds = np.concatenate([[0], np.cumsum(buckets.count)])
    width = buckets.width[np.searchsorted(bounds, end[mine], side="left") - 1]
    weight = sizes[mine] * buckets.world_size / steps[order].sum(axis=1)
    return Batches(visits, end[mine] - sizes[mine], end[mine], width, due[order], weight)


def _whole(count: NDArray[np.floating[Any]]) -> Indices:
    """Counts rounded so that they keep their sum: the largest remainders are rounded up."""
    down = np.floor(count + 1e-9).astype(np.int64)
    short = round(float(count.sum())) - int(down.sum())
    down[np.argsort(down - count, kind="stable")[:short]] += 1
    whole: Indices = down
    return whole
