"""The store: one HDF5 file that holds a data set as a tape of residues, views on it, and packed labels.

Layout, version 2 (also in docs/store.md):

    attributes          format "seqclass-store", version, alphabet, provenance (JSON), exclusive (JSON)
    /tokens             (residues,) uint8, all contigs one after the other
    /vectors            (residues, size) float16 or float32, in place of tokens, for embeddings
    /contigs            name, start (on the tape), length
    /views              start (0-based, on the contig, may lie outside it), contig, length, strand (+1 or -1)
    /split              (samples,) uint8, an index into SPLITS
    /groups             index (samples,), name: what must not be torn apart by a split; only where known
    /targets            name, group
    /labels             bits of the yes-or-no targets, (samples, bytes) uint8, most significant bit first
    /present            as labels, which of them are known; only where any is missing
    /classes            (samples, exclusive groups) int32, the index of the true target in its group, -1 where missing

Tape and labels are contiguous where they are small, else in chunks, which readers need not know.

A sample is a view. Where a view reaches over its contig's ends it reads unknown residues, never the neighbour.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import get_alphabet
from seqclass.data.labels import LabelLayout, Packed
from seqclass.errors import StoreError, find_name
from seqclass.progress import track
from seqclass.targets import Target

FORMAT, VERSION = "seqclass-store", 2
SPLITS = ("train", "valid", "test")

# Large data sets are written in chunks of so many bytes, so they are read in such pieces.
TOKEN_CHUNK_BYTES, LABEL_CHUNK_BYTES = 1 << 20, 1 << 18

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

    def flipped(self, where: NDArray[np.bool_]) -> Views:
        """The same stretches, read from the other strand where told, `(views,)`."""
        return replace(self, strand=np.where(where, -self.strand, self.strand))


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
        targets = [
            Target(name, group)
            for name, group in zip(file["targets/name"].asstr()[:], file["targets/group"].asstr()[:], strict=True)
        ]
        self.layout = LabelLayout(targets, json.loads(file.attrs.get("exclusive", "[]")), "present" in file)
        self.contig_start: Indices = file["contigs/start"][:]
        self.contig_length: Indices = file["contigs/length"][:]
        self.views = Views(*(file[f"views/{name}"][:] for name in ("contig", "start", "length", "strand")))
        self.split: NDArray[np.uint8] = file["split"][:]
        self.groups: NDArray[np.int32] | None = file["groups/index"][:] if "groups" in file else None
        self.tape_name = "vectors" if "vectors" in file else "tokens"
        self.num_residues = int(file[self.tape_name].shape[0])
        self.vector_size: int | None = int(file["vectors"].shape[1]) if "vectors" in file else None
        self.dtype: np.dtype[Any] = file[self.tape_name].dtype
        rows = {len(self.views), len(self.split), *(file[name].shape[0] for name in self._label_parts)}
        if self.groups is not None:
            rows.add(len(self.groups))
        widths = sum(file[name].shape[1] * file[name].dtype.itemsize for name in self._label_parts)
        if self.contig_length.sum() != self.num_residues or len(rows) > 1 or widths != self.layout.row_bytes:
            raise StoreError("the parts of this store do not fit together", remedy="Import it again", file=self.path)

    @property
    def _label_parts(self) -> list[str]:
        """The arrays whose rows, side by side, are those of the layout."""
        parts = []
        if len(self.layout.binary):
            parts += ["labels", "present"] if self.layout.missing else ["labels"]
        return [*parts, "classes"] if self.layout.exclusive else parts

    def __len__(self) -> int:
        return len(self.views)

    @property
    def targets(self) -> Sequence[Target]:
        """Names and groups, in the order of the columns of labels."""
        return self.layout.targets

    @property
    def num_targets(self) -> int:
        return self.layout.num_targets

    @property
    def input_kind(self) -> str:
        """What a model reads from this store: "tokens" or "vectors"."""
        return self.tape_name

    @property
    def residue_bytes(self) -> int:
        """Bytes that a residue takes on the tape."""
        return self.dtype.itemsize * (self.vector_size or 1)

    @property
    def window(self) -> int | None:
        """The length that all samples share, in residues, or None where they differ."""
        lengths = self.views.length
        return int(lengths[0]) if len(lengths) and (lengths == lengths[0]).all() else None

    @cached_property
    def contig_names(self) -> list[str]:
        with self.open() as file:
            return [name.decode() for name in file["contigs/name"][:]]

    @cached_property
    def group_names(self) -> list[str]:
        """Names of the groups that `groups` counts; none where groups are not known."""
        with self.open() as file:
            return [name.decode() for name in file["groups/name"][:]] if "groups" in file else []

    def names(self, samples: Indices) -> list[str]:
        """The names of the contigs that samples lie on: chromosomes, or a protein each."""
        names = self.contig_names
        return [names[contig] for contig in self.views.contig[samples].tolist()]

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
        """`(samples, targets)` zeros and ones; a missing label reads as 0."""
        return self.layout.labels(self.packed_labels(samples))

    def known_labels(self, samples: Indices) -> NDArray[np.int8]:
        """`(samples, targets)`: 1, 0, or -1 where a label is missing, as metrics take it."""
        return self.layout.known_labels(self.packed_labels(samples))

    def present(self, samples: Indices) -> NDArray[np.bool_]:
        """Which labels are not missing, `(samples, targets)`."""
        return self.layout.present(self.packed_labels(samples))

    def classes(self, samples: Indices) -> NDArray[np.int32]:
        """`(samples, exclusive groups)`: the index of the true target among its group's, -1 where it is missing."""
        return self.layout.classes(self.packed_labels(samples))

    def packed_labels(self, samples: Indices) -> Packed:
        """The packed labels of any samples, in the order given, `(samples, layout.row_bytes)`."""
        out = np.empty((len(samples), self.layout.row_bytes), dtype=np.uint8)
        order = np.argsort(samples, kind="stable")
        ordered = samples[order]
        piece = ordered // max(1, LABEL_CHUNK_BYTES // out.shape[1])
        cuts = np.flatnonzero(np.diff(piece, prepend=-1, append=-1))
        with self.open() as file:
            column = 0
            for dataset in (file[name] for name in self._label_parts):
                width = dataset.shape[1] * dataset.dtype.itemsize
                for low, high in pairwise(cuts):
                    begin, end = ordered[low], ordered[high - 1] + 1
                    rows = dataset[begin:end].view(np.uint8)
                    out[order[low:high], column : column + width] = rows[ordered[low:high] - begin]
                column += width
        return out

    def positives(self, split: str) -> Indices:
        """How many samples of a split carry each target, `(targets,)`."""
        return self.label_counts(split)[0]

    def label_counts(self, split: str) -> tuple[Indices, Indices, int]:
        """How many samples of a split carry each target, for how many it is known, and how many carry any.

        The first two are `(targets,)`.
        """
        samples = self.samples(split)
        positives, known = (np.zeros(self.num_targets, dtype=np.int64) for _ in range(2))
        labelled = 0
        begins = range(0, len(samples), 1 << 16)
        for begin in track(begins, f"Counting labels of {split}", len(begins), "blocks"):
            more = self.layout.count(self.packed_labels(samples[begin : begin + (1 << 16)]))
            positives += more[0]
            known += more[1]
            labelled += more[2]
        return positives, known, labelled

    def checksum(self) -> str:
        """SHA-256 of the data (residues, views, split, groups, labels), independent of how HDF5 laid it out."""
        digest = hashlib.sha256(self.alphabet.name.encode())
        digest.update(json.dumps(self.targets).encode())
        with self.open() as file:
            for name in (self.tape_name, *self._label_parts):
                dataset = file[name]
                step = max(1, TOKEN_CHUNK_BYTES // (dataset.dtype.itemsize * math.prod(dataset.shape[1:])))
                begins = range(0, len(dataset), step)
                for begin in track(begins, f"Checksum of {name}", len(begins), "blocks"):
                    digest.update(dataset[begin : begin + step].tobytes())
        for part in (self.contig_length, self.views.contig, self.views.start, self.views.length, self.views.strand):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(self.split.tobytes())
        if self.layout.exclusive:
            digest.update(json.dumps(list(self.layout.exclusive)).encode())
        if self.groups is not None:
            digest.update(self.groups.tobytes())
            digest.update(json.dumps(self.group_names).encode())
        return digest.hexdigest()
