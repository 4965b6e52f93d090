"""Speed and peak memory of the DeepSEA import, on generated files of the real layout.

    python benchmarks/deepsea_import.py --train 400000 --valid 8000 --test 150000

The real data set has 4,400,000, 8,000 and 455,024 windows. Each step runs in a process of its own, so that its peak
memory is its own; for comparison scipy.io.loadmat reads the test file, which holds all of it in memory.
"""

import argparse
import importlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

WINDOW, TARGETS = 1000, 919


def generate(folder: Path, samples: dict[str, int], chunk: tuple[int, int, int]) -> None:
    """Writes train.mat as MATLAB 7.3, valid.mat and test.mat as compressed MATLAB 5."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    files = importlib.import_module("deepsea_files")
    for seed, (name, count) in enumerate(samples.items()):
        arrays = files.random_split(name, count, WINDOW, TARGETS, seed=seed)
        if name == "train":
            chunks = [
                tuple(min(length, extent) for length, extent in zip(wanted, array.shape, strict=True))
                for wanted, array in zip((chunk, chunk[::2]), arrays, strict=True)
            ]
            files.write_version_73(folder / "train.mat", arrays, chunks)
        else:
            files.write_version_5(folder / f"{name}.mat", arrays)


def run_import(folder: Path) -> None:
    from seqclass.data.sources.deepsea import import_deepsea

    files = {path.stem: path for path in folder.glob("*.mat")}
    store = import_deepsea(folder / "deepsea.h5", **files, force=True)
    assert all(store.provenance["reverse_complements_verified"].values()), store.provenance["notes"]


def run_loadmat(folder: Path) -> None:
    import scipy.io

    scipy.io.loadmat(folder / "test.mat")


class Cost(NamedTuple):
    """Wall and processor time in seconds, peak memory in MiB."""

    wall: float
    processor: float
    memory: float


def _measured(step: Callable[..., None], arguments: tuple[Any, ...], results: Any) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    step(*arguments)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    results.put(Cost(wall, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measure(step: Callable[..., None], *arguments: Any) -> Cost:
    """What a step costs in a fresh process. This one stays small: its peak would count as the other's."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_measured, args=(step, arguments, results))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{step.__name__} failed")
    return results.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=40_000)
    parser.add_argument("--valid", type=int, default=8_000)
    parser.add_argument("--test", type=int, default=20_000)
    parser.add_argument("--chunk", type=int, nargs=3, default=(10, 4, 1000), help="HDF5 chunk of trainxdata")
    parser.add_argument("--folder", type=Path, default=None, help="where the files go for as long as this runs")
    options = parser.parse_args()
    samples = {"train": options.train, "valid": options.valid, "test": options.test}

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        tiny, real = Path(name, "tiny"), Path(name, "real")
        for folder, counts in ((tiny, dict.fromkeys(samples, 8)), (real, samples)):
            folder.mkdir()
            generated = measure(generate, folder, counts, tuple(options.chunk))
        sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:,.0f} MB" for path in sorted(real.glob("*.mat")))
        print(f"generated in {generated.wall:.0f} s: {sizes}", flush=True)
        floor = measure(run_import, tiny).memory
        cost = measure(run_import, real)
        total = sum(samples.values())
        store = (real / "deepsea.h5").stat().st_size
        print(f"import      {total:,} windows in {cost.wall:.1f} s, {cost.processor:.1f} s of processor time")
        print(
            f"speed       {total / cost.wall:,.0f} windows/s, {total / cost.processor:,.0f} a second of processor time"
        )
        print(f"peak memory {cost.memory:,.0f} MiB, {cost.memory - floor:,.0f} MiB more than for 24 windows")
        print(f"store       {store / 1e6:,.0f} MB, {store / total:,.0f} bytes a window")
        cost = measure(run_loadmat, real)
        print(f"loadmat     {samples['test']:,} windows of test.mat in {cost.wall:.1f} s, peak {cost.memory:,.0f} MiB")


if __name__ == "__main__":
    main()
