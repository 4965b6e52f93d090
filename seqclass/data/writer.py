"""Writing a store, in portions of any size, whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Alphabet, Tokens
from seqclass.atomic import atomic_file
from seqclass.data.store import FORMAT, LABEL_CHUNK_BYTES, TOKEN_CHUNK_BYTES, VERSION, Packed, Views
from seqclass.errors import SeqclassError, StoreError
from seqclass.targets import Target, check_targets

# Of fewer chunks, a last one that is hardly filled would be more than a tenth.
_FEWEST_CHUNKS = 10


class _Sink:
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


class _Rows:
    """A data set that grows by rows of bytes; it waits in memory until it is known to be large enough for chunks."""

    def __init__(self, file: h5py.File, name: str, row: tuple[int, ...], chunk_bytes: int) -> None:
        self._file, self._name, self._row = file, name, row
        self._chunk = max(1, chunk_bytes // math.prod(row))
        self._waiting: list[NDArray[np.uint8]] = []
        self._dataset: h5py.Dataset | None = None
        self.count = 0

    def append(self, rows: NDArray[np.uint8]) -> None:
        if self._dataset is None:
            if self.count + len(rows) < _FEWEST_CHUNKS * self._chunk:
                self._waiting.append(rows.copy())
                self.count += len(rows)
                return
            self._dataset = self._file.create_dataset(
                self._name, (0, *self._row), "u1", maxshape=(None, *self._row), chunks=(self._chunk, *self._row)
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
            self._file[self._name] = np.concatenate([np.empty((0, *self._row), np.uint8), *self._waiting])


class StoreWriter:
    """Fills a new store; obtained from `write_store`. Contigs and labels are appended in any portions."""

    def __init__(self, file: h5py.File, alphabet: Alphabet, sink: _Sink) -> None:
        self.alphabet = alphabet
        self._sink = sink
        self._file = file
        self._tokens = _Rows(file, "tokens", (), TOKEN_CHUNK_BYTES)
        self._names: list[NDArray[np.bytes_]] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._labels: _Rows | None = None

    def add_contigs(self, names: Sequence[str], tokens: Tokens, lengths: NDArray[np.int64] | None = None) -> None:
        """Appends contigs, all in one array; `lengths` says where it falls apart (default: it is one contig)."""
        if lengths is None:
            lengths = np.array([len(tokens)])
        self._tokens.append(tokens)
        self._sink.complain()
        self._names.append(np.array([name.encode() for name in names]))
        self._lengths.append(np.asarray(lengths, dtype=np.int64))

    def set_targets(self, targets: Sequence[Target]) -> None:
        """Declares the columns of the label matrix; once, before `add_labels`.

        Raises:
            SeqclassError: There is none, two share a name, or a name cannot be printed.
        """
        check_targets(targets)
        group = self._file.create_group("targets")
        for name in Target._fields:
            texts = [getattr(target, name).encode() for target in targets]
            fixed = h5py.string_dtype("utf-8", max(1, *map(len, texts)))
            self._compressed(group, name, np.array(texts, dtype=fixed))
        self._labels = _Rows(self._file, "labels", ((len(targets) + 7) // 8,), LABEL_CHUNK_BYTES)

    def add_labels(self, packed: Packed) -> None:
        """Appends the packed labels of the next samples, `(samples, ceil(targets / 8))`."""
        assert self._labels is not None, "set_targets comes first"
        self._labels.append(packed)
        self._sink.complain()

    def set_samples(self, views: Views, split: NDArray[np.uint8]) -> None:
        """Writes all views and the split of each, in the order of the labels."""
        assert self._labels is not None, "set_targets comes first"
        assert len(views) == len(split) == self._labels.count, "one view, one split and one row of labels a sample"
        group = self._file.create_group("views")
        for name in ("contig", "start", "length", "strand"):
            self._compressed(group, name, getattr(views, name))
        self._compressed(self._file, "split", split.astype(np.uint8))

    def finish(self, provenance: dict[str, Any]) -> None:
        """Writes what is known only at the end; `provenance` is anything JSON can hold."""
        assert self._labels is not None, "set_targets comes first"
        self._tokens.finish()
        self._labels.finish()
        lengths = np.concatenate(self._lengths)
        group = self._file.create_group("contigs")
        self._compressed(group, "name", np.concatenate(self._names))
        self._compressed(group, "length", lengths)
        self._compressed(group, "start", np.cumsum(lengths) - lengths)
        self._file.attrs["alphabet"] = self.alphabet.name
        self._file.attrs["provenance"] = json.dumps(provenance)
        self._file.attrs["version"] = VERSION
        self._file.attrs["format"] = FORMAT

    @staticmethod
    def _compressed(group: h5py.Group, name: str, data: NDArray[Any]) -> None:
        if len(data):
            group.create_dataset(name, data=data, compression="gzip", compression_opts=1, shuffle=True)
        else:
            group.create_dataset(name, data=data)


@contextmanager
def write_store(path: str | Path, alphabet: Alphabet, *, force: bool = False) -> Iterator[StoreWriter]:
    """Yields a writer; the store stands at `path` once the block ends, and not at all if it fails.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        StoreError: The file could not be written (a full disk, say).
    """
    with atomic_file(path, force=force) as partial:
        try:
            with open(partial, "r+b", buffering=0) as raw:
                sink = _Sink(raw)
                try:
                    with h5py.File(sink, "w", libver=("v110", "v110")) as file:
                        yield StoreWriter(file, alphabet, sink)
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
