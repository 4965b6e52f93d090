"""Writing a store, in portions of any size, whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Alphabet
from seqclass.atomic import atomic_file
from seqclass.data.labels import LabelLayout, Packed
from seqclass.data.store import FORMAT, LABEL_CHUNK_BYTES, TOKEN_CHUNK_BYTES, VERSION, Views
from seqclass.errors import SeqclassError, StoreError
from seqclass.targets import Target

# Of fewer chunks, a last one that is hardly filled would be more than a tenth.
_FEWEST_CHUNKS = 10

_BYTE = np.dtype(np.uint8)


class VectorForm(NamedTuple):
    """The form of an embedded residue: how many numbers, of what type ("float16" or "float32")."""

    size: int
    dtype: str


class Sink:
    """A file for HDF5 to write to, which keeps a failure to itself until HDF5 has let go of it.

    HDF5 can never close a data set that it could not flush, and crashes on it when the process ends.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self._failure: OSError | None = None

    def write(self, data: memoryview) -> int:
        done = 0
        try:
            while self._failure is None and done < len(data):
                done += self._raw.write(data[done:]) or 0
        except OSError as error:
            self._failure = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            if self._failure is None:
                self._raw.truncate(size)
        except OSError as error:
            self._failure = error
        return size

    def complain(self) -> None:
        if self._failure:
            raise self._failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@contextmanager
def new_hdf5(path: str | Path, *, force: bool = False) -> Iterator[h5py.File]:
    """An HDF5 file to write into, which takes the place of `path` when it is whole.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        SeqclassError: What stands there is no file, or the disk is full.
    """
    with atomic_file(path, force=force) as partial, open(partial, "r+b", buffering=0) as raw:
        sink = Sink(raw)
        with h5py.File(sink, "w") as file:
            yield file
        sink.complain()


