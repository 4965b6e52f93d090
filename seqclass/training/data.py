"""A store as Lightning wants it."""

from __future__ import annotations

import pytorch_lightning as pl

from seqclass.alphabets import DNA
from seqclass.data.loader import StoreLoader
from seqclass.data.sampling import batch_sizes
from seqclass.data.store import Store
from seqclass.errors import TrainingError


class StoreDataModule(pl.LightningDataModule):
    """Training and validation batches of a store.

    Args:
        store: Path of the store.
        batch_size: Samples a training step, on each process.
        random_strand: While training, read each DNA sample from a random strand in each epoch.
        memory: Bytes that the tokens and labels of a split may take; a larger split is streamed in blocks.
        seed: Of order and strands.

    Raises:
        StoreError: The store cannot be read.
        TrainingError: The batch size is not positive.
    """

    def __init__(
        self, store: str, batch_size: int = 128, random_strand: bool = True, memory: int = 2 << 30, seed: int = 0
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise TrainingError(f"a batch of {batch_size} samples", remedy="Let --data.batch_size be at least 1")
        self.store = Store(store)
        self.batch_size = batch_size
        self.random_strand = random_strand and self.store.alphabet is DNA
        self.memory = memory
        self.seed = seed

    def train_dataloader(self) -> StoreLoader:
        loader = self._loader("train", shuffle=True, random_strand=self.random_strand)
        if min(batch_sizes(len(loader.samples), self.batch_size, loader.world_size)) < 2:
            raise TrainingError(
                f"{len(loader.samples)} samples in batches of {self.batch_size} leave one of a single sample, "
                "and batch normalisation needs two",
                remedy="Choose another --data.batch_size",
            )
        loader.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        return loader

    def val_dataloader(self) -> StoreLoader:
        return self._loader("valid")

    def _loader(self, split: str, shuffle: bool = False, random_strand: bool = False) -> StoreLoader:
        samples = self.store.samples(split)
        return StoreLoader(
            self.store,
            samples if shuffle else self.store.distinct(samples),
            self.batch_size,
            shuffle=shuffle,
            random_strand=random_strand,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            memory=self.memory,
        )
