"""Batches from a store, at the speed of the memory: whole batches are gathered at once, never one sample at a time."""

from __future__ import annotations

import multiprocessing
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqclass.data.augment import Augmentation
from seqclass.data.batching import Filling, one_bucket, sort_by_length
from seqclass.data.labels import LabelLayout, Packed, unpack_labels
from seqclass.data.sampling import cut, draw_weighted, shuffled
from seqclass.data.store import Indices, Store, Views
from seqclass.data.tape import Tape, extent
from seqclass.errors import StoreError, TrainingError, find_name

_BLOCK_SAMPLES = 8192
# A block is small enough for so many to be mixed.
_MIXED_BLOCKS = 8
# So many bytes are read before the first batch comes; what is read while training goes on may be more at a time.
_FIRST_BYTES = 1 << 27
# Batches of which a part was gathered take no more than this.
_BEGUN_BYTES = 1 << 26
# Samples of so many bytes are read about as fast one by one as all in a row.
_LARGE_SAMPLE_BYTES = 1 << 16
# Large index arrays are worked through in such portions.
_PORTION = 1 << 18

# A tensor of fewer bytes is sent through a pipe several times faster than through shared memory.
_PIPED_BYTES = 1 << 20

MEMORY = 1 << 30


class Batch(NamedTuple):
    """Samples padded to one length.

    Attributes:
        inputs: Tokens `(batch, length)` uint8, or vectors `(batch, length, size)`.
        mask: `(batch, length)`, True at real residues; None where there is no padding.
        packed: Labels, `(batch, layout.row_bytes)` uint8; small to move, unpacked on the device.
        samples: Their indices in the store, `(batch,)` int64.
        weight: What the batch's mean loss is multiplied by, so that each sample counts alike across processes.
    """

    inputs: Tensor
    mask: Tensor | None
    packed: Tensor
    samples: Tensor
    weight: float

    def binary(self, layout: LabelLayout) -> Tensor:
        """Labels of the yes-or-no targets, `(batch, targets)` float zeros and ones, on the batch's device."""
        return self._bits(0, len(layout.binary)).float()

    def present(self, layout: LabelLayout) -> Tensor | None:
        """Which labels of the yes-or-no targets are not missing, `(batch, targets)`; None if none can be."""
        return self._bits(layout.bit_bytes, len(layout.binary)).bool() if layout.missing else None

    def classes(self, layout: LabelLayout) -> Tensor:
        """`(batch, exclusive groups)` int64: the true target's index in its group, -1 where it is missing."""
        if not layout.exclusive:
            return self.packed.new_empty((len(self.packed), 0), dtype=torch.int64)
        # A copy, which begins where four bytes can be read as one number.
        numbers = self.packed[:, layout.class_offset :].clone(memory_format=torch.contiguous_format)
        return numbers.view(torch.int32).long()

    def _bits(self, offset: int, count: int) -> Tensor:
        if self.packed.device.type == "cpu":
            # Several times faster than shifting.
            return torch.from_numpy(unpack_labels(self.packed.numpy()[:, offset : offset + (count + 7) // 8], count))
        order = torch.arange(7, -1, -1, device=self.packed.device, dtype=torch.uint8)
        packed = self.packed[:, offset : offset + (count + 7) // 8]
        return ((packed.unsqueeze(-1) >> order) & 1).flatten(1)[:, :count]


class _Part(NamedTuple):
    """Samples of a batch that are yet to be read: where they are among the loader's, and their views."""

    positions: Indices
    views: Views


class _Held(NamedTuple):
    """A group of blocks in memory: their residues, and the labels of their samples, block by block."""

    blocks: Indices
    tape: Tape
    packed: Packed


class StoreLoader:
    """Iterates over samples of a store in batches; each iteration is the next epoch.

    Samples that fit into `memory` are read once and shuffled as a whole. More are read in blocks along the tape, drawn
    at random, as many at once as fit; the samples of those are mixed. What no sample covers takes no memory, and what
    several cover takes it once. Where samples are so large, as embeddings of proteins are, that reading one at a time
    costs nothing, they are shuffled as a whole, and read batch by batch.

    Samples of different lengths share a batch with such of about their length (`seqclass.data.batching`).

    Args:
        store: Tokens or vectors.
        samples: Which samples, as from `store.samples("train")`.
        batch_size: The largest batch of samples of one length; batches differ in size by at most one. Where lengths
            differ, the batch holds as many residues as so many samples of mean length.
        batch_residues: Where lengths differ, the most residues in a batch, padding included, in place of what follows
            from `batch_size`; only the fewest samples that a batch can have may be more.
        fewest: The fewest samples in a batch; batch normalisation needs two.
        shuffle: Random order, another in each epoch; otherwise the order of `samples`, by bucket of length.
        weights: `(samples,)`: draw samples with replacement, with chances proportional to these, as many as there are.
        augmentation: What is varied from epoch to epoch; replaced residues are left to the caller.
        seed: Order and variation follow from it, the epoch and the world size alone.
        rank: Of this process.
        world_size: Number of processes that share an epoch.
        memory: Bytes that residues and labels may take, in each process; the batches, at most 64 MiB of those that are
            begun among them, and about 40 bytes a sample come on top.
        num_workers: Further processes that gather batches while this one trains; 0 for none.
        start_method: How those are started: "fork", "spawn" or "forkserver" (default: the system's).

    Raises:
        StoreError: There are no samples.
        TrainingError: Too few samples for a batch a rank, an empty batch, or samples that cannot be varied so.
        UnknownNameError: There is no such start method.
    """

    def __init__(
        self,
        store: Store,
        samples: Indices,
        batch_size: int,
        *,
        batch_residues: int | None = None,
        fewest: int = 1,
        shuffle: bool = False,
        weights: NDArray[np.floating[Any]] | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        memory: int = MEMORY,
        num_workers: int = 0,
        start_method: str | None = None,
    ) -> None:
        if len(samples) == 0:
            raise StoreError("no samples to load", remedy="See 'seqclass data info' for the splits", file=store.path)
        self.augmentation = augmentation or Augmentation()
        self.augmentation.check(store)
        if weights is not None and not shuffle:
            raise TrainingError("weights are for drawing samples at random", remedy="Pass shuffle=True with them")
        if batch_size < 1 or (batch_residues is not None and batch_residues < 1):
            raise TrainingError(
                f"a batch of {batch_size} samples" if batch_size < 1 else f"a batch of {batch_residues} residues",
                remedy="Let it hold at least 1",
            )
        if start_method is not None:
            start_method = find_name("start method", start_method, multiprocessing.get_all_start_methods())
        label_bytes = store.layout.row_bytes
        order, sizes = self._along_tape(store, samples)
        sizes *= store.residue_bytes
        sizes += label_bytes
        if shuffle and order is not None:
            samples = samples[order]
            weights = None if weights is None else weights[order]
        length = store.views.length[samples]
        longest = int(length.max()) * store.residue_bytes
        if not shuffle and sizes.sum() > memory:
            sizes = length * np.int64(store.residue_bytes) + label_bytes
        self.store = store
        self.samples = samples
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers
        self.start_method = start_method
        self._weights = weights
        self._bytes = int(sizes.sum())
        self._memory = memory
        self._next = self._at = 0, 0
        self._held: _Held | None = None
        self._holds_blocks = self._bytes <= memory or self._bytes < _LARGE_SAMPLE_BYTES * len(samples)
        if self._bytes <= memory or not self._holds_blocks:
            self._bounds = np.array([0, len(samples)])
            self._blocks_at_once = self._blocks_at_first = 1
        else:
            self._bounds = cut(sizes, max(1, memory // _MIXED_BLOCKS), _BLOCK_SAMPLES)
            largest = int(np.add.reduceat(sizes, self._bounds[:-1]).max()) + longest
            self._blocks_at_once = max(1, memory // largest)
            self._blocks_at_first = max(1, min(memory, _FIRST_BYTES) // largest)
        del sizes
        lengths = self.augmentation.lengths(length)
        if (lengths == lengths[0]).all():
            self._buckets = one_bucket(len(samples), int(lengths[0]), batch_size, world_size, fewest)
        else:
            budget = batch_residues or max(1, round(batch_size * float(lengths.mean())))
            expected = None if weights is None else weights / weights.sum() * len(samples)
            self._buckets = sort_by_length(lengths, budget, world_size, fewest, expected)
        self._num_batches = len(self._buckets.sizes) // world_size
        # Of each bucket a batch may wait for samples of other blocks. Where that is much, they are read when it goes.
        begun = int((self._buckets.capacity * self._buckets.width).sum()) * store.residue_bytes
        self._keeps_parts = begun <= _BEGUN_BYTES

    def __len__(self) -> int:
        return self._num_batches

    @property
    def streams(self) -> bool:
        """Whether the store is read while training, rather than held in memory."""
        return self._bytes > self._memory

    def __str__(self) -> str:
        """What the loader decided, for people."""
        if self.streams:
            how = (
                f"in {self._num_blocks:,} blocks, {self._blocks_at_once:,} of them mixed at a time"
                if self._holds_blocks
                else "batch by batch"
            )
            held = f"read {how}, as they take {self._bytes / 1e6:,.0f} MB and {self._memory / 1e6:,.0f} MB may be used"
        else:
            held = f"held in memory ({self._bytes / 1e6:,.1f} MB)"
        width = self._buckets.width
        lengths = f"padded to {width[0]:,} to {width[-1]:,} residues" if len(width) > 1 else f"of {width[0]:,} residues"
        return f"{len(self.samples):,} samples {held}; {len(self):,} batches, {lengths}"

    @property
    def _num_blocks(self) -> int:
        return len(self._bounds) - 1

    def set_epoch(self, epoch: int) -> None:
        """Makes the next iteration that of `epoch`, from 0, from its beginning."""
        self._next = self._at = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Where the iteration is: the epoch, and how many of its batches were handed out.

        Batches that workers hold ready are not counted, so that going on from here leaves none out.
        """
        epoch, batches = self._at
        return {"epoch": epoch, "batches": batches, **self._order_follows_from()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next iteration go on where `state_dict` was taken.

        Raises:
            TrainingError: In the middle of an epoch, other samples, another seed, batch size, number of processes, or
                memory where it decides what is mixed: the order of the rest would be another.
        """
        epoch, batches = state["epoch"], state["batches"]
        if batches == state["num_batches"]:
            epoch, batches = epoch + 1, 0
        if batches:
            for name, now in self._order_follows_from().items():
                if state[name] != now:
                    what = name.replace("num_", "").replace("_", " ")
                    if name == "checksum":
                        found, remedy = "other samples or weights", "Go on with those"
                    else:
                        found = (
                            f"{what} {state[name]:,}, and the order of the rest would be another with {what} {now:,}"
                        )
                        remedy = f"Go on with {what} {state[name]:,}"
                    raise TrainingError(
                        f"the epoch was begun with {found}", remedy=f"{remedy}, or from the end of an epoch"
                    )
        self._next = self._at = epoch, batches

    def _order_follows_from(self) -> dict[str, int]:
        return {
            "world_size": self.world_size,
            "seed": self.seed,
            "num_samples": len(self.samples),
            "num_batches": len(self),
            "memory": min(self._memory, self._bytes),
            "checksum": self._checksum,
        }

    @cached_property
    def _checksum(self) -> int:
        checksum = zlib.crc32(np.ascontiguousarray(self.samples).data, int(self.shuffle))
        return checksum if self._weights is None else zlib.crc32(np.ascontiguousarray(self._weights).data, checksum)

    def __iter__(self) -> Iterator[Batch]:
        epoch, begin = self._next
        self._next, self._at = (epoch + 1, 0), (epoch, begin)
        batches = self._with_workers(epoch, begin) if self.num_workers else self._batches(epoch, begin)
        for done, batch in enumerate(batches, start=begin + 1):
            self._at = epoch, done
            yield batch

    def _with_workers(self, epoch: int, begin: int) -> Iterator[Batch]:
        if not self.streams and (self.start_method or multiprocessing.get_start_method()) == "fork":
            # Forked workers share it. Read by each of them, it would be read, and held, many times.
            self._read(np.array([0]))
        loader: DataLoader[_Parcel] = DataLoader(
            _Worker(self, epoch, begin),
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            multiprocessing_context=self.start_method,
            # Starting workers draws a number; drawn from the global generator, it would change the dropout after it.
            generator=torch.Generator(),
        )
        for parcel in loader:
            inputs, mask, packed, samples = (
                torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in parcel.parts
            )
            yield Batch(inputs, mask, packed, samples, parcel.weight)

    def _batches(self, epoch: int, begin: int, worker: int = 0, num_workers: int = 1) -> Iterator[Batch]:
        """This rank's batches of an epoch from number `begin` on, of which a worker gathers every `num_workers`-th."""
        filling = Filling(self._buckets, self.rank)
        begun: dict[int, list[_Part | Batch]] = {}
        number = 0
        for portion, (blocks, positions) in enumerate(self._visits(epoch)):
            seating = filling.add(self._buckets.of[positions])
            draws = self.augmentation.draw(len(positions), self.seed, epoch, portion)
            bounds = zip(seating.batch.tolist(), seating.low.tolist(), seating.high.tolist(), strict=True)
            # Nothing is gathered for batches that were handed out before, or that go to another worker.
            held = None
            for row, (batch, low, high) in enumerate(bounds):
                parts = begun.pop(batch, [])
                is_complete = row < seating.num_complete
                if is_complete:
                    number += 1
                    if number <= begin or (number - 1 - begin) % num_workers != worker:
                        continue
                    held = self._read(blocks) if self._holds_blocks else None
                if low < high:
                    chosen = seating.visits[low:high]
                    here = positions[chosen]
                    part = _Part(here, draws.apply(self.store.views[self.samples[here]], chosen))
                    now = held and (is_complete or self._keeps_parts)
                    parts.append(self._gather(part, held, filling, batch) if now else part)
                if is_complete:
                    yield _joined([self._gather(part, None, filling, batch) for part in parts])
                elif parts:
                    begun[batch] = parts

    def _visits(self, epoch: int) -> Iterator[tuple[Indices, Indices]]:
        """Groups of blocks, and the positions of their samples in the order of visits; nothing is read yet."""
        if not self.shuffle:
            return ((np.array([block]), self._positions(block)) for block in range(self._num_blocks))
        times = None
        if self._weights is not None:
            times = draw_weighted(self._weights, self._buckets.of, self._buckets.count, self.seed, epoch)
        return shuffled(
            np.diff(self._bounds).tolist(),
            self._blocks_at_once,
            seed=self.seed,
            epoch=epoch,
            times=times,
            blocks_at_first=self._blocks_at_first,
        )

    def _positions(self, block: int) -> Indices:
        return np.arange(*self._bounds[block : block + 2])

    def _gather(self, part: _Part | Batch, held: _Held | None, filling: Filling, batch: int) -> Batch:
        """Reads a part of a batch that is not read yet, from the group that it lies in, or else from the store."""
        if isinstance(part, Batch):
            return part
        samples = self.samples[part.positions]
        if held is None:
            tape, packed = Tape(self.store, part.views), self.store.packed_labels(samples)
        else:
            # Labels are in the order of the blocks, and positions run through within a block.
            first, behind = self._bounds[held.blocks], self._bounds[held.blocks + 1]
            shift = np.cumsum(behind - first) - behind
            rows = part.positions + shift[np.searchsorted(first, part.positions, side="right") - 1]
            tape, packed = held.tape, held.packed[rows]
        inputs, mask = tape.read(part.views, int(filling.width[batch]))
        return Batch(
            torch.from_numpy(inputs),
            None if mask is None else torch.from_numpy(mask),
            torch.from_numpy(packed),
            torch.from_numpy(samples),
            float(filling.weight[batch]),
        )

    def _read(self, blocks: Indices) -> _Held:
        """The residues and labels of a group of blocks, kept until another group is read."""
        if self._held is None or not np.array_equal(self._held.blocks, blocks):
            self._held = None
            samples = self.samples[np.concatenate([self._positions(block) for block in blocks])]
            reach = self.augmentation.reach(self.store.views[samples])
            packed = np.empty((len(samples), self.store.layout.row_bytes), dtype=np.uint8)
            for begin in range(0, len(samples), _PORTION):
                packed[begin : begin + _PORTION] = self.store.packed_labels(samples[begin : begin + _PORTION])
            self._held = _Held(blocks, Tape(self.store, reach), packed)
        return self._held

    def _along_tape(self, store: Store, samples: Indices) -> tuple[Indices | None, Indices]:
        """The order of samples along the tape, and how many residues each covers that none before it does.

        The order is None where it is theirs, as of most stores: there can be many samples.
        """
        begin, end = np.empty(len(samples), dtype=np.int64), np.empty(len(samples), dtype=np.int64)
        for low in range(0, len(samples), _PORTION):
            here = slice(low, low + _PORTION)
            begin[here], end[here] = extent(store, self.augmentation.reach(store.views[samples[here]]))
        order = None
        if (begin[1:] < begin[:-1]).any():
            order = np.argsort(begin, kind="stable")
            begin, end = begin[order], end[order]
        reach = np.maximum.accumulate(end, out=end)
        np.maximum(begin[1:], reach[:-1], out=begin[1:])
        reach -= begin
        return order, reach

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": None}


class _Parcel(NamedTuple):
    """A batch on its way from a worker: small parts as arrays, large ones as tensors."""

    parts: list[Any]
    weight: float


class _Worker(IterableDataset[_Parcel]):
    """The batches that one of several worker processes gathers."""

    def __init__(self, loader: StoreLoader, epoch: int, begin: int) -> None:
        self._loader, self._epoch, self._begin = loader, epoch, begin

    def __iter__(self) -> Iterator[_Parcel]:
        info = get_worker_info()
        assert info is not None, "only workers iterate over this"
        for batch in self._loader._batches(self._epoch, self._begin, info.id, info.num_workers):
            parts = batch.inputs, batch.mask, batch.packed, batch.samples
            yield _Parcel(
                [part if part is None or part.nbytes >= _PIPED_BYTES else part.numpy() for part in parts],
                batch.weight,
            )


def _as_it_is(batch: Any) -> Any:
    return batch


def _joined(parts: list[Batch]) -> Batch:
    """A batch of parts that came from different groups of blocks."""
    if len(parts) == 1:
        return parts[0]
    masks = [torch.ones(p.inputs.shape[:2], dtype=torch.bool) if p.mask is None else p.mask for p in parts]
    mask = None if all(part.mask is None for part in parts) else torch.cat(masks)
    return Batch(
        torch.cat([part.inputs for part in parts]),
        mask,
        torch.cat([part.packed for part in parts]),
        torch.cat([part.samples for part in parts]),
        parts[0].weight,
    )
