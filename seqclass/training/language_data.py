"""Sequences as a language model reads them: a tape in rows of segments, or samples one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens, reverse_complement
from seqclass.data.augment import Augmentation
from seqclass.data.intervals import Union
from seqclass.data.loader import Batch
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.data.tape import Tape, extent
from seqclass.errors import TrainingError
from seqclass.training.throughput import TimedLoader

# Of the tape of a split; a letter is a byte.
_ALL = 1 << 62


class _Arrangement(NamedTuple):
    """How an epoch's text is made of stretches: which comes when, which are read backwards, where the text begins."""

    order: Indices
    flipped: NDArray[np.bool_]
    begin: int


class TapeLoader(TimedLoader):
    """Reads all that samples cover as one text, in rows, so that a memory can follow it segment by segment.

    Each base is read once, however many samples cover it. Behind each stretch of the tape, which ends with its contig
    at the latest, the text has an unknown letter. It is cut into `rows` rows of equal length for each process, and
    batch t has segment t of each row with the letter that follows, `(rows, segment + 1)`; so the memory of batch t - 1
    belongs to it. Unknown letters fill the last row.

    Shuffled, each epoch has the stretches in another order, those of DNA from a random strand, and begins elsewhere,
    so that segments are cut at other places. `Batch.samples` are samples that cover the segments' first letters.

    Args:
        store: Tokens.
        samples: Which samples.
        rows: Of a batch. Fewer where the text is too short, unless it is shuffled.
        segment: Letters read at once.
        shuffle: Whether epochs differ.
        random_strand: Whether these read DNA from random strands.
        seed: The text follows from it and the epoch.
        rank: Of this process.
        world_size: Number of processes that share an epoch.

    Raises:
        StoreError: There are no samples.
        TrainingError: There are too few letters for a segment a row.
    """

    def __init__(
        self,
        store: Store,
        samples: Indices,
        rows: int,
        segment: int,
        *,
        shuffle: bool = False,
        random_strand: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            store, samples, rows, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, memory=_ALL
        )
        views = store.views[samples]
        self._tape = Tape(store, views)
        self._first, self._behind = stretches(store, samples)
        begins = extent(store, views)[0]
        along = np.argsort(begins, kind="stable")
        self._sample_begins, self._samples_along = begins[along], samples[along]
        self.num_letters = int((self._behind - self._first).sum())
        self._length = self.num_letters + len(self._first)
        if not shuffle:
            rows = max(1, min(rows, self._length // (segment * world_size)))
        if self._length < rows * world_size * segment:
            raise TrainingError(
                f"{self.num_letters:,} letters do not fill {rows * world_size:,} rows of {segment:,}",
                remedy="Lower --data.batch_size or --data.segment",
                file=store.path,
            )
        self.rows, self.segment = rows, segment
        self._strands = random_strand and store.alphabet == DNA
        self._num_batches = -(-(self._length - 1) // (rows * world_size * segment))

    def __str__(self) -> str:
        return (
            f"{self.num_letters:,} letters in {len(self._first):,} stretches, held in memory; {len(self):,} batches of "
            f"{self.rows:,} rows by {self.segment:,}"
        )

    def text(self, epoch: int = 0) -> Tokens:
        """All that an epoch reads, `(letters and separators,)`."""
        return self._text(self._arrange(epoch))

    def _arrange(self, epoch: int) -> _Arrangement:
        number = len(self._first)
        if not self.shuffle:
            return _Arrangement(np.arange(number), np.zeros(number, dtype=bool), 0)
        generator = np.random.default_rng([self.seed, epoch])
        flipped = generator.integers(0, 2, number) == 1
        return _Arrangement(
            generator.permutation(number), flipped & self._strands, int(generator.integers(self._length))
        )

    def _text(self, arrangement: _Arrangement) -> Tokens:
        text = np.full(self._length, self.store.alphabet.unknown_token, dtype=np.uint8)
        place = 0
        for stretch in arrangement.order.tolist():
            length = int(self._behind[stretch] - self._first[stretch])
            begin = int(self._tape.place(self._first[stretch : stretch + 1])[0])
            letters = self._tape.residues[begin : begin + length]
            text[place : place + length] = reverse_complement(letters) if arrangement.flipped[stretch] else letters
            place += length + 1
        return np.roll(text, -arrangement.begin)

    def _batches(self, epoch: int, begin: int, worker: int = 0, num_workers: int = 1) -> Iterator[Batch]:
        arrangement = self._arrange(epoch)
        text, unknown = self._text(arrangement), self.store.alphabet.unknown_token
        all_rows = self.rows * self.world_size
        row = len(self) * self.segment
        text = np.pad(text, (0, all_rows * row + 1 - len(text)), constant_values=unknown)
        windows = np.lib.stride_tricks.sliding_window_view(text, self.segment + 1)
        ours = slice(self.rank * self.rows, (self.rank + 1) * self.rows)
        for number in range(begin, len(self)):
            starts = np.arange(all_rows) * row + number * self.segment
            letters = windows[starts]
            counted = (letters[:, 1:] < unknown).sum(axis=1)
            # Each letter counts alike, also where the last row ends early in one of several processes.
            weight = self.world_size * counted[ours].sum() / max(1, counted.sum())
            yield Batch(
                torch.from_numpy(letters[ours]),
                None,
                torch.empty((self.rows, 0), dtype=torch.uint8),
                torch.from_numpy(self._samples_at(starts[ours], arrangement)),
                float(weight),
            )

    def _samples_at(self, places: Indices, arrangement: _Arrangement) -> Indices:
        """For each of some places in the text a sample that covers the letter there."""
        order = arrangement.order
        lengths = self._behind[order] - self._first[order]
        ends = np.cumsum(lengths + 1)
        places = (places + arrangement.begin) % self._length
        which = np.searchsorted(ends, places, side="right")
        stretch = order[which]
        # The separator counts to the stretch before it.
        within = np.minimum(places - (ends[which] - lengths[which] - 1), lengths[which] - 1)
        backwards = arrangement.flipped[stretch]
        on_tape = np.where(backwards, self._behind[stretch] - 1 - within, self._first[stretch] + within)
        found: Indices = self._samples_along[np.searchsorted(self._sample_begins, on_tape, side="right") - 1]
        return found


def stretches(store: Store, samples: Indices) -> tuple[Indices, Indices]:
    """What samples cover of the tape: where each unbroken stretch begins and ends, none reaching over a contig."""
    begin, end = extent(store, store.views[samples])
    covered = Union(begin, end)
    borders = store.contig_start[(store.contig_start > 0) & (store.contig_start < store.num_residues)]
    inner = borders[covered.covered(borders - 1, borders + 1) == 2]
    return np.sort(np.concatenate([covered.start, inner])), np.sort(np.concatenate([covered.end, inner]))


class LanguageDataModule(pl.LightningDataModule):
    """Training and validation text of a store; its labels are not looked at.

    A model that guesses the next letter reads the tape in rows: what the samples of a split cover, each base once. A
    model that guesses hidden letters reads the samples.

    Args:
        store: Path of the store.
        along_tape: Whether it is read in rows.
        batch_size: Rows of the tape in a training step, on each process; or samples, and where lengths differ, as many
            residues as so many samples of mean length.
        segment: Letters read at once: of a row, the next ones, with the memory of those before; of a longer sample,
            while training, a random stretch.
        random_strand: While training, read DNA from random strands.
        seed: Of order and strands.

    Raises:
        StoreError: The store cannot be read.
        TrainingError: It holds vectors, a number is out of range, or what is held out of training is seen there.
    """

    def __init__(
        self,
        store: str,
        along_tape: bool,
        batch_size: int = 32,
        segment: int = 512,
        random_strand: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or segment < 1:
            raise TrainingError(
                f"a batch of {batch_size} rows or samples, read {segment} letters at once",
                remedy="Let --data.batch_size and --data.segment be at least 1",
            )
        self.store = Store(store)
        if self.store.vector_size:
            raise TrainingError(
                "this store holds vectors, in which there is no letter to guess",
                remedy="Give a store of sequences",
                file=self.store.path,
            )
        for split, purpose in (("train", "train"), ("valid", "validate")):
            if not len(self.store.samples(split)):
                raise TrainingError(
                    f"the store has no samples to {purpose} on",
                    remedy="Import it again with a validation split",
                    file=self.store.path,
                )
        self.along_tape = along_tape
        self.batch_size = batch_size
        self.segment = segment
        self.random_strand = random_strand and self.store.alphabet == DNA
        self.seed = seed
        if along_tape:
            self._refuse_overlap()

    def _refuse_overlap(self) -> None:
        seen = Union(*stretches(self.store, self.store.samples("train")))
        for split in SPLITS[1:]:
            shared = int(seen.covered(*stretches(self.store, self.store.samples(split))).sum())
            if shared:
                raise TrainingError(
                    f"{shared:,} residues that {split} samples cover are covered by training samples as well",
                    remedy="Import it again with whole chromosomes or regions held out",
                    file=self.store.path,
                )

    def train_dataloader(self) -> TimedLoader:
        loader = self.loader("train", training=True)
        loader.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        return loader

    def val_dataloader(self) -> TimedLoader:
        return self.loader("valid")

    def loader(self, split: str, training: bool = False) -> TimedLoader:
        """Batches of a split: with `training` varied from epoch to epoch, else always the same."""
        samples = self.store.samples(split)
        rank = self.trainer.global_rank if self.trainer else 0
        world_size = self.trainer.world_size if self.trainer else 1
        if self.along_tape:
            return TapeLoader(
                self.store,
                samples,
                self.batch_size,
                self.segment,
                shuffle=training,
                random_strand=self.random_strand,
                seed=self.seed,
                rank=rank,
                world_size=world_size,
            )
        return TimedLoader(
            self.store,
            samples if training else self.store.distinct(samples),
            self.batch_size,
            fewest=2 if training else 1,
            shuffle=training,
            augmentation=Augmentation(self.random_strand, crop=self.segment) if training else None,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
