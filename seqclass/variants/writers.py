"""Effects as a table (TSV) or as HDF5, row by row; whole at the end or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import h5py
import numpy as np

from seqclass.atomic import atomic_file, check_free
from seqclass.data.writer import new_hdf5
from seqclass.errors import SeqclassError
from seqclass.targets import Target
from seqclass.variants.annotated import annotate
from seqclass.variants.background import Background
from seqclass.variants.edits import Row
from seqclass.variants.effects import Effects, summarise
from seqclass.variants.vcf_variants import VcfVariants

_TABLES, _HDF5, _VCFS = (".tsv", ".tsv.gz"), (".h5", ".hdf5"), (".vcf", ".vcf.gz", ".bcf")
_CHUNK_BYTES = 1 << 20


class Writer(Protocol):
    """Takes rows and their effects, portion by portion, in order."""

    def write(self, rows: Sequence[Row], scores: Effects) -> None: ...


class _Source(Protocol):
    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def count(self) -> int: ...

    @property
    def identity(self) -> dict[str, object]: ...


def open_writer(
    out: Path,
    source: _Source,
    targets: Sequence[Target],
    columns: Sequence[int],
    background: Background | None,
    *,
    force: bool,
) -> AbstractContextManager[Writer]:
    """What writes the kind of file that the ending of `out` says, once its context is entered.

    Args:
        out: The file.
        source: Of the rows.
        targets: Of the model.
        columns: The targets shown, where not all are; none for what is usual for the kind of file.
        background: Stored within HDF5, or beside another file.
        force: Replace what stands there.

    Raises:
        SeqclassError: The ending is not known, or a VCF is to be annotated where the rows are of none.
        OutputExistsError: Where the background goes, something stands and `force` is false.
    """
    names = [target.name for target in targets]
    if out.name.endswith(_HDF5):
        return _hdf5(out, source, names, background, force)
    beside = out.with_name(f"{out.name}.background.h5")
    if background is not None:
        check_free(beside, force)
    if out.name.endswith(_TABLES):
        return _with_background(
            _table(out, source, names, columns or range(len(names)), background, force), beside, background, force
        )
    if not out.name.endswith(_VCFS):
        raise SeqclassError(
            f"the ending of '{out.name}' does not say what to write",
            remedy=f"Choose one of {', '.join((*_TABLES, *_HDF5, *_VCFS))}",
            file=out,
        )
    if not isinstance(source, VcfVariants):
        raise SeqclassError(
            "a VCF is to be written, where none was read",
            remedy=f"Choose one of {', '.join((*_TABLES, *_HDF5))}",
            file=out,
        )
    return _with_background(
        annotate(out, source, names, columns, background is not None, force), beside, background, force
    )


@contextmanager
def _with_background(
    writer: AbstractContextManager[Writer], beside: Path, background: Background | None, force: bool
) -> Iterator[Writer]:
    """A writer, and once it is done, the background in a file of its own."""
    with ExitStack() as stack:
        if background is not None:
            file = stack.enter_context(new_hdf5(beside, force=force))
            file["targets"] = background.targets
            background.store(file)
        yield stack.enter_context(writer)


class _Table:
    """Lines of a TSV: the row's labels, summaries over all targets, and each shown target's scores."""

    def __init__(self, stream: TextIO, names: Sequence[str], columns: Sequence[int]) -> None:
        self._stream, self._names, self._columns = stream, names, np.asarray(columns)

    def head(self, labels: Sequence[str], with_evalues: bool) -> None:
        kinds = ["delta_probability", "delta_logit", "product", *(["evalue"] if with_evalues else [])]
        summaries = ["most_affected", "max_abs_delta_logit", "mean_abs_delta_logit"]
        summaries += ["min_evalue"] if with_evalues else []
        scores = [f"{self._names[column]}:{kind}" for column in self._columns for kind in kinds]
        self._stream.write("\t".join([*labels, *summaries, *scores]) + "\n")

    def write(self, rows: Sequence[Row], scores: Effects) -> None:
        whole = summarise(scores)
        numbers = [whole.max_abs_delta_logit, whole.mean_abs_delta_logit]
        numbers += [] if whole.min_evalue is None else [whole.min_evalue]
        kinds = list(scores.named().values())
        # Target by target, its scores side by side.
        each = np.stack([kind[:, self._columns] for kind in kinds], axis=2).reshape(len(rows), -1)
        values = np.concatenate([np.stack(numbers, axis=1), each], axis=1)
        form = "\t".join(["%.5g"] * values.shape[1]) + "\n"
        for row, most, line in zip(rows, whole.most_affected.tolist(), values.tolist(), strict=True):
            self._stream.write("\t".join(map(str, (*row.labels, self._names[most]))) + "\t" + form % tuple(line))


@contextmanager
def _table(
    out: Path, source: _Source, names: Sequence[str], columns: Sequence[int], background: Background | None, force: bool
) -> Iterator[Writer]:
    with atomic_file(out, force=force) as partial, _open_text(partial, out.name.endswith(".gz")) as stream:
        table = _Table(stream, names, columns)
        table.head(source.columns, background is not None)
        yield table


def _open_text(path: Path, packed: bool) -> TextIO:
    if packed:
        return gzip.open(path, "wt", encoding="utf-8", newline="\n")
    return open(path, "w", encoding="utf-8", newline="\n")


class _Hdf5:
    """Data sets of as many rows as there are: the labels' columns, and each score `(rows, targets)`."""

    def __init__(self, file: h5py.File, columns: Sequence[str], count: int, num_targets: int) -> None:
        self._file, self._columns, self._shape, self._done = file, columns, (count, num_targets), 0

    def write(self, rows: Sequence[Row], scores: Effects) -> None:
        begin, end = self._done, self._done + len(rows)
        for column, name in enumerate(self._columns):
            values = [row.labels[column] for row in rows]
            of_numbers = isinstance(values[0], int)
            dtype: Any = np.int64 if of_numbers else h5py.string_dtype()
            self._data(name, dtype, self._shape[:1])[begin:end] = np.array(values, dtype=dtype)
        for name, each in {"reference": scores.reference, **scores.named()}.items():
            self._data(name, np.dtype(np.float32), self._shape)[begin:end] = each
        self._done = end

    def _data(self, name: str, dtype: Any, shape: tuple[int, ...]) -> h5py.Dataset:
        if name not in self._file:
            rows = max(1, min(shape[0], _CHUNK_BYTES // (4 * shape[-1]))) if len(shape) > 1 else min(shape[0], 1 << 14)
            self._file.create_dataset(name, shape, dtype, chunks=(rows, *shape[1:]))
        return self._file[name]


@contextmanager
def _hdf5(
    out: Path, source: _Source, names: Sequence[str], background: Background | None, force: bool
) -> Iterator[Writer]:
    with new_hdf5(out, force=force) as file:
        file["targets"] = list(names)
        for key, value in source.identity.items():
            file.attrs[key] = str(value)
        if background is not None:
            background.store(file)
        yield _Hdf5(file, source.columns, source.count, len(names))
