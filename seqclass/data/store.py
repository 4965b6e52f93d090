"""The store: one HDF5 file that holds a data set as a tape of tokens, views on it, and packed labels.

Layout, version 1 (also in docs/store.md):

    attributes          format "seqclass-store", version, alphabet, provenance (JSON)
    /tokens             (residues,) uint8, all contigs one after the other
    /contigs            name, start (on the tape), length
    /views              start (0-based, on the contig, may lie outside it), contig, length, strand (+1 or -1)
    /split              (samples,) uint8, an index into SPLITS
    /targets            name, group
    /labels             (samples, ceil(targets / 8)) uint8, bit-packed, most significant bit first

Tokens and labels are contiguous where they are small, else in chunks, which readers need not know.

A sample is a view. Where a view reaches over its contig's ends it reads unknown residues, never the neighbour.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Tokens, get_alphabet, reverse_complement
from seqclass.data.intervals import Union
from seqclass.errors import StoreError, find_name
from seqclass.progress import track
from seqclass.targets import Target

FORMAT, VERSION = "seqclass-store", 1
SPLITS = ("train", "valid", "test")

# Large data sets are written in chunks of so many bytes, so they are read in such pieces.
TOKEN_CHUNK_BYTES, LABEL_CHUNK_BYTES = 1 << 20, 1 << 18

_READ_BYTES = 1 << 20

Packed = NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Views:
    """Samples as intervals: four arrays of one length.

    Args:
        contig: Index into the store's contigs.
        start: First residue, 0-based on the contig; negative before its beginning.
        length: In residues.
        strand: +1, or -1 for the reverse complement.
    """

    contig: NDArray[np.int32]
    start: NDArray[np.int64]
    length: NDArray[np.int32]
    strand: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, samples: Any) -> Views:
        return Views(self.contig[samples], self.start[samples], self.length[samples], self.strand[samples])


def pack_labels(labels: NDArray[Any]) -> Packed:
    """Packs `(samples, targets)` zeros and ones into `(samples, ceil(targets / 8))` bytes."""
    return np.packbits(labels.astype(bool, copy=False), axis=1)


def unpack_labels(packed: Packed, num_targets: int) -> NDArray[np.uint8]:
    """`(samples, targets)` zeros and ones from their packed form."""
    return np.unpackbits(packed, axis=1, count=num_targets)


class Store:
    """A store opened for reading. Handles are opened where they are used, so it may be pickled and forked.

    Args:
        path: An HDF5 file written by `seqclass.data.writer.write_store`.

    Raises:
        StoreError: It is missing, truncated, not a store, or of a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with h5py.File(self.path, "r") as file:
                self._read(file)
        except FileNotFoundError:
            raise StoreError(
                "there is no such file", remedy="Make one with 'seqclass data import'", file=path
            ) from None
        except IsADirectoryError:
            raise StoreError(
                "this is a folder, where a store is expected", remedy="Name a store in it", file=path
            ) from None
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise StoreError(
                f"this is not a store, or it is truncated or damaged ({error})",
                remedy="Import it again with 'seqclass data import'",
                file=path,
            ) from None

    def _read(self, file: h5py.File) -> None:
        if file.attrs.get("format") != FORMAT:
            raise StoreError(
                "this HDF5 file is not a seqclass store",
                remedy="Turn raw data into a store with 'seqclass data import'",
                file=self.path,
            )
        self.version = int(file.attrs["version"])
        if self.version > VERSION:
            raise StoreError(
                f"this store has format version {self.version}, newer than version {VERSION} that is understood here",
                remedy="Install a newer seqclass, or import the data again",
                file=self.path,
            )
        self.alphabet = get_alphabet(file.attrs["alphabet"])
        self.provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
        self.targets = [
            Target(name, group)
            for name, group in zip(file["targets/name"].asstr()[:], file["targets/group"].asstr()[:], strict=True)
        ]
        self.contig_start: Indices = file["contigs/start"][:]
        self.contig_length: Indices = file["contigs/length"][:]
        self.views = Views(*(file[f"views/{name}"][:] for name in ("contig", "start", "length", "strand")))
        self.split: NDArray[np.uint8] = file["split"][:]
        self.num_residues = int(file["tokens"].shape[0])
        counts = {len(self.views), len(self.split), file["labels"].shape[0]}
        if self.contig_length.sum() != self.num_residues or len(counts) > 1:
            raise StoreError("the parts of this store do not fit together", remedy="Import it again", file=self.path)

    def __len__(self) -> int:
        return len(self.views)

    @property
    def num_targets(self) -> int:
        return len(self.targets)

    @property
    def window(self) -> int | None:
        """The length that all samples share, in residues, or None where they differ."""
        lengths = self.views.length
        return int(lengths[0]) if len(lengths) and (lengths == lengths[0]).all() else None

    @cached_property
    def contig_names(self) -> list[str]:
        with self.open() as file:
            return [name.decode() for name in file["contigs/name"][:]]

    @contextmanager
    def open(self) -> Iterator[h5py.File]:
        """The HDF5 file, open for reading within the block."""
        with h5py.File(self.path, "r") as file:
            yield file

    def samples(self, split: str) -> Indices:
        """Indices of the samples of "train", "valid" or "test", in the store's order.

        Raises:
            UnknownNameError: There is no such split.
        """
        return np.flatnonzero(self.split == SPLITS.index(find_name("split", split, SPLITS)))

    def distinct(self, samples: Indices) -> Indices:
        """`samples` without those that are the same locus as an earlier one, read from the other strand."""
        views = self.views[samples]
        loci = np.stack([views.contig, views.start, views.length], axis=1)
        _, first = np.unique(loci, axis=0, return_index=True)
        return samples[np.sort(first)]

    def labels(self, samples: Indices) -> NDArray[np.uint8]:
        """`(samples, targets)` zeros and ones."""
        return unpack_labels(self.packed_labels(samples), self.num_targets)

    def packed_labels(self, samples: Indices) -> Packed:
        """The packed labels of any samples, in the order given."""
        out = np.empty((len(samples), (self.num_targets + 7) // 8), dtype=np.uint8)
        with self.open() as file:
            labels = file["labels"]
            order = np.argsort(samples, kind="stable")
            ordered = samples[order]
            piece = ordered // max(1, LABEL_CHUNK_BYTES // out.shape[1])
            cuts = np.flatnonzero(np.diff(piece, prepend=-1, append=-1))
            for low, high in pairwise(cuts):
                begin, end = ordered[low], ordered[high - 1] + 1
                out[order[low:high]] = labels[begin:end][ordered[low:high] - begin]
        return out

    def positives(self, split: str) -> Indices:
        """How many samples of a split carry each target, `(targets,)`."""
        return self.label_counts(split)[0]

    def label_counts(self, split: str) -> tuple[Indices, int]:
        """How many samples of a split carry each target, `(targets,)`, and how many carry any."""
        samples = self.samples(split)
        positives, labelled = np.zeros(self.num_targets, dtype=np.int64), 0
        begins = range(0, len(samples), 1 << 16)
        for begin in track(begins, f"Counting labels of {split}", len(begins), "blocks"):
            labels = self.labels(samples[begin : begin + (1 << 16)])
            positives += labels.sum(axis=0, dtype=np.int64)
            labelled += int(labels.any(axis=1).sum())
        return positives, labelled

    def tokens(self, sample: int) -> Tokens:
        """The tokens of one sample, `(length,)`."""
        samples = np.array([sample])
        row: Tokens = Tape(self, samples).windows(samples)[0]
        return row

    def checksum(self) -> str:
        """SHA-256 of the data (tokens, views, split, labels), independent of how HDF5 laid it out."""
        digest = hashlib.sha256(self.alphabet.name.encode())
        digest.update(json.dumps(self.targets).encode())
        with self.open() as file:
            for name in ("tokens", "labels"):
                dataset = file[name]
                step = max(1, TOKEN_CHUNK_BYTES // math.prod(dataset.shape[1:]))
                begins = range(0, len(dataset), step)
                for begin in track(begins, f"Checksum of {name}", len(begins), "blocks"):
                    digest.update(dataset[begin : begin + step].tobytes())
        for part in (self.contig_length, self.views.contig, self.views.start, self.views.length, self.views.strand):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(self.split.tobytes())
        return digest.hexdigest()


class Tape:
    """The stretches of a store's tokens that the views of some samples cover, in memory, and the windows cut from them.

    Args:
        store: The store they come from.
        samples: Indices of samples, in any order. What views share is held once, what lies between them not at all.

    Attributes:
        tokens: All stretches, one after the other.
    """

    def __init__(self, store: Store, samples: Indices) -> None:
        self.store = store
        covered = Union(*extent(store, samples))
        lengths = covered.end - covered.start
        offsets = np.cumsum(lengths) - lengths
        self.tokens: Tokens = np.empty(lengths.sum(), dtype=np.uint8)
        self._begins = covered.start
        self._shifts = offsets - covered.start
        # A read for each of many short stretches would be slow: neighbours are read with what lies between them.
        cell, is_long = covered.start // _READ_BYTES, lengths > _READ_BYTES
        cuts = np.flatnonzero((cell[1:] > cell[:-1]) | is_long[1:] | is_long[:-1]) + 1
        with store.open() as file:
            for first, behind in pairwise([0, *cuts.tolist(), len(lengths)]):
                begin, end = int(covered.start[first]), int(covered.end[behind - 1])
                if behind - first == 1:
                    offset = int(offsets[first])
                    file["tokens"].read_direct(self.tokens, np.s_[begin:end], np.s_[offset : offset + end - begin])
                    continue
                span = file["tokens"][begin:end]
                for start, length, offset in zip(
                    (covered.start[first:behind] - begin).tolist(),
                    lengths[first:behind].tolist(),
                    offsets[first:behind].tolist(),
                    strict=True,
                ):
                    self.tokens[offset : offset + length] = span[start : start + length]

    def place(self, positions: Indices) -> Indices:
        """Where in `tokens` positions on the store's tape are that the views cover."""
        placed: Indices = positions + self._shifts[np.searchsorted(self._begins, positions, side="right") - 1]
        return placed

    def windows(self, samples: Indices, flip: NDArray[np.bool_] | None = None) -> Tokens:
        """Tokens of samples that share a length, `(samples, length)`, in a fresh array.

        Args:
            samples: Indices of samples among those covered.
            flip: `(samples,)`; where true, the strand opposite to the view's is read.
        """
        store, views = self.store, self.store.views
        contig = views.contig[samples]
        local = views.start[samples]
        length = int(views.length[samples[0]])
        limit = store.contig_length[contig]
        inside = (local >= 0) & (local + length <= limit)
        origin = store.contig_start[contig]
        first_inside = np.clip(local, 0, limit)
        start = self.place(origin + first_inside) + local - first_inside
        if len(self.tokens) >= length:
            every = np.lib.stride_tricks.sliding_window_view(self.tokens, length)
            out: Tokens = every[np.where(inside, start, 0)]
        else:
            out = np.empty((len(samples), length), dtype=np.uint8)
        for row in np.flatnonzero(~inside):
            out[row] = store.alphabet.unknown_token
            first = max(0, -int(local[row]))
            last = min(length, int(limit[row] - local[row]))
            if first < last:
                out[row, first:last] = self.tokens[start[row] + first : start[row] + last]
        reverse = views.strand[samples] < 0
        if flip is not None:
            reverse = reverse ^ flip
        if reverse.any():
            out[reverse] = reverse_complement(out[reverse])
        return out


def extent(store: Store, samples: Indices) -> tuple[Indices, Indices]:
    """Where on the tape the views of samples begin and end, clipped to their contigs; two `(samples,)` arrays."""
    contig, begin = store.views.contig[samples], store.views.start[samples]
    end = begin + store.views.length[samples]
    # In place, since these may be all samples of a large store.
    origin, limit = store.contig_start[contig], store.contig_length[contig]
    for place in (begin, end):
        np.clip(place, 0, limit, out=place)
        place += origin
    return begin, end
