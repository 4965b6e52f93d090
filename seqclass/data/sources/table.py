"""A table with a sequence a row and what is known of it (CSV, TSV), to a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from seqclass.alphabets import Alphabet
from seqclass.atomic import check_free
from seqclass.data.delimited import read_rows
from seqclass.data.sources.annotations import Columns, LabelCells, read_annotations
from seqclass.data.sources.records import PLAIN, Policies, Record, import_records
from seqclass.data.store import Store
from seqclass.errors import SourceError


def import_table(
    path: str | Path,
    out: str | Path,
    *,
    alphabet: Alphabet,
    sequence: str = "sequence",
    labels: Sequence[str] = ("label",),
    id: str | None = None,
    split: str | None = None,
    group: str | None = None,
    label_separator: str | None = None,
    policies: Policies = PLAIN,
    force: bool = False,
) -> Store:
    """Turns a table with a sequence a row into a store.

    Args:
        path: CSV or TSV, plain or gzip, see `seqclass.data.delimited.read_rows`. It is read twice.
        out: The store to write.
        alphabet: Of the sequences.
        sequence: The column of sequences.
        labels: Columns, each a question. An empty cell or NA is a missing label.
        id: The column of names, all different (default: id, name or accession, the first that there is; where there is
            none, rows are named by their number, from 1).
        split: The column that says train, valid (also val, validation, dev) or test (default: all is train).
        group: The column of what must not be torn apart by a split, such as a family; empty where not known.
        label_separator: What stands between the answers in a cell that gives several.
        policies: What becomes of unusual letters, long sequences and duplicates.
        force: Replace what stands at `out`.

    Returns:
        The store; `provenance["notes"]` are sentences on what was found and done.

    Raises:
        SourceError: The table is damaged, a column does not exist, a cell does not hold what its column should, or two
            rows have one name.
        SequenceError: The file is missing, or the policies refuse a sequence.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: `out` is the table.
    """
    path = Path(path)
    check_free(out, force, inputs=[path])
    columns = Columns.find(path, labels, id, split, group)
    cells = LabelCells(columns.labels, (row.cells for row in read_rows(path, columns.labels)), label_separator, path)

    def records() -> Iterator[Record]:
        for number, row in enumerate(read_annotations(path, columns, cells, sequence), start=1):
            if not row.sequence:
                raise SourceError(
                    f"column '{sequence}' is empty",
                    remedy="Write a sequence there, or take the row out",
                    file=path,
                    record=row.line,
                )
            name = row.name if columns.id else str(number)
            yield Record(name, row.sequence.encode(), row.labels, path, row.line, row.split, row.group)

    return import_records(
        records(),
        cells.questions,
        out,
        alphabet=alphabet,
        provenance={"source": "table", "file": path.name, "sequence": sequence, **columns._asdict()},
        notes=cells.notes,
        policies=policies,
        force=force,
    )
