"""Batches from a store, at the speed of the memory: whole batches are gathered at once, never one sample at a time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqclass.data.augment import Augmentation, Draws
from seqclass.data.batching import Batches, arrange, one_bucket, sort_by_length
from seqclass.data.labels import LabelLayout, Packed
from seqclass.data.sampling import cut, draw_weighted, shuffled
from seqclass.data.store import Indices, Store
from seqclass.data.tape import Tape, extent
from seqclass.errors import StoreError, TrainingError, find_name

_BLOCK_SAMPLES = 8192
# A block is small enough for so many to be mixed.
_MIXED_BLOCKS = 8

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
        order = torch.arange(7, -1, -1, device=self.packed.device, dtype=torch.uint8)
        packed = self.packed[:, offset : offset + (count + 7) // 8]
        return ((packed.unsqueeze(-1) >> order) & 1).flatten(1)[:, :count]


class _Visits(NamedTuple):
    """Which samples an epoch visits in which order, block group by block group."""

    positions: Indices
    groups: list[Indices]
    bounds: Indices
    draws: Draws


class StoreLoader:
    """Iterates over samples of a store in batches; each iteration is the next epoch.

    Samples that fit into `memory` are read once and shuffled as a whole. More are read in blocks along the tape, drawn
    at random, as many at once as fit; the samples of those are mixed. What no sample covers takes no memory, and what
    several cover takes it once.

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
        memory: Bytes that residues and labels may take, in each process; about 30 bytes a sample come on top.
        num_workers: Further processes that gather batches while this one trains; 0 for none.
        start_method: How those are started: "fork", "spawn" or "forkserver" (default: the system's).

    Raises:
        StoreError: There are no samples.
        TrainingError: Too few samples for a batch a rank, or samples that cannot be varied so.
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
        if start_method is not None:
            find_name("start method", start_method, multiprocessing.get_all_start_methods())
        label_bytes = store.layout.row_bytes
        order, sizes = self._along_tape(store, samples)
        sizes = sizes * store.residue_bytes + label_bytes
        longest = int(store.views.length[samples].max()) * store.residue_bytes
        if shuffle:
            samples = samples[order]
            weights = None if weights is None else weights[order]
        elif sizes.sum() > memory:
            sizes = store.views.length[samples] * np.int64(store.residue_bytes) + label_bytes
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
        self._held: tuple[bytes, Tape, Packed] | None = None
        if self._bytes <= memory:
            self._bounds = np.array([0, len(samples)])
            self._blocks_at_once = 1
        else:
            self._bounds = cut(sizes, max(1, memory // _MIXED_BLOCKS), _BLOCK_SAMPLES)
            largest = int(np.add.reduceat(sizes, self._bounds[:-1]).max()) + longest
            self._blocks_at_once = max(1, memory // largest)
        lengths = self.augmentation.lengths(store.views[samples])
        if (lengths == lengths[0]).all():
            self._buckets = one_bucket(len(samples), int(lengths[0]), batch_size, world_size, fewest)
        else:
            budget = batch_residues or max(1, round(batch_size * float(lengths.mean())))
            expected = None if weights is None else weights / weights.sum() * len(samples)
            self._buckets = sort_by_length(lengths, budget, world_size, fewest, expected)
        self._num_batches = len(self._buckets.sizes) // world_size

    def __len__(self) -> int:
        return self._num_batches

    @property
    def streams(self) -> bool:
        """Whether the store is read in blocks, rather than held in memory."""
        return self._num_blocks > self._blocks_at_once

    def __str__(self) -> str:
        """What the loader decided, for people."""
        held = (
            f"read in {self._num_blocks:,} blocks, {self._blocks_at_once:,} of them mixed at a time, as they take "
            f"{self._bytes / 1e6:,.0f} MB and {self._memory / 1e6:,.0f} MB may be used"
            if self.streams
            else f"held in memory ({self._bytes / 1e6:,.1f} MB)"
        )
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
            TrainingError: In the middle of an epoch, other samples, another seed, batch size or number of processes:
                the order of the rest would be another.
        """
        if 0 < state["batches"] < state["num_batches"]:
            for name, now in self._order_follows_from().items():
                if state[name] != now:
                    what = name.replace("num_", "").replace("_", " ")
                    raise TrainingError(
                        f"the epoch was begun with {what} {state[name]:,}, and the order of its samples "
                        f"would be another with {what} {now:,}",
                        remedy=f"Go on with {what} {state[name]:,}, or from the end of an epoch",
                    )
        self._next = self._at = state["epoch"], state["batches"]

    def _order_follows_from(self) -> dict[str, int]:
        return {
            "world_size": self.world_size,
            "seed": self.seed,
            "num_samples": len(self.samples),
            "num_batches": len(self),
        }

    def __iter__(self) -> Iterator[Batch]:
        epoch, begin = self._next
        if begin >= len(self):
            epoch, begin = epoch + 1, 0
        self._next, self._at = (epoch + 1, 0), (epoch, begin)
        batches = self._with_workers(epoch, begin) if self.num_workers else self._batches(epoch, begin)
        for done, batch in enumerate(batches, start=begin + 1):
            self._at = epoch, done
            yield batch

    def _with_workers(self, epoch: int, begin: int) -> Iterator[Batch]:
        loader: DataLoader[Batch] = DataLoader(
            _Worker(self, epoch, begin),
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            multiprocessing_context=self.start_method,
        )
        yield from loader

    def _batches(self, epoch: int, begin: int, worker: int = 0, num_workers: int = 1) -> Iterator[Batch]:
        """This rank's batches of an epoch from number `begin` on, of which a worker gathers every `num_workers`-th."""
        visits = self._visits(epoch)
        plan = arrange(self._buckets, self._buckets.of[visits.positions], self.rank)
        ours = range(begin + worker, len(plan.begin), num_workers)
        parts: dict[int, list[Batch]] = {number: [] for number in ours}
        first, last = plan.visits[plan.begin], plan.visits[plan.end - 1]
        waiting = np.array(ours, dtype=np.int64)
        for group, (low, high) in enumerate(zip(visits.bounds[:-1], visits.bounds[1:], strict=True)):
            here = (first[waiting] < high) & (last[waiting] >= low)
            is_due = plan.due[waiting] < high
            # A batch may have been complete before, and have waited for that of another rank.
            for number, gathers, goes in zip(waiting.tolist(), here.tolist(), is_due.tolist(), strict=True):
                if gathers:
                    parts[number].append(self._gather(visits, group, plan, number))
                if goes:
                    yield _joined(parts.pop(number))
            waiting = waiting[~is_due]

    def _visits(self, epoch: int) -> _Visits:
        """The samples' positions in the order of visits; nothing is read yet."""
        if self.shuffle:
            times = None
            if self._weights is not None:
                times = draw_weighted(self._weights, self._buckets.of, self._buckets.count, self.seed, epoch)
            sizes = np.diff(self._bounds).tolist()
            drawn = list(shuffled(sizes, self._blocks_at_once, seed=self.seed, epoch=epoch, times=times))
        else:
            drawn = [(np.array([block]), self._positions(block)) for block in range(self._num_blocks)]
        groups, orders = [blocks for blocks, _ in drawn], [order for _, order in drawn]
        bounds = np.concatenate([[0], np.cumsum([len(order) for order in orders])])
        positions = orders[0] if len(orders) == 1 else np.concatenate(orders)
        return _Visits(positions, groups, bounds, self.augmentation.draw(len(positions), self.seed, epoch))

    def _positions(self, block: int) -> Indices:
        return np.arange(*self._bounds[block : block + 2])

    def _gather(self, visits: _Visits, group: int, plan: Batches, number: int) -> Batch:
        """What of a batch lies in a group of blocks."""
        chosen = plan.visits[plan.begin[number] : plan.end[number]]
        low, high = np.searchsorted(chosen, visits.bounds[group : group + 2])
        chosen = chosen[low:high]
        blocks = visits.groups[group]
        tape, packed = self._read(blocks)
        positions = visits.positions[chosen]
        # Rows of the labels are in the order of the blocks, and positions run through within a block.
        first, behind = self._bounds[blocks], self._bounds[blocks + 1]
        rows = np.cumsum(behind - first) - behind
        row = positions + rows[np.searchsorted(first, positions, side="right") - 1]
        samples = self.samples[positions]
        views = visits.draws.apply(self.store.views[samples], chosen)
        inputs, mask = tape.read(views, int(plan.width[number]))
        return Batch(
            torch.from_numpy(inputs),
            None if mask is None else torch.from_numpy(mask),
            torch.from_numpy(packed[row]),
            torch.from_numpy(samples),
            float(plan.weight[number]),
        )

    def _read(self, blocks: Indices) -> tuple[Tape, Packed]:
        """The residues and labels of a group of blocks, kept until another group is read."""
        name = blocks.tobytes()
        if self._held is None or self._held[0] != name:
            self._held = None
            samples = self.samples[np.concatenate([self._positions(block) for block in blocks])]
            reach = self.augmentation.reach(self.store.views[samples])
            self._held = name, Tape(self.store, reach), self.store.packed_labels(samples)
        return self._held[1:]

    def _along_tape(self, store: Store, samples: Indices) -> tuple[Indices, Indices]:
        """The order of samples along the tape, and how many residues each covers that none before it does."""
        begin, end = extent(store, self.augmentation.reach(store.views[samples]))
        order = np.argsort(begin, kind="stable")
        begin, reach = begin[order], np.maximum.accumulate(end[order])
        begin[1:] = np.maximum(begin[1:], reach[:-1])
        return order, reach - begin

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": None}


class _Worker(IterableDataset[Batch]):
    """The batches that one of several worker processes gathers."""

    def __init__(self, loader: StoreLoader, epoch: int, begin: int) -> None:
        self._loader, self._epoch, self._begin = loader, epoch, begin

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        assert info is not None, "only workers iterate over this"
        return self._loader._batches(self._epoch, self._begin, info.id, info.num_workers)


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
