"""Batches from a store, at the speed of the memory: whole windows are gathered at once, never one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.data.sampling import RandomStrands, batch_sizes, shuffled
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


class _Group(NamedTuple):
    """Blocks that are in memory together, and their samples' positions in the order of visits."""

    blocks: Indices
    order: Indices


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
        self._held: tuple[_Group, Tape, Packed] | None = None
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
            self._blocks_at_once = max(1, memory // largest)

    def __len__(self) -> int:
        return len(batch_sizes(len(self.samples), self.batch_size, self.world_size)) // self.world_size

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
        strands = RandomStrands(self.seed, epoch) if self.random_strand else None
        groups = self._groups(epoch)
        group = next(groups)
        begin = 0
        for number, size in enumerate(batch_sizes(len(self.samples), self.batch_size, self.world_size)):
            flip = None if strands is None else strands.next(size)
            ours = number % self.world_size == self.rank
            parts = []
            taken = 0
            # A batch may reach from one group of blocks into the next.
            while taken < size:
                if begin == len(group.order):
                    group, begin = next(groups), 0
                here = group.order[begin : begin + size - taken]
                if ours:
                    parts.append(self._gather(group, here, None if flip is None else flip[taken : taken + len(here)]))
                begin += len(here)
                taken += len(here)
            if ours:
                yield parts[0] if len(parts) == 1 else Batch(*map(torch.cat, zip(*parts, strict=True)))

    def _groups(self, epoch: int) -> Iterator[_Group]:
        """The groups of blocks in the order of visits, nothing of them read yet."""
        sizes = [len(block) for block in self._blocks]
        if self.shuffle:
            for blocks, order in shuffled(sizes, self._blocks_at_once, seed=self.seed, epoch=epoch):
                yield _Group(blocks, order)
        else:
            for block, positions in enumerate(self._blocks):
                yield _Group(np.array([block]), positions)

    def _gather(self, group: _Group, positions: Indices, flip: NDArray[np.bool_] | None) -> Batch:
        tape, packed = self._read(group)
        blocks = [self._blocks[block] for block in group.blocks]
        # Rows of the labels are in the order of the blocks, and positions run through within a block.
        first = np.array([block[0] for block in blocks])
        rows = np.cumsum([0, *map(len, blocks[:-1])])
        block = np.searchsorted(first, positions, side="right") - 1
        samples = self.samples[positions]
        row = positions - first[block] + rows[block]
        return Batch(*map(torch.from_numpy, (tape.windows(samples, flip), packed[row], samples)))

    def _read(self, group: _Group) -> tuple[Tape, Packed]:
        """The tokens and labels of a group, kept until another group is read."""
        if self._held is None or (self._held[0] is not group and len(self._blocks) > 1):
            self._held = None
            blocks = [self.samples[self._blocks[block]] for block in group.blocks]
            tape = Tape.cover(self.store, blocks)
            self._held = group, tape, self.store.packed_labels(np.concatenate(blocks))
        return self._held[1:]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": None}
