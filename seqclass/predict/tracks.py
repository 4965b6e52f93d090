"""Values along a genome as files: a bigWig a target, or one HDF5 file."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass import __version__
from seqclass.atomic import atomic_folder, file_stem
from seqclass.bundle import Bundle
from seqclass.data.bigwig import open_bigwig
from seqclass.data.writer import new_hdf5
from seqclass.errors import SeqclassError

MARKER = "tracks.tsv"
"""The table by which a folder of tracks is known."""

_CHUNK_BYTES = 1 << 20
_OTHER_FILES = 128


class Block(NamedTuple):
    """Values at some places of a chromosome.

    Attributes:
        chrom: Its name.
        cells: `(cells,)`, ascending: cell i begins at i strides.
        values: `(cells, targets)`.
    """

    chrom: str
    cells: NDArray[np.int64]
    values: NDArray[np.float32]


WriteBlock = Callable[[Block], None]


def is_hdf5(out: Path) -> bool:
    """Whether what is to be written there is HDF5."""
    return out.suffix.lower() in (".h5", ".hdf5")


def open_tracks(
    out: Path, bundle: Bundle, lengths: Mapping[str, int], stride: int, bin: int, *, force: bool
) -> AbstractContextManager[WriteBlock]:
    """What takes blocks, in the order of the genome, and leaves the files whole or not at all.

    Args:
        out: A folder, or an HDF5 file.
        bundle: Of the targets.
        lengths: Of each chromosome, in bp.
        stride: From the beginning of a cell to that of the next, in bp.
        bin: Of a cell, so many bp at its beginning have its value, or all where it is shorter.
        force: Replace what stands there.
    """
    if is_hdf5(out):
        return _hdf5(out, bundle, lengths, stride, bin, force)
    return _bigwigs(out, bundle, lengths, stride, min(stride, bin), force)


@contextmanager
def _bigwigs(
    out: Path, bundle: Bundle, lengths: Mapping[str, int], stride: int, span: int, force: bool
) -> Iterator[WriteBlock]:
    _allow_open_files(len(bundle.targets) + _OTHER_FILES)
    used: set[str] = set()
    names = [f"{file_stem(target.name, used)}.bw" for target in bundle.targets]
    with atomic_folder(out, holding=MARKER, force=force) as folder, ExitStack() as stack:
        lines = [f"{target.name}\t{target.group}\t{name}\n" for target, name in zip(bundle.targets, names, strict=True)]
        (folder / MARKER).write_text("target\tgroup\tfile\n" + "".join(lines), encoding="utf-8")
        files = [stack.enter_context(open_bigwig(folder / name, lengths)) for name in names]

        def write(block: Block) -> None:
            for run in np.split(np.arange(len(block.cells)), np.flatnonzero(np.diff(block.cells) > 1) + 1):
                start = int(block.cells[run[0]]) * stride
                for file, values in zip(files, block.values[run].T.tolist(), strict=True):
                    _add(file, block.chrom, start, values, stride, span, lengths[block.chrom])

        yield write


def _add(file: Any, chrom: str, start: int, values: list[float], stride: int, span: int, length: int) -> None:
    """Adds values a stride apart, the last one cut off where the chromosome ends."""
    last = start + (len(values) - 1) * stride
    if last + span > length:
        if len(values) > 1:
            file.addEntries(chrom, start, values=values[:-1], span=span, step=stride)
        file.addEntries([chrom], [last], ends=[length], values=values[-1:])
    else:
        file.addEntries(chrom, start, values=values, span=span, step=stride)


def _allow_open_files(count: int) -> None:
    """As many open files as there are targets, and some; systems often allow a thousand unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise SeqclassError(
            f"{count:,} files must be open at once, and the system allows {hard:,}",
            remedy="Write HDF5 instead, as in --out tracks.h5, or raise the limit (ulimit -n)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@contextmanager
def _hdf5(
    out: Path, bundle: Bundle, lengths: Mapping[str, int], stride: int, bin: int, force: bool
) -> Iterator[WriteBlock]:
    with new_hdf5(out, force=force) as file:
        file.attrs.update({"seqclass": __version__, "model": bundle.version, "stride": stride, "bin": bin})
        file["targets"] = [target.name for target in bundle.targets]
        file["chromosomes/name"] = list(lengths)
        file["chromosomes/length"] = list(lengths.values())
        count = len(bundle.targets)
        for chrom, length in lengths.items():
            _track(file, chrom, -(-length // stride), count)

        def write(block: Block) -> None:
            data = file[f"tracks/{block.chrom}"]
            for run in np.split(np.arange(len(block.cells)), np.flatnonzero(np.diff(block.cells) > 1) + 1):
                first = int(block.cells[run[0]])
                data[first : first + len(run)] = block.values[run]

        yield write


def _track(file: h5py.File, chrom: str, cells: int, targets: int) -> None:
    chunk = max(1, min(cells, _CHUNK_BYTES // (4 * targets)))
    file.create_dataset(f"tracks/{chrom}", (cells, targets), np.float32, fillvalue=np.nan, chunks=(chunk, targets))
