"""The DeepSEA data set: 1,000-bp windows of the human genome, each labelled with 919 chromatin features.

Zhou & Troyanskaya, "Predicting effects of noncoding variants with deep learning-based sequence model", Nature Methods
12, 931-934 (2015). A label says that more than half of the window's central 200 bp lies in a peak of that feature.

The three files, `train.mat` (MATLAB 7.3), `valid.mat` and `test.mat` (MATLAB 5), hold in MATLAB's order the one-hot
windows `(samples, 4, window)`, channels A, G, C, T, and the labels `(samples, targets)`. The second half of the samples
are the reverse complements of the first half.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens, reverse_complement
from seqclass.atomic import check_free
from seqclass.data.labels import pack_labels
from seqclass.data.sources.matlab import MatlabArray, Slices, find_array
from seqclass.data.store import SPLITS, Store, Views
from seqclass.data.writer import StoreWriter, write_store
from seqclass.errors import SourceError
from seqclass.progress import progress
from seqclass.targets import Target

_CHANNELS = "AGCT"
_BIN = 200
# The tokens of a block take a quarter of its one-hot form. An array above 32 MiB goes back to the system once it is
# freed; smaller ones would leave holes between the names of the contigs.
_ONEHOT_BLOCK_BYTES, _LABEL_BLOCK_BYTES = 160 << 20, 64 << 20

_Bytes = NDArray[np.uint8]


def deepsea_targets() -> list[Target]:
    """The 919 targets in the order of the label columns, named `cell|factor|treatment` in groups DNase, TF and histone.

    Where experiments share a name, the second and later ones carry their number, as in `K562|CTCF|None.2`.
    """
    table = resources.files("seqclass.data.sources").joinpath("deepsea_targets.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if not line.startswith("#")]
    seen: Counter[str] = Counter()
    targets = []
    for _, cell, factor, treatment, group in rows[1:]:
        name = f"{cell}|{factor}|{treatment}"
        seen[name] += 1
        targets.append(Target(name if seen[name] == 1 else f"{name}.{seen[name]}", group))
    return targets


def import_deepsea(
    out: str | Path,
    *,
    train: str | Path | None = None,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    force: bool = False,
) -> Store:
    """Turns DeepSEA's MATLAB files, at least one of the three, into one store.

    The samples come in the order train, valid, test, each in its file's order. In a split whose second half is verified
    to be the reverse complement of the first, with equal labels, the second half becomes views on the other strand;
    else all windows of that split are stored as they are. `provenance["notes"]` says which.

    Memory stays bounded whatever the number of samples; arrays that cannot be read by slices are unpacked into nameless
    scratch files in the folder of `out`, each of the array's full size.

    Args:
        out: The store to write.
        train: File with `trainxdata` (samples, 4, window) and `traindata` (samples, targets), in MATLAB's order.
        valid: File with `validxdata` and `validdata`.
        test: File with `testxdata` and `testdata`.
        force: Replace what stands at `out`.

    Raises:
        SourceError: A file is missing, damaged, or lacks an array; shapes do not fit; a base is not one-hot, or a label
            neither 0 nor 1.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: `out` is one of the files that are read.
        StoreError: The store or the scratch files could not be written.
    """
    check_free(out, force, inputs=[train, valid, test])
    files = {name: Path(path) for name, path in zip(SPLITS, (train, valid, test), strict=True) if path is not None}
    if not files:
        raise SourceError("no DeepSEA file was given", remedy="Give at least one of train, valid and test")
    splits = [_find_split(name, path) for name, path in files.items()]
    _refuse_differences(splits)
    window, num_targets = splits[0].window, splits[0].num_targets
    targets = deepsea_targets()
    notes = []
    if num_targets != len(targets):
        notes.append(
            f"The label matrices have {num_targets} columns where DeepSEA has {len(targets)}: "
            f"the targets are named target_0 to target_{num_targets - 1}."
        )
        targets = [Target(f"target_{column}") for column in range(num_targets)]

    with write_store(out, DNA, force=force) as writer:
        writer.set_targets(targets)
        imports = [_import_split(split, targets, writer, scratch=Path(out).parent) for split in splits]
        writer.set_samples(
            _views(imports),
            np.repeat([SPLITS.index(each.name) for each in splits], [each.num_samples for each in splits]),
        )
        writer.finish(
            {
                "source": "deepsea",
                "files": {name: {"path": str(path), "bytes": path.stat().st_size} for name, path in files.items()},
                "samples": {each.name: each.num_samples for each in splits},
                "reverse_complements_verified": {each.split.name: each.paired for each in imports},
                "window": window,
                "bin": _BIN,
                "notes": notes + [each.note for each in imports],
            }
        )
    return Store(out)


@dataclass(frozen=True)
class _Split:
    """The two arrays of a file: one-hot `(window, 4, samples)`, labels `(targets, samples)`."""

    name: str
    onehot: MatlabArray
    labels: MatlabArray

    @property
    def window(self) -> int:
        return self.onehot.shape[0]

    @property
    def num_targets(self) -> int:
        return self.labels.shape[0]

    @property
    def num_samples(self) -> int:
        return self.onehot.shape[-1]


def _find_split(name: str, path: Path) -> _Split:
    split = _Split(name, find_array(path, f"{name}xdata"), find_array(path, f"{name}data"))
    for array, expected, fits in (
        (split.onehot, "(samples, 4, window)", len(split.onehot.shape) == 3 and split.onehot.shape[1] == 4),
        (split.labels, "(samples, targets)", len(split.labels.shape) == 2),
    ):
        if not fits or min(array.shape) < 1:
            raise SourceError(
                f"its shape is {array.matlab_shape} in MATLAB's order, where {expected} is expected",
                remedy=f"Give DeepSEA's {name}.mat, or an array of that shape",
                file=path,
                record=array.name,
            )
    if split.labels.shape[-1] != split.num_samples:
        raise SourceError(
            f"{split.onehot.name} holds {split.num_samples} samples, {split.labels.name} {split.labels.shape[-1]}",
            remedy="Give a file in which both describe the same samples",
            file=path,
        )
    return split


def _refuse_differences(splits: list[_Split]) -> None:
    first = splits[0]
    for other in splits[1:]:
        for what, expected, found in (
            ("a window", first.window, other.window),
            ("number of targets", first.num_targets, other.num_targets),
        ):
            if found != expected:
                raise SourceError(
                    f"{what} of {found}, where {first.onehot.file} has {expected}",
                    remedy="Give files of one data set, or import them into separate stores",
                    file=other.onehot.file,
                )


@dataclass(frozen=True)
class _Imported:
    """A split that is in the store; `paired` says that its halves are the two strands of the same windows."""

    split: _Split
    paired: bool
    note: str

    @property
    def num_contigs(self) -> int:
        return self.split.num_samples // 2 if self.paired else self.split.num_samples


def _import_split(split: _Split, targets: list[Target], writer: StoreWriter, scratch: Path) -> _Imported:
    total = split.num_samples
    half, odd = divmod(total, 2)
    pairs = 0 if odd else half
    reason = "an odd number of samples has no two halves" if odd else ""

    labels = _Labels(split, writer, targets)
    with split.labels.open(scratch, _LABEL_BLOCK_BYTES) as slices:
        unlike = _copy(labels, slices, 0, half, pairs)
        _copy(labels, slices, half, total)
    if unlike is not None:
        pairs = 0
        reason = f"sample {half + unlike} does not carry the labels of sample {unlike} (counted from 0)"

    windows = _Windows(split, writer)
    with split.onehot.open(scratch, _ONEHOT_BLOCK_BYTES) as slices:
        unlike = _copy(windows, slices, 0, half, pairs)
        if unlike is not None:
            pairs = 0
            reason = f"sample {half + unlike} is not the reverse complement of sample {unlike} (counted from 0)"
        if not pairs:
            _copy(windows, slices, half, total)

    if pairs:
        note = (
            f"the second half is the reverse complement of the first, and stored as its other strand ({half:,} windows)"
        )
    else:
        note = f"all windows are stored forward only, since {reason}"
    return _Imported(split, bool(pairs), f"{split.name}: {note}.")


def _copy(part: _Labels | _Windows, slices: Slices, start: int, stop: int, pairs: int = 0) -> int | None:
    """Appends the samples from `start` to `stop` to the store.

    Where there are `pairs`, each sample is compared with the one that far behind it, its other strand; returns the
    first that is unlike it.
    """
    unlike = None
    width = slices.block[1]
    with progress(part.description, stop - start, "samples") as advance:
        for begin in range(start, stop, width):
            end = min(begin + width, stop)
            block = part.read(slices, begin, end)
            part.add(block, begin)
            if pairs and unlike is None:
                differs = (block != part.other_strand(part.read(slices, begin + pairs, end + pairs))).any(axis=0)
                if differs.any():
                    unlike = begin + int(differs.argmax())
            advance(end - begin)
    return unlike


class _Labels:
    """Label blocks, `(targets, samples)`."""

    def __init__(self, split: _Split, writer: StoreWriter, targets: list[Target]) -> None:
        self.description = f"Reading {split.name} labels"
        self._array, self._writer, self._targets = split.labels, writer, targets

    def read(self, slices: Slices, begin: int, end: int) -> _Bytes:
        block = slices.read(slice(0, self._array.shape[0]), slice(begin, end))
        bits = _as_bits(block)
        if bits is None:
            sample, target = np.argwhere(_not_bits(block).T)[0]
            raise SourceError(
                f"target {target} ({self._targets[target].name}) is labelled {block[target, sample]:g}, "
                "where 0 or 1 is expected",
                remedy="Give labels that are 0 or 1 throughout",
                file=self._array.file,
                record=f"{self._array.name}, sample {begin + sample} (counted from 0)",
            )
        return bits

    def add(self, block: _Bytes, begin: int) -> None:
        self._writer.add_labels(pack_labels(np.ascontiguousarray(block.T).view(np.bool_)))

    @staticmethod
    def other_strand(block: _Bytes) -> _Bytes:
        return block


class _Windows:
    """Token blocks, `(window, samples)`, decoded from one-hot `(window, 4, samples)`."""

    def __init__(self, split: _Split, writer: StoreWriter) -> None:
        self.description = f"Importing {split.name} windows"
        self._split, self._array, self._writer = split, split.onehot, writer

    def read(self, slices: Slices, begin: int, end: int) -> Tokens:
        window, rows = self._split.window, slices.block[0]
        tokens = np.empty((window, end - begin), np.uint8)
        for first in range(0, window, rows):
            onehot = slices.read(slice(first, min(first + rows, window)), slice(begin, end))
            if not _decode(onehot, tokens[first : first + rows]):
                self._refuse(onehot, first, begin)
        return tokens

    def add(self, block: Tokens, begin: int) -> None:
        window, count = block.shape
        names = [f"{self._split.name}:{sample}" for sample in range(begin, begin + count)]
        self._writer.add_contigs(names, np.ascontiguousarray(block.T).ravel(), np.full(count, window))

    @staticmethod
    def other_strand(block: Tokens) -> Tokens:
        return reverse_complement(block.T).T

    def _refuse(self, onehot: NDArray[Any], first: int, begin: int) -> None:
        bad = _not_bits(onehot).any(axis=1) | (onehot.sum(axis=1, dtype=np.float64) > 1)
        sample, position = np.argwhere(bad.T)[0]
        found = ", ".join(f"{value:g}" for value in onehot[position, :, sample])
        raise SourceError(
            f"position {first + position} (counted from 0) holds {found} for {', '.join(_CHANNELS)}, "
            "where a single 1 is expected, or all 0 for an unknown base",
            remedy="Give one-hot windows",
            file=self._array.file,
            record=f"{self._array.name}, sample {begin + sample} (counted from 0)",
        )


def _decode(onehot: NDArray[Any], out: Tokens) -> bool:
    """Writes the tokens of one-hot `(rows, 4, samples)` to `out`, `(rows, samples)`; false if it is not one-hot.

    Row by row, so that the few sums and shifts run within the processor's cache.
    """
    for channels, tokens in zip(onehot, out, strict=True):
        bits = _as_bits(channels)
        if bits is None:
            return False
        a, g, c, t = bits
        known = a + g + c + t
        if known.max() > 1:
            return False
        # A, C, G, T and unknown are 0 to 4: 4 less what the base that is set takes off.
        np.subtract(DNA.unknown_token, 3 * a + 2 * c + g + known, out=tokens)
    return True


def _as_bits(values: NDArray[Any]) -> _Bytes | None:
    """The values as uint8, or None if one of them is neither 0 nor 1."""
    if values.dtype != np.uint8:
        return None if _not_bits(values).any() else values.astype(np.uint8)
    return values if values.max() <= 1 else None


def _not_bits(values: NDArray[Any]) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = (values != 0) & (values != 1)
    return bad


def _views(imports: list[_Imported]) -> Views:
    contig, strand = [], []
    num_contigs = 0
    for each in imports:
        samples = np.arange(each.split.num_samples)
        contig.append((num_contigs + samples % each.num_contigs).astype(np.int32))
        strand.append(np.where(samples < each.num_contigs, 1, -1).astype(np.int8))
        num_contigs += each.num_contigs
    total = sum(len(part) for part in contig)
    window = imports[0].split.window
    return Views(
        np.concatenate(contig), np.zeros(total, np.int64), np.full(total, window, np.int32), np.concatenate(strand)
    )