class _Rows:
    """A data set that grows by rows; it waits in memory until it is known to be large enough for chunks."""

    def __init__(
        self, file: h5py.File, name: str, row: tuple[int, ...], chunk_bytes: int, dtype: np.dtype[Any] = _BYTE
    ) -> None:
        self._file, self.name, self._row, self._dtype = file, name, row, dtype
        self._chunk = max(1, chunk_bytes // (math.prod(row) * dtype.itemsize))
        self._waiting: list[NDArray[Any]] = []
        self._dataset: h5py.Dataset | None = None
        self.count = 0

    def append(self, rows: NDArray[Any]) -> None:
        if self._dataset is None:
            if self.count + len(rows) < _FEWEST_CHUNKS * self._chunk:
                self._waiting.append(rows.astype(self._dtype))
                self.count += len(rows)
                return
            shape, chunk = (0, *self._row), (self._chunk, *self._row)
            self._dataset = self._file.create_dataset(
                self.name, shape, self._dtype, maxshape=(None, *self._row), chunks=chunk
            )
            self._dataset.resize(self.count, axis=0)
            begin = 0
            for part in self._waiting:
                self._dataset[begin : begin + len(part)] = part
                begin += len(part)
            self._waiting = []
        self._dataset.resize(self.count + len(rows), axis=0)
        self._dataset[self.count :] = rows
        self.count += len(rows)

    def finish(self) -> None:
        if self._dataset is None:
            self._file[self.name] = np.concatenate([np.empty((0, *self._row), self._dtype), *self._waiting])


class StoreWriter:
    """Fills a new store; obtained from `write_store`. Contigs and labels are appended in any portions.

    Attributes:
        layout: Of the rows of labels, once `set_targets` was called.
    """

    layout: LabelLayout

    def __init__(self, file: h5py.File, alphabet: Alphabet, sink: Sink, vectors: VectorForm | None) -> None:
        self.alphabet = alphabet
        self._sink = sink
        self._file = file
        if vectors is None:
            self._tape = _Rows(file, "tokens", (), TOKEN_CHUNK_BYTES)
        else:
            self._tape = _Rows(file, "vectors", (vectors.size,), TOKEN_CHUNK_BYTES, np.dtype(vectors.dtype))
        self._names: list[NDArray[np.bytes_]] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._labels: list[_Rows] | None = None

    def add_contigs(self, names: Sequence[str], residues: NDArray[Any], lengths: NDArray[Any] | None = None) -> None:
        """Appends contigs, all in one array.

        Args:
            names: Of the contigs.
            residues: `(residues,)` tokens, or `(residues, size)` vectors, of all of them, one after the other.
            lengths: `(contigs,)`, where that falls apart (default: it is one contig).
        """
        if lengths is None:
            lengths = np.array([len(residues)])
        self._tape.append(residues)
        self._sink.complain()
        self._names.append(np.array([name.encode() for name in names], dtype=np.bytes_))
        self._lengths.append(np.asarray(lengths, dtype=np.int64))

    def set_targets(self, targets: Sequence[Target], exclusive: Sequence[str] = (), missing: bool = False) -> None:
        """Declares what the labels are; once, before `add_labels`.

        Args:
            targets: In the order of a model's outputs.
            exclusive: Names of the groups of which exactly one target is true.
            missing: Whether labels of yes-or-no targets can be missing.

        Raises:
            SeqclassError: There is none, two share a name, a name cannot be printed, or an exclusive group has but one.
        """
        self.layout = LabelLayout(tuple(targets), tuple(exclusive), missing)
        group = self._file.create_group("targets")
        for name in Target._fields:
            texts = [getattr(target, name).encode() for target in targets]
            fixed = h5py.string_dtype("utf-8", max(1, *map(len, texts)))
            self._compressed(group, name, np.array(texts, dtype=fixed))
        self._labels = []
        if self.layout.bit_bytes:
            for part in ("labels", "present") if missing else ("labels",):
                self._labels.append(_Rows(self._file, part, (self.layout.bit_bytes,), LABEL_CHUNK_BYTES))
        if exclusive:
            self._labels.append(_Rows(self._file, "classes", (len(exclusive),), LABEL_CHUNK_BYTES, np.dtype("<i4")))

    def add_labels(self, packed: Packed) -> None:
        """Appends the packed labels of the next samples, `(samples, layout.row_bytes)`."""
        assert self._labels is not None, "set_targets comes first"
        bits = self.layout.bit_bytes
        for number, part in enumerate(self._labels):
            if part.name == "classes":
                part.append(self.layout.classes(packed))
            else:
                part.append(packed[:, number * bits : (number + 1) * bits])
        self._sink.complain()

    def set_samples(
        self,
        views: Views,
        split: NDArray[np.uint8],
        groups: tuple[NDArray[np.integer[Any]], Sequence[str]] | None = None,
    ) -> None:
        """Writes all views, the split of each, and where known its group, in the order of the labels.

        Args:
            views: The samples.
            split: `(samples,)`, an index into `SPLITS`.
            groups: What must not be torn apart by a split: an index for each sample, and the groups' names.
        """
        assert self._labels, "set_targets comes first"
        assert {len(split), *(part.count for part in self._labels)} == {len(views)}, "as many of each as samples"
        group = self._file.create_group("views")
        for name in ("contig", "start", "length", "strand"):
            self._compressed(group, name, getattr(views, name))
        self._compressed(self._file, "split", split.astype(np.uint8))
        if groups is not None:
            index, names = groups
            group = self._file.create_group("groups")
            self._compressed(group, "index", index.astype(np.int32))
            self._compressed(group, "name", np.array([name.encode() for name in names], dtype=np.bytes_))

    def finish(self, provenance: dict[str, Any]) -> None:
        """Writes what is known only at the end; `provenance` is anything JSON can hold."""
        assert self._labels is not None, "set_targets comes first"
        self._tape.finish()
        for part in self._labels:
            part.finish()
        lengths = np.concatenate(self._lengths)
        group = self._file.create_group("contigs")
        self._compressed(group, "name", np.concatenate(self._names))
        self._compressed(group, "length", lengths)
        self._compressed(group, "start", np.cumsum(lengths) - lengths)
        self._file.attrs["alphabet"] = self.alphabet.name
        self._file.attrs["provenance"] = json.dumps(provenance)
        if self.layout.exclusive:
            self._file.attrs["exclusive"] = json.dumps(list(self.layout.exclusive))
        self._file.attrs["version"] = VERSION
        self._file.attrs["format"] = FORMAT

    @staticmethod
    def _compressed(group: h5py.Group, name: str, data: NDArray[Any]) -> None:
        if len(data):
            group.create_dataset(name, data=data, compression="gzip", compression_opts=1, shuffle=True)
        else:
            group.create_dataset(name, data=data)


@contextmanager
def write_store(
    path: str | Path, alphabet: Alphabet, *, vectors: VectorForm | None = None, force: bool = False
) -> Iterator[StoreWriter]:
    """Yields a writer; the store stands at `path` once the block ends, and not at all if it fails.

    Args:
        path: Where it is to stand.
        alphabet: Of the sequences.
        vectors: The form of a residue, where not tokens but embeddings are written.
        force: Replace the file that stands there.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        StoreError: The file could not be written (a full disk, say).
    """
    with atomic_file(path, force=force) as partial:
        try:
            with open(partial, "r+b", buffering=0) as raw:
                sink = Sink(raw)
                try:
                    with h5py.File(sink, "w", libver=("v110", "v110")) as file:
                        yield StoreWriter(file, alphabet, sink, vectors)
                finally:
                    sink.complain()
        except SeqclassError:
            raise
        except (OSError, RuntimeError) as error:
            raise StoreError(
                f"the store could not be written ({error})",
                remedy="Make room on the disk; what stood here before is untouched",
                file=path,
            ) from error
