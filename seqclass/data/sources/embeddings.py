"""Precomputed embeddings of proteins (HDF5) to a store, with labels from a table or from the files' names.

A file holds a data set a protein: `(size,)` for the whole protein, or `(length, size)`, a vector a residue. Its key is
the protein's name, as ProtTrans writes it; or the name is its attribute `original_id`, as biotrainer writes it (Rost
lab; there the key is a hash).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import PROTEIN
from seqclass.atomic import check_free
from seqclass.data.sources.annotations import LabelFiles, Labelling, LabelTable, Unlabelled
from seqclass.data.sources.records import PLAIN, Policies, Record, import_records
from seqclass.data.store import FORMAT, Store
from seqclass.data.writer import VectorForm
from seqclass.errors import SourceError
from seqclass.progress import track

_NAME = "original_id"
_DTYPES = ("float16", "float32", "float64")

# No protein has so large an embedding: 35,000 residues of 5,120 numbers of 8 bytes take 1.4 GB.
_MOST_BYTES = 1 << 32


def import_embeddings(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    labels_table: str | Path | None = None,
    labels: Sequence[str] = ("label",),
    id: str | None = None,
    split: str | None = None,
    group: str | None = None,
    label_separator: str | None = None,
    unlabelled: Unlabelled = "error",
    policies: Policies = PLAIN,
    force: bool = False,
) -> Store:
    """Turns HDF5 files of embeddings into a store of vectors, a protein at a time.

    Labels come from `labels_table`; else each file holds one class, of its name. What a label means is told from all of
    them, see `seqclass.data.sources.table`. Vectors are kept as float16 where all are, else as float32.

    Args:
        paths: HDF5 files. They are read twice, the first time without their vectors.
        out: The store to write.
        labels_table: CSV or TSV, a row a protein.
        labels: Its columns of labels, each a question.
        id: Its column of names (default: id, name or accession, the first that there is).
        split: Its column of splits: train, valid or test.
        group: Its column of what must not be torn apart by a split.
        label_separator: What stands between the answers in a label that gives several.
        unlabelled: Whether a protein without a row in the table is an "error", or it is told to "drop" it, or its
            labels are "missing".
        policies: What becomes of long proteins, duplicates and unseen classes; letters do not occur.
        force: Replace what stands at `out`.

    Returns:
        The store; `provenance["notes"]` are sentences on what was found and done.

    Raises:
        SourceError: A file is missing, damaged, empty or has groups; what a protein has is no vector of numbers, not
            finite, or of another form than the others; a protein has no label; the table is damaged.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: `out` is one of the files that are read.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    check_free(out, force, inputs=[*files, labels_table])
    if not files:
        raise SourceError("no file of embeddings was given", remedy="Give at least one")
    if labels_table is None and (id or split or group):
        raise SourceError("columns are named, but no table that has them", remedy="Name the table of labels, too")
    labelling: Labelling
    if labels_table is not None:
        labelling = LabelTable(labels_table, labels, id, split, group, label_separator, unlabelled)
    else:
        labelling = LabelFiles(files, label_separator)
    found = _look(files)

    def records() -> Iterator[Record]:
        for path in files:
            with _reading(path) as file:
                for embedding in _embeddings(file, path):
                    known = labelling.find(embedding.name, "", path, embedding.key)
                    if known is not None:
                        vectors = embedding.read(found.form)
                        yield Record(
                            embedding.name, vectors, known.labels, path, embedding.key, known.split, known.group
                        )

    return import_records(
        records(),
        labelling.cells.questions,
        out,
        alphabet=PROTEIN,
        provenance={
            "source": "embeddings",
            "files": {path.name: attributes for path, attributes in zip(files, found.attributes, strict=True)},
            "labels": labelling.origin,
            "vectors": {"of": found.unit, "size": found.form.size, "dtype": found.form.dtype},
        },
        notes=lambda: [*found.notes, *labelling.notes()],
        policies=policies,
        vectors=found.form,
        force=force,
    )


