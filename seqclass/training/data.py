"""A store as Lightning wants it."""

from __future__ import annotations

from typing import Literal

import pytorch_lightning as pl

from seqclass.alphabets import DNA
from seqclass.data.augment import Augmentation
from seqclass.data.loader import MEMORY, StoreLoader
from seqclass.data.sampling import balanced_weights
from seqclass.data.store import Store
from seqclass.errors import TrainingError
from seqclass.training.throughput import TimedLoader


class StoreDataModule(pl.LightningDataModule):
    """Training and validation batches of a store.

    Args:
        store: Path of the store.
        batch_size: Samples a training step, on each process; where lengths differ, the batch holds as many residues as
            so many samples of mean length.
        batch_residues: In place of what follows from that: the most residues in a batch, padding included.
        random_strand: While training, read each DNA sample from a random strand in each epoch.
        jitter: While training, shift each sample by up to so many residues in either direction.
        crop: While training, read a random stretch of so many residues from longer samples.
        mask: While training, the probability with which a residue becomes unknown.
        substitute: While training, the probability with which a residue is drawn anew.
        sampling: While training, visit every sample once an epoch, or draw so that all targets come about as often.
        memory: Bytes that the residues and labels of a split may take; a larger split is streamed in blocks.
        num_workers: Processes that gather batches while this one trains.
        start_method: How those are started, "fork", "spawn" or "forkserver". Default: the system's.
        seed: Of order and augmentation.

    Raises:
        StoreError: The store cannot be read.
        TrainingError: The batch size is below 2, or an augmentation is out of range or not for such a store.
    """

    def __init__(
        self,
        store: str,
        batch_size: int = 128,
        batch_residues: int | None = None,
        random_strand: bool = True,
        jitter: int = 0,
        crop: int | None = None,
        mask: float = 0.0,
        substitute: float = 0.0,
        sampling: Literal["every", "balanced"] = "every",
        memory: int = MEMORY,
        num_workers: int = 0,
        start_method: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 2:
            raise TrainingError(
                f"a batch of {batch_size} samples, where batch normalisation needs two",
                remedy="Let --data.batch_size be at least 2",
            )
        self.store = Store(store)
        self.batch_size = batch_size
        self.batch_residues = batch_residues
        strands = random_strand and self.store.alphabet is DNA and not self.store.vector_size
        self.augmentation = Augmentation(strands, jitter, crop, mask, substitute)
        self.augmentation.check(self.store)
        self.sampling = sampling
        self.memory = memory
        self.num_workers = num_workers
        self.start_method = start_method
        self.seed = seed

    def train_dataloader(self) -> StoreLoader:
        loader = self._loader("train", training=True)
        loader.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        return loader

    def val_dataloader(self) -> StoreLoader:
        return self._loader("valid")

    def _loader(self, split: str, training: bool = False) -> StoreLoader:
        samples = self.store.samples(split)
        weights = None
        if training and self.sampling == "balanced":
            weights = balanced_weights(self.store.layout, self.store.packed_labels(samples))
        return (TimedLoader if training else StoreLoader)(
            self.store,
            samples if training else self.store.distinct(samples),
            self.batch_size,
            batch_residues=self.batch_residues,
            fewest=2 if training else 1,
            shuffle=training,
            weights=weights,
            augmentation=self.augmentation if training else None,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            memory=self.memory,
            num_workers=self.num_workers,
            start_method=self.start_method,
        )
