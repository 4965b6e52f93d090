"""Batches of a store's loader against one sample at a time: how fast, how soon, in how much memory.

    python benchmarks/loader.py [--fast] [--folder DIR]

Three kinds of data: DNA windows of one length, proteins of many lengths, embedded proteins. References over the same
data in the same run, each a torch Dataset under a shuffling DataLoader that pads a batch to its longest sample:
    h5py        one HDF5 read a sample, as such data sets are usually written
    in memory   the same held in memory, still cut one sample at a time

Every loader runs in one process, in one with two workers, and in two processes at once that share the epochs. The best
of several rounds counts, as others may use the machine. Rates are of windows, or of residues without padding.

Then stores of 5 GB, which are written for it (to DIR) and deleted: how soon the first shuffled batch comes when nothing
of the file is in the page cache, and what resident memory a pass of up to 20 s adds to that of a process that has
opened and read a tiny store.
"""

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from seqclass.alphabets import DNA, PROTEIN
from seqclass.data.augment import Augmentation
from seqclass.data.loader import MEMORY, Batch, StoreLoader
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.targets import Target

WINDOW, TARGETS, VECTOR = 1000, 919, 1024
FAMILIES = [Target(f"f{number}", "family") for number in range(1000)]
MIB = 1 << 20


def write_windows(path: Path, count: int, stride: int) -> Store:
    """A random genome with a window every so many bp, half of whose labels are set."""
    generator = np.random.default_rng(0)
    contig = 10_000 * stride
    with write_store(path, DNA, force=True) as writer:
        bases = generator.integers(0, 4, contig + WINDOW, dtype=np.uint8)
        for number in range(-(-count // 10_000)):
            writer.add_contigs([f"c{number}"], np.roll(bases, number))
        writer.set_targets([Target(f"t{number}") for number in range(TARGETS)])
        rows = generator.integers(0, 256, (1 << 16, (TARGETS + 7) // 8), dtype=np.uint8)
        for begin in range(0, count, 1 << 16):
            writer.add_labels(rows[: count - begin])
        index, place = np.divmod(np.arange(count), 10_000)
        length, strand = np.full(count, WINDOW, np.int32), np.ones(count, np.int8)
        views = Views(index.astype(np.int32), place * stride, length, strand)
        writer.set_samples(views, np.zeros(count, np.uint8))
        writer.finish({})
    return Store(path)


def write_proteins(path: Path, count: int, mean: int, vectors: bool) -> Store:
    """Random proteins, or vectors for their residues, of gamma-distributed lengths, each of one family."""
    generator = np.random.default_rng(0)
    form = VectorForm(VECTOR, "float16") if vectors else None
    portion = min(count, 1 << (9 if vectors else 16))
    lengths = np.clip(generator.gamma(2.0, mean / 2, portion), 10, 5000).astype(np.int64)
    if vectors:
        residues = generator.standard_normal((int(lengths.sum()), VECTOR), dtype=np.float32).astype(np.float16)
    else:
        residues = generator.integers(0, 20, int(lengths.sum()), dtype=np.uint8)
    portions = -(-count // portion)
    count = portions * portion
    with write_store(path, PROTEIN, vectors=form, force=True) as writer:
        for number in range(portions):
            writer.add_contigs([f"p{number}_{protein}" for protein in range(portion)], residues, lengths)
        writer.set_targets(FAMILIES, ["family"])
        writer.add_labels(writer.layout.pack(classes=generator.integers(0, len(FAMILIES), (count, 1))))
        start, strand = np.zeros(count, np.int64), np.ones(count, np.int8)
        every = np.tile(lengths, portions).astype(np.int32)
        writer.set_samples(Views(np.arange(count, dtype=np.int32), start, every, strand), np.zeros(count, np.uint8))
        writer.finish({})
    return Store(path)


class PerSample(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One sample and its labels at a time, from an HDF5 file or from what was read of it into memory."""

    def __init__(self, path: Path, count: int, in_memory: bool) -> None:
        self.path, self.count, self.arrays = path, count, None
        if in_memory:
            with h5py.File(path) as file:
                self.arrays = {name: dataset[:] for name, dataset in file.items()}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.arrays is None:
            # In the process that reads: handles must not be shared.
            self.arrays = self.open()
        return self.cut(self.arrays, sample)

    def open(self) -> Any:
        """The data sets, looked up once."""
        return dict(h5py.File(self.path))

    def cut(self, arrays: Any, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


class Windows(PerSample):
    """Rows of one length, with unpacked labels, from a random strand."""

    @staticmethod
    def write(path: Path, store: Store) -> None:
        with h5py.File(path, "w") as file:
            windows = file.create_dataset("windows", (len(store), WINDOW), "u1", chunks=(64, WINDOW))
            labels = file.create_dataset("labels", (len(store), TARGETS), "u1", chunks=(64, TARGETS))
            for batch in StoreLoader(store, np.arange(len(store)), 8192):
                rows = slice(int(batch.samples[0]), int(batch.samples[-1]) + 1)
                windows[rows] = batch.inputs.numpy()
                labels[rows] = batch.binary(store.layout).numpy()

    def cut(self, arrays: Any, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = torch.from_numpy(arrays["windows"][sample])
        if torch.rand(()) < 0.5:
            window = (window.flip(0) ^ 3).clamp_max(4)
        return window, torch.from_numpy(arrays["labels"][sample]).float()


class Proteins(PerSample):
    """Stretches of one row of residues."""

    @staticmethod
    def write(path: Path, store: Store) -> None:
        with h5py.File(path, "w") as file, store.open() as source:
            file["tokens"] = source["tokens"][:]
            file["start"] = store.contig_start
            file["length"] = store.contig_length
            file["family"] = store.classes(np.arange(len(store)))[:, 0]

    def cut(self, arrays: Any, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = int(arrays["start"][sample])
        tokens = arrays["tokens"][start : start + int(arrays["length"][sample])]
        return torch.from_numpy(tokens), torch.as_tensor(int(arrays["family"][sample]))


class Embeddings(PerSample):
    """A data set a protein, as embeddings are usually handed on."""

    @staticmethod
    def write(path: Path, store: Store) -> None:
        with h5py.File(path, "w") as file, store.open() as source:
            bounds = zip(store.contig_start.tolist(), store.contig_length.tolist(), strict=True)
            for number, (start, length) in enumerate(bounds):
                file[f"p{number}"] = source["vectors"][start : start + length]
            file["family"] = store.classes(np.arange(len(store)))[:, 0]

    def open(self) -> Any:
        """The file: there are as many data sets as proteins."""
        return h5py.File(self.path)

    def cut(self, arrays: Any, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(arrays[f"p{sample}"][:]), torch.as_tensor(int(arrays["family"][sample]))


def padded(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A batch padded to its longest sample, the labels, and the lengths."""
    inputs, labels = zip(*samples, strict=True)
    return pad_sequence(inputs, batch_first=True), torch.stack(labels), torch.tensor([len(each) for each in inputs])


def epochs_of(loader: Iterable[Any]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def rate(batches: Iterator[Any], size: Callable[[Any], int], seconds: float) -> float:
    """What comes in a second, the first batch left out."""
    next(batches)
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += size(batch)
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)


def real_size(batch: Batch) -> int:
    return batch.inputs.shape[:2].numel() if batch.mask is None else int(batch.mask.sum())


@dataclass(frozen=True)
class Contest:
    """One kind of data, and the loaders that are compared on it."""

    name: str
    unit: str
    store: Store
    reference: type[PerSample]
    batch_size: int

    @property
    def plain(self) -> Path:
        return self.store.path.with_suffix(".plain.h5")

    def ours(self, memory: int, workers: int = 0, rank: int = 0, ranks: int = 1) -> float:
        """The rate of the store's loader within so many bytes."""
        torch.set_num_threads(1)
        augmentation = Augmentation(random_strand=self.unit == "windows")
        loader = StoreLoader(
            self.store,
            np.arange(len(self.store)),
            self.batch_size,
            shuffle=True,
            augmentation=augmentation,
            rank=rank,
            world_size=ranks,
            memory=memory,
            num_workers=workers,
        )
        # Labels as the loss takes them are part of the work, as they are of the references'.
        layout = self.store.layout
        ready = ((batch, batch.binary(layout), batch.classes(layout)) for batch in epochs_of(loader))
        return rate(ready, lambda each: len(each[0].samples) if self.unit == "windows" else real_size(each[0]), 2)

    def theirs(self, in_memory: bool, workers: int = 0) -> float:
        """The rate of a reference."""
        torch.set_num_threads(1)
        data = self.reference(self.plain, len(self.store), in_memory)
        windows = self.unit == "windows"
        loader = DataLoader(
            data, self.batch_size, shuffle=True, num_workers=workers, collate_fn=None if windows else padded
        )
        return rate(epochs_of(loader), lambda each: len(each[1]) if windows else int(each[2].sum()), 2)

    def run(self, rounds: int) -> None:
        """Prints the rates of all loaders in one process, with two workers, and in two processes at once."""
        self.reference.write(self.plain, self.store)
        size = self.store.path.stat().st_size
        print(f"\n{self.name}: {len(self.store):,} samples, {size / 1e6:,.0f} MB, batches of {self.batch_size}")
        budget = max(MIB, size // 8)
        loaders: dict[str, tuple[Callable[..., float], int]] = {
            "h5py, one sample at a time": (self.theirs, False),
            "in memory, one sample at a time": (self.theirs, True),
            "StoreLoader, held in memory": (self.ours, 4 << 30),
            f"StoreLoader, streamed in {budget / 1e6:,.0f} MB": (self.ours, budget),
        }
        with multiprocessing.get_context("spawn").Pool(2) as pool:

            def in_two_ranks(measure: Callable[..., float], option: int) -> float:
                places = [(0, rank, 2) if measure == self.ours else () for rank in range(2)]
                return sum(pool.starmap(measure, [(option, *place) for place in places], chunksize=1))

            settings: dict[str, Callable[[Callable[..., float], int], float]] = {
                "one process": lambda measure, option: measure(option),
                "one process with two workers": lambda measure, option: measure(option, 2),
                "two processes, each a rank": in_two_ranks,
            }
            for setting, in_setting in settings.items():
                print(f"  {setting}")
                best = dict.fromkeys(loaders, 0.0)
                for _ in range(rounds):
                    for loader, (measure, option) in loaders.items():
                        best[loader] = max(best[loader], in_setting(measure, option))
                slow, held = list(best.values())[:2]
                for loader, speed in best.items():
                    print(f"    {loader:36s} {speed:14,.0f} {self.unit}/s {speed / slow:8.1f} x {speed / held:8.1f} x")
        self.plain.unlink()


def resident(which: str) -> float:
    """Resident memory now ("VmRSS") or at most ("VmHWM"), in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def first_batch(tiny: Path, large: Path) -> None:
    """Prints how soon the first batch of a store comes, and the memory that a pass takes; in a process of its own."""
    for batch in StoreLoader(Store(tiny), np.arange(8), 4, shuffle=True):
        assert len(batch.samples)
    with open(large, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before, start = resident("VmRSS"), time.perf_counter()
    store = Store(large)
    opened = time.perf_counter() - start
    augmentation = Augmentation(random_strand=store.alphabet is DNA)
    loader = StoreLoader(store, store.samples("train"), 128, shuffle=True, augmentation=augmentation)
    batches = iter(loader)
    next(batches)
    first = time.perf_counter() - start
    for _ in batches:
        if time.perf_counter() - start > 20:
            break
    growth = resident("VmHWM") - before
    size = large.stat().st_size
    print(
        f"{len(store):12,} samples, {size / 1e9:4.1f} GB: opened in {opened:4.2f} s, first batch after {first:4.2f} s; "
        f"{growth:6,.0f} MiB, {growth - MEMORY / MIB:+5.0f} over the budget (streams: {loader.streams})"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="small data, one round, no stores of 5 GB")
    parser.add_argument("--folder", default=".", help="where there is room for a file of 5 GB")
    parser.add_argument("--first-batch", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.first_batch:
        first_batch(*options.first_batch)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}")
    share, rounds = (8, 1) if options.fast else (1, 3)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        path = Path(name) / "store.h5"
        print("ratios: to h5py, and to what is held in memory, one sample at a time")
        store = write_windows(path, 200_000 // share, 200)
        Contest(f"DNA windows of {WINDOW:,} bp, {TARGETS} targets", "windows", store, Windows, 256).run(rounds)
        store = write_proteins(path, 524_288 // share, 160, vectors=False)
        Contest("Proteins of 160 residues on average", "residues", store, Proteins, 128).run(rounds)
        store = write_proteins(path, 2_048 // share, 160, vectors=True)
        Contest(f"Embeddings of {VECTOR:,} float16 a residue", "residues", store, Embeddings, 32).run(rounds)
        if options.fast:
            return
        print(f"\nstores of 5 GB, not in the page cache, shuffled, budget {MEMORY / MIB:,.0f} MiB")
        tiny = Path(name) / "tiny.h5"
        write_windows(tiny, 8, 200)
        stores = {
            "DNA, each window on its own, as DeepSEA's": lambda: write_windows(path, 4_480_000, 1000),
            "DNA, a window every 200 bp": lambda: write_windows(path, 15_800_000, 200),
            "proteins of 350 residues": lambda: write_proteins(path, 14_000_000, 350, vectors=False),
            "embeddings of 350 residues": lambda: write_proteins(path, 7_000, 350, vectors=True),
        }
        for kind, write in stores.items():
            write()
            print(kind, flush=True)
            for _ in range(2):
                subprocess.run([sys.executable, __file__, "--first-batch", str(tiny), str(path)], check=True)
            path.unlink()


if __name__ == "__main__":
    main()
