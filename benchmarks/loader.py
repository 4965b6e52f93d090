"""Windows a second: the store's loader against one sample at a time, over the same windows in the same run.

    python benchmarks/loader.py [--samples 200000] [--targets 919]

References, each a torch Dataset under a shuffling DataLoader of one process:
    h5py        one HDF5 read a sample, as such data sets are usually written
    in memory   the same arrays held in memory, still cut one sample at a time

Then the resident memory of a pass over files of growing size, with a fixed budget, so that the loader streams.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from seqclass.alphabets import DNA
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.targets import Target

WINDOW, STRIDE, BATCH = 1000, 200, 256

MEMORY_OF_A_PASS = """
import sys
from pathlib import Path
import numpy as np
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Store

def resident(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024

store = Store(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
before = resident("VmRSS")
loader = StoreLoader(store, np.arange(len(store)), 256, shuffle=True, random_strand=True, memory=64 << 20)
for batch in loader:
    batch.tokens
print(resident("VmHWM") - before, loader.streams)
"""


def write(path: Path, num_samples: int, num_targets: int) -> Store:
    """A random genome whose every bin is a sample with 2 % of its labels set."""
    generator = np.random.default_rng(0)
    with write_store(path, DNA, force=True) as writer:
        for begin in range(0, num_samples * STRIDE, 1 << 24):
            size = min(1 << 24, num_samples * STRIDE - begin)
            writer.add_contigs([f"c{begin}"], generator.integers(0, 4, size, dtype=np.uint8))
        writer.set_targets([Target(f"t{number}") for number in range(num_targets)])
        for begin in range(0, num_samples, 1 << 16):
            count = min(1 << 16, num_samples - begin)
            writer.add_labels(generator.integers(0, 256, (count, (num_targets + 7) // 8), dtype=np.uint8))
        place = np.arange(num_samples) * STRIDE
        contig = place // (1 << 24)
        start = place - contig * (1 << 24) - (WINDOW - STRIDE) // 2
        length, strand = np.full(num_samples, WINDOW, np.int32), np.ones(num_samples, np.int8)
        views = Views(contig.astype(np.int32), start, length, strand)
        writer.set_samples(views, np.zeros(num_samples, np.uint8))
        writer.finish({"source": "benchmark"})
    return Store(path)


def write_plain(path: Path, store: Store) -> None:
    """The same windows and labels as arrays of one row a sample, unpacked."""
    samples = np.arange(len(store))
    with h5py.File(path, "w") as file:
        windows = file.create_dataset("windows", (len(store), WINDOW), "u1", chunks=(64, WINDOW))
        labels = file.create_dataset("labels", (len(store), store.num_targets), "u1", chunks=(64, store.num_targets))
        for batch in StoreLoader(store, samples, 8192):
            rows = slice(int(batch.samples[0]), int(batch.samples[-1]) + 1)
            windows[rows] = batch.tokens.numpy()
            labels[rows] = batch.labels(store.num_targets).numpy()


class PerSample(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One window and its labels at a time, a random strand of it, from HDF5 or from arrays."""

    def __init__(self, windows: h5py.Dataset | np.ndarray, labels: h5py.Dataset | np.ndarray) -> None:
        self.windows, self.labels = windows, labels

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = torch.from_numpy(np.asarray(self.windows[sample]))
        if torch.rand(()) < 0.5:
            window = (window.flip(0) ^ 3).clamp_max(4)
        return window, torch.from_numpy(np.asarray(self.labels[sample])).float()


def rate(batches: Iterable[object], most_seconds: float = 20) -> float:
    """Windows a second, the first batch left out."""
    iterator = iter(batches)
    next(iterator)
    start, count = time.perf_counter(), 0
    for batch in iterator:
        count += len(batch[0])
        if time.perf_counter() - start > most_seconds:
            break
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--targets", type=int, default=919)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = write(Path(folder) / "store.h5", options.samples, options.targets)
        plain = Path(folder) / "plain.h5"
        write_plain(plain, store)
        samples = np.arange(len(store))

        def ours(memory: int) -> float:
            loader = StoreLoader(store, samples, BATCH, shuffle=True, random_strand=True, memory=memory)
            return rate((batch.tokens, batch.labels(store.num_targets)) for batch in loader)

        with h5py.File(plain) as file:
            per_sample = rate(DataLoader(PerSample(file["windows"], file["labels"]), BATCH, shuffle=True))
            arrays = PerSample(file["windows"][:], file["labels"][:])
        in_memory = rate(DataLoader(arrays, BATCH, shuffle=True))
        del arrays
        rows = {
            "h5py, one sample at a time": per_sample,
            "in memory, one sample at a time": in_memory,
            "StoreLoader, whole tape in memory": ours(4 << 30),
            "StoreLoader, streamed in blocks (16 MiB)": ours(16 << 20),
        }
        print(f"{options.samples:,} windows of {WINDOW} bp, {options.targets} targets, shuffled, on random strands")
        for name, speed in rows.items():
            print(f"{name:42s} {speed:12,.0f} windows/s {speed / per_sample:8.1f} x")

        print("\nresident memory that a shuffled pass adds over the opened store (Linux), budget 64 MiB")
        for share in (1, 2, 4):
            count = options.samples * share
            path = write(Path(folder) / "grown.h5", count, options.targets).path
            ended = subprocess.run(
                [sys.executable, "-c", MEMORY_OF_A_PASS, str(path)], capture_output=True, text=True, check=True
            )
            growth, streams = ended.stdout.split()
            size = path.stat().st_size / 2**20
            print(f"{count:12,} windows, file {size:7,.0f} MiB: {float(growth):6.0f} MiB (streams: {streams})")


if __name__ == "__main__":
    main()