class _Embedding(NamedTuple):
    """What a file holds of a protein, not yet read."""

    path: Path
    key: str
    name: str
    dataset: h5py.Dataset
    shape: tuple[int, ...] | None
    dtype: str

    @property
    def unit(self) -> str:
        return "protein" if self.shape is None or len(self.shape) < 2 else "residue"

    def refuse(self, problem: str, remedy: str) -> SourceError:
        place = f"'{self.key}'" if self.key == self.name else f"'{self.key}' ({self.name})"
        return SourceError(problem, remedy=remedy, file=self.path, record=place)

    def read(self, form: VectorForm) -> NDArray[Any]:
        """`(length, size)`, length 1 where there is a vector for the whole protein."""
        with np.errstate(over="ignore"):
            vectors: NDArray[Any] = self.dataset[()].astype(form.dtype).reshape(-1, form.size)
        if not np.isfinite(vectors).all():
            bad = int((~np.isfinite(vectors).all(axis=1)).argmax())
            where = f"residue {bad + 1}" if self.unit == "residue" else "the protein"
            raise self.refuse(
                f"the vector of {where} has numbers that are NaN, infinite or too large for {form.dtype}",
                "Embed this protein again; half precision overflows with some models",
            )
        return vectors


class _Found(NamedTuple):
    """What files of embeddings hold: vectors of one form."""

    form: VectorForm
    unit: str
    attributes: list[dict[str, str]]
    notes: list[str]


def _look(files: Sequence[Path]) -> _Found:
    """Looks at all embeddings without reading their vectors; refuses what is none, or of two forms."""
    first: tuple[str, str, int] | None = None
    dtypes: Counter[str] = Counter()
    attributes = []
    for path in files:
        with _reading(path) as file:
            attributes.append({key: value for key, value in file.attrs.items() if isinstance(value, str)})
            before = dtypes.total()
            for embedding in track(_embeddings(file, path), "Looking at embeddings", len(file), "proteins"):
                size = _size(embedding)
                dtypes[embedding.dtype] += 1
                first = first or (embedding.name, embedding.unit, size)
                name, unit, expected = first
                if (embedding.unit, size) != (unit, expected):
                    raise embedding.refuse(
                        f"a vector of {size} numbers a {embedding.unit}, where '{name}' has one of {expected} a {unit}",
                        "Give embeddings of one model, all a protein or all a residue",
                    )
            if dtypes.total() == before:
                raise SourceError("this file holds no embedding", remedy="Leave it out, or embed again", file=path)
    assert first is not None, "a file without embeddings is refused"
    form = VectorForm(first[2], "float16" if list(dtypes) == ["float16"] else "float32")
    told = {
        "float16": f"{dtypes['float16']:,} embeddings in float16 were kept as float32, like the others.",
        "float64": f"{dtypes['float64']:,} embeddings in float64 were rounded to float32.",
    }
    notes = [note for dtype, note in told.items() if dtypes[dtype] and dtype != form.dtype]
    return _Found(form, first[1], attributes, notes)


def _size(embedding: _Embedding) -> int:
    """How many numbers a vector has."""
    shape = embedding.shape
    if embedding.dtype not in _DTYPES or shape is None or len(shape) not in (1, 2):
        raise embedding.refuse(
            f"an array {shape} of {embedding.dtype}, where (size,) or (length, size) of {', '.join(_DTYPES)} is wanted",
            "Give embeddings, a data set a protein",
        )
    if 0 in shape:
        raise embedding.refuse(f"an empty array {shape}", "Leave this protein out, or embed it again")
    written = embedding.dataset.id.get_storage_size()
    if not written or embedding.dataset.nbytes > _MOST_BYTES:
        raise embedding.refuse(
            f"an array {shape} of which {written:,} bytes were written",
            "The file is damaged, or its writing was cut short: embed this protein again",
        )
    return shape[-1]


def _embeddings(file: h5py.File, path: Path) -> Iterator[_Embedding]:
    for key in file:
        item = file[key]
        if not isinstance(item, h5py.Dataset):
            raise SourceError(
                "this is no data set, where each entry is the embedding of a protein",
                remedy="Bring all data sets to the top of the file",
                file=path,
                record=f"'{key}'",
            )
        name = item.attrs.get(_NAME, key)
        if isinstance(name, bytes | np.bytes_):
            name = name.decode()
        if not isinstance(name, str):
            raise SourceError(
                f"its attribute {_NAME} is {name!r}, where a name is expected",
                remedy="Write the protein's name there, or take the attribute out",
                file=path,
                record=f"'{key}'",
            )
        yield _Embedding(path, key, name, item, item.shape, item.dtype.name)


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading; what goes wrong with it becomes a SourceError."""
    if not path.is_file():
        problem = "this is no file" if path.exists() else "there is no such file"
        raise SourceError(problem, remedy="Name an HDF5 file of embeddings", file=path)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") == FORMAT:
                raise SourceError("this is a store already", remedy="Use it as it is", file=path)
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise SourceError(
            f"this is not HDF5, or it is truncated or damaged ({error})",
            remedy="Copy or compute the file again",
            file=path,
        ) from None
