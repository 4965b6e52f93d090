"""Batches from a store, at the speed of the memory: whole windows are gathered at once, never one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.data.sampling import RandomStrands, batch_sizes, cut, shuffled
from seqclass.data.store import Indices, Packed, Store, Tape, extent
from seqclass.errors import StoreError

_BLOCK_SAMPLES = 8192
# A block is small enough for so many to be mixed.
_MIXED_BLOCKS = 8


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

    Samples whose tokens and labels fit into `memory` are read once and shuffled as a whole. More are read in blocks
    along the tape, drawn at random, as many at once as fit; the samples of those are mixed. What no sample covers takes
    no memory, and what several cover takes it once.

    Args:
        store: Samples of one length.
        samples: Which samples, as from `store.samples("train")`.
        batch_size: The largest batch; batches differ in size by at most one.
        shuffle: Random order, another in each epoch; otherwise the order of `samples`.
        random_strand: Whether each sample is read from a random strand in each epoch.
        seed: Order and strands follow from it, the epoch and the world size alone.
        rank: Of this process.
        world_size: Number of processes that share an epoch.
        memory: Bytes that tokens and labels may take; about 30 bytes a sample come on top.

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
            raise StoreError(
                f"its samples have from {lengths.min():,} to {lengths.max():,} residues, and batches are of one length",
                remedy="Load samples of one length at a time",
                file=store.path,
            )
        label_bytes = (store.num_targets + 7) // 8
        order, sizes = _along_tape(store, samples)
        sizes += label_bytes
        if shuffle:
            samples = samples[order]
        elif sizes.sum() > memory:
            sizes = np.full(len(samples), label_bytes + lengths[0])
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
        if sizes.sum() <= memory:
            self._bounds = np.array([0, len(samples)])
            self._blocks_at_once = 1
        else:
            self._bounds = cut(sizes, max(1, memory // _MIXED_BLOCKS), _BLOCK_SAMPLES)
            largest = int(np.add.reduceat(sizes, self._bounds[:-1]).max()) + int(lengths[0])
            self._blocks_at_once = max(1, memory // largest)

    def __len__(self) -> int:
        return len(batch_sizes(len(self.samples), self.batch_size, self.world_size)) // self.world_size

    @property
    def streams(self) -> bool:
        """Whether the store is read in blocks, rather than held in memory."""
        return self._num_blocks > self._blocks_at_once

    @property
    def _num_blocks(self) -> int:
        return len(self._bounds) - 1

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
        if self.shuffle:
            sizes = np.diff(self._bounds).tolist()
            for blocks, order in shuffled(sizes, self._blocks_at_once, seed=self.seed, epoch=epoch):
                yield _Group(blocks, order)
        else:
            for block in range(self._num_blocks):
                yield _Group(np.array([block]), self._positions(block))

    def _positions(self, block: int) -> Indices:
        return np.arange(*self._bounds[block : block + 2])

    def _gather(self, group: _Group, positions: Indices, flip: NDArray[np.bool_] | None) -> Batch:
        tape, packed = self._read(group)
        # Rows of the labels are in the order of the blocks, and positions run through within a block.
        first, behind = self._bounds[group.blocks], self._bounds[group.blocks + 1]
        rows = np.cumsum(behind - first) - behind
        samples = self.samples[positions]
        row = positions + rows[np.searchsorted(first, positions, side="right") - 1]
        return Batch(*map(torch.from_numpy, (tape.windows(samples, flip), packed[row], samples)))

    def _read(self, group: _Group) -> tuple[Tape, Packed]:
        """The tokens and labels of a group, kept until another group is read."""
        if self._held is None or (self._held[0] is not group and self._num_blocks > 1):
            self._held = None
            samples = self.samples[np.concatenate([self._positions(block) for block in group.blocks])]
            self._held = group, Tape(self.store, samples), self.store.packed_labels(samples)
        return self._held[1:]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": None}


def _along_tape(store: Store, samples: Indices) -> tuple[Indices, Indices]:
    """The order of samples along the tape, and in that order how many residues each covers that none before it does."""
    begin, end = extent(store, samples)
    order = np.argsort(begin, kind="stable")
    begin, reach = begin[order], np.maximum.accumulate(end[order])
    begin[1:] = np.maximum(begin[1:], reach[:-1])
    return order, reach - begin
