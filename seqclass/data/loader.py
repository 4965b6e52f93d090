"""Batches from a store, at the speed of the memory: whole windows are gathered at once, never one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqclass.data.sampling import random_strands, shuffled, split_into_batches
from seqclass.data.store import Indices, Packed, Store, Tape, extent
from seqclass.errors import StoreError

_BLOCK_SAMPLES = 8192
_LARGEST_GAP = 1 << 20


class Batch(NamedTuple):
    """Samples of one length.

    Attributes:
        tokens: `(batch, length)` uint8.
        packed: Labels, eight a byte, `(batch, ceil(targets / 8))` uint8; small to move, unpacked on the device.
        samples: Their indices in the store, `(batch,)` int64.
    """

    tokens: Tensor
    packed: Tensor
    samples: Tensor

    def labels(self, num_targets: int) -> Tensor:
        """Labels as `(batch, num_targets)` float zeros and ones, on the batch's device."""
        bits = torch.arange(7, -1, -1, device=self.packed.device, dtype=torch.uint8)
        return ((self.packed.unsqueeze(-1) >> bits) & 1).flatten(1)[:, :num_targets].float()


class StoreLoader:
    """Iterates over samples of a store in batches; each iteration is the next epoch.

    A store that fits into `memory` is read once and shuffled as a whole. A larger one is read in blocks along the tape,
    drawn at random, as many at once as fit; the samples of those are mixed.

    Args:
        store: Samples of one length.
        samples: Which samples, as from `store.samples("train")`.
        batch_size: The largest batch; batches differ in size by at most one.
        shuffle: Random order, another in each epoch; otherwise the order of `samples`.
        random_strand: Whether each sample is read from a random strand in each epoch.
        seed: Order and strands follow from it, the epoch and the world size alone.
        rank: Of this process.
        world_size: Number of processes that share an epoch.
        memory: Bytes that tokens and labels may take.

    Raises:
        StoreError: The samples differ in length, or there are none.
    """

    def __init__(
        self,
        store: Store,
        samples: Indices,
        batch_size: int,
        *,
        shuffle: bool = False,
        random_strand: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        memory: int = 2 << 30,
    ) -> None:
        if len(samples) == 0:
            raise StoreError("no samples to load", remedy="See 'seqclass data info' for the splits", file=store.path)
        lengths = store.views.length[samples]
        if (lengths != lengths[0]).any():
            raise StoreError("its samples differ in length, and batches are of one length", file=store.path)
        begin, end = extent(store, samples)
        if shuffle:
            order = np.argsort(begin, kind="stable")
            samples, begin, end = samples[order], begin[order], end[order]
        self.store = store
        self.samples = samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.random_strand = random_strand
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._epoch = 0
        self._resident: tuple[Tape, Packed] | None = None
        label_bytes = (store.num_targets + 7) // 8
        if int(end.max() - begin.min()) + len(samples) * label_bytes <= memory:
            self._blocks = [np.arange(len(samples))]
            self._blocks_at_once = 1
        else:
            gaps = np.flatnonzero(np.abs(np.diff(begin)) > _LARGEST_GAP) + 1
            self._blocks = [
                piece
                for run in np.split(np.arange(len(samples)), gaps)
                for piece in np.array_split(run, -(-len(run) // _BLOCK_SAMPLES))
            ]
            largest = max(
                int(end[block].max() - begin[block].min()) + len(block) * label_bytes for block in self._blocks
            )
            # While a group is read, the one before is still held.
            self._blocks_at_once = max(1, memory // (2 * largest))

    def __len__(self) -> int:
        return -(-len(self.samples) // (self.batch_size * self.world_size))

    @property
    def streams(self) -> bool:
        """Whether the store is read in blocks, rather than held in memory."""
        return len(self._blocks) > self._blocks_at_once

    def set_epoch(self, epoch: int) -> None:
        """Makes the next iteration that of `epoch`, from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        self._epoch += 1
        sizes = [len(block) for block in self._blocks]
        if self.shuffle:
            groups, order = shuffled(sizes, self._blocks_at_once, seed=self.seed, epoch=epoch)
        else:
            groups, order = [np.array([block]) for block in range(len(sizes))], np.arange(len(self.samples))
        flip = random_strands(len(self.samples), seed=self.seed, epoch=epoch) if self.random_strand else None
        # Where each group of blocks ends in the order of visits; a batch may reach from one group into the next.
        ends = np.cumsum([sum(sizes[block] for block in group) for group in groups])
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        row = np.empty(len(order), dtype=np.int64)
        current = -1
        for batch in split_into_batches(order, self.batch_size, rank=self.rank, world_size=self.world_size):
            parts: list[tuple[np.ndarray, np.ndarray]] = []
            group_of = np.searchsorted(ends, place[batch], side="right")
            for group in np.unique(group_of):
                if group != current:
                    tape, packed = self._load(groups[group])
                    positions = np.concatenate([self._blocks[block] for block in groups[group]])
                    row[positions] = np.arange(len(positions))
                    current = group
                part = batch[group_of == group]
                parts.append(
                    (tape.windows(self.samples[part], None if flip is None else flip[part]), packed[row[part]])
                )
            tokens, labels = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
            yield Batch(*map(torch.from_numpy, (tokens, labels, self.samples[batch])))

    def _load(self, group: Indices) -> tuple[Tape, Packed]:
        if self._resident is not None:
            return self._resident
        blocks = [self.samples[self._blocks[block]] for block in group]
        loaded = Tape.cover(self.store, blocks), self.store.packed_labels(np.concatenate(blocks))
        if len(self._blocks) == 1:
            self._resident = loaded
        return loaded

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_resident": None}
