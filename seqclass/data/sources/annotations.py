"""Labels that stand beside sequences: in columns of a table, or in the names of files.

What a column of labels asks is told from all of its cells: it is a yes-or-no question where they hold nothing but 0 and
1, true and false or yes and no; it may have several answers at a time where cells hold the separator; else its answer
is one of several classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

from seqclass.data.delimited import read_header, read_rows
from seqclass.data.sources.records import Label, Question
from seqclass.errors import SourceError

# The column of names, where a table has one of these.
_ID_COLUMNS = ("id", "name", "accession")

# What stands in a cell for "not known", as R and pandas write it.
_MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "#N/A"})

# With a point: so pandas writes a column of 0 and 1 in which a cell is empty.
_YES_NO = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}

# What becomes of a sequence of which nothing is said.
Unlabelled = Literal["error", "drop", "missing"]

# A column with more fractions than this measures something.
_MOST_FRACTIONS = 20


class Columns(NamedTuple):
    """Which columns of a table say what is known of a sequence; None where none says it."""

    labels: tuple[str, ...]
    id: str | None
    split: str | None
    group: str | None

    @classmethod
    def find(cls, path: Path, labels: Sequence[str], id: str | None, split: str | None, group: str | None) -> Columns:
        """The columns asked for, and where no column of names was, the first of the usual ones that the table has.

        Raises:
            SourceError: No column of labels was named, or one twice; or there is no header.
        """
        if not labels or len(set(labels)) < len(labels):
            raise SourceError(
                f"the columns of labels are {', '.join(labels) or 'none'}",
                remedy="Name at least one, each once",
                file=path,
            )
        header = {name.casefold() for name in read_header(path)}
        if id is None:
            id = next((name for name in _ID_COLUMNS if name in header), None)
        return cls(tuple(labels), id, split, group)


class Annotation(NamedTuple):
    """What is known of a sequence, and in a table the row's first line, the sequence's name and its letters."""

    labels: tuple[Label, ...]
    split: str | None = None
    group: str | None = None
    line: int = 0
    name: str = ""
    sequence: str = ""


def read_annotations(
    path: Path, columns: Columns, cells: LabelCells, sequence: str | None = None
) -> Iterator[Annotation]:
    """Yields what each row of a table says.

    Args:
        path: The table.
        columns: Which columns say it.
        cells: What the cells of the columns of labels mean.
        sequence: The column of sequences, if it has one.

    Raises:
        SourceError: The table is damaged, or a cell that should name a sequence or a split does not.
    """
    for line, row in read_rows(path, [*columns.labels, columns.id, columns.split, columns.group, sequence]):
        *labels, name, split, group, letters = row
        if columns.id is not None and not name:
            raise SourceError(f"column '{columns.id}' is empty", remedy="Write a name there", file=path, record=line)
        known_split = None if columns.split is None else read_split(split, path, line)
        known_group = None if group in _MISSING else group
        yield Annotation(cells.read(labels), known_split, known_group, line, name, letters)


class Labelling(Protocol):
    """Where the labels of sequences stand, if not beside each in a table.

    Attributes:
        cells: What the labels mean.
        origin: In words, for the provenance.
    """

    cells: LabelCells
    origin: str

    def find(self, name: str, description: str, file: Path, record: str | int) -> Annotation | None:
        """What is known of a sequence found in `file`, given its name and what is told behind it; None to drop it.

        Raises:
            SourceError: Nothing is known, and that is an error.
        """

    def notes(self) -> list[str]:
        """What was found and done, as sentences; to be read once all sequences were looked for."""


class LabelTable:
    """A table with a row a sequence, for sequences that stand in other files.

    Args:
        path: CSV or TSV, plain or gzip. It is read twice, and held in memory without its other columns.
        labels: Columns, each a question.
        id: The column of the sequences' names (default: id, name or accession, the first that there is).
        split: The column that says train, valid or test.
        group: The column of what must not be torn apart by a split.
        separator: What stands between the answers in a cell that gives several.
        unlabelled: Whether a sequence without a row is an "error", or it is told to "drop" it, or its labels are
            "missing".

    Raises:
        SourceError: The table is damaged, two rows have one name, or there is no column of names.
    """

    def __init__(
        self,
        path: str | Path,
        labels: Sequence[str],
        id: str | None,
        split: str | None,
        group: str | None,
        separator: str | None,
        unlabelled: Unlabelled,
    ) -> None:
        self._path = Path(path)
        self.origin = f"table {self._path.name}"
        self._fate = Fate(unlabelled, f"have no row in {self._path.name}")
        columns = Columns.find(self._path, labels, id, split, group)
        if columns.id is None:
            raise SourceError(
                f"there is no column {' or '.join(_ID_COLUMNS)}, and no other was named",
                remedy="Say which column holds the names of the sequences",
                file=path,
            )
        rows = (row.cells for row in read_rows(self._path, columns.labels))
        self.cells = LabelCells(columns.labels, rows, separator, self._path)
        self._found = 0
        self._rows: dict[str, Annotation] = {}
        for row in read_annotations(self._path, columns, self.cells):
            first = self._rows.setdefault(row.name, row)
            if first is not row:
                raise SourceError(
                    f"'{row.name}' has a row already, in line {first.line}",
                    remedy="Give each sequence one row",
                    file=path,
                    record=row.line,
                )

    def find(self, name: str, description: str, file: Path, record: str | int) -> Annotation | None:
        row = self._rows.get(name)
        if row is None:
            example = next(iter(self._rows))
            problem = f"'{name}' has no row in {self._path} (which has one for '{example}', for example)"
            return self._fate.befall(self.cells, problem, file, record)
        self._found += 1
        return row

    def notes(self) -> list[str]:
        unused = len(self._rows) - self._found
        more = [f"{unused:,} of {len(self._rows):,} rows of {self._path.name} have no sequence."] if unused else []
        return [*self.cells.notes, *self._fate.notes(), *more]


class LabelFiles:
    """Files that each hold the sequences of one class, the file's name without suffixes.

    Raises:
        SourceError: They do not hold at least two classes, or `separator` occurs in none of their names.
    """

    origin = "names of files"

    def __init__(self, paths: Sequence[Path], separator: str | None) -> None:
        stems = {path: [Path(path.name.removesuffix(".gz")).stem] for path in paths}
        if len({stem for (stem,) in stems.values()}) < 2:
            raise SourceError(
                "there is one class, where a file a class gives the labels",
                remedy="Give a file for each other class, or say where else labels stand",
                file=paths[0],
            )
        self.cells = LabelCells(["label"], stems.values(), separator, paths[0])
        self._known = {path: Annotation(labels=self.cells.read(stem)) for path, stem in stems.items()}

    def find(self, name: str, description: str, file: Path, record: str | int) -> Annotation | None:
        return self._known[file]

    def notes(self) -> list[str]:
        return self.cells.notes


class Fate:
    """What becomes of sequences of which nothing is known.

    Args:
        choice: An "error"; to "drop" them; or to keep them with their labels "missing".
        fault: Why nothing is known, as a verb with its object.

    Raises:
        SourceError: The choice does not exist.
    """

    def __init__(self, choice: Unlabelled, fault: str) -> None:
        if choice not in get_args(Unlabelled):
            raise SourceError(
                f"'{choice}' is nothing that can become of records without labels",
                remedy=f"Choose one of {', '.join(get_args(Unlabelled))}",
            )
        self._choice, self._fault = choice, fault
        self._count = 0

    def befall(self, cells: LabelCells, problem: str, file: Path, record: str | int) -> Annotation | None:
        """What is then taken as known of a sequence; `problem` says in full what is wrong with it."""
        if self._choice == "error":
            raise SourceError(
                problem,
                remedy="Correct that, or let records without labels be dropped (--unlabelled drop) or kept (missing)",
                file=file,
                record=record,
            )
        self._count += 1
        return None if self._choice == "drop" else Annotation(labels=(None,) * len(cells.questions))

    def notes(self) -> list[str]:
        if not self._count:
            return []
        done = "were dropped" if self._choice == "drop" else "were kept with their labels missing"
        return [f"{self._count:,} records {self._fault}; they {done}."]


def read_split(word: str, file: Path, record: int) -> str:
    """The split that a word in a file means.

    Raises:
        SourceError: It means none.
    """
    split = _SPLIT_WORDS.get(word.casefold())
    if split is None:
        raise SourceError(
            f"the split is '{word[:40]}', where {', '.join(_SPLIT_WORDS)} are understood",
            remedy="Write one of these, or name no column of splits and let 'seqclass data split' choose",
            file=file,
            record=record,
        )
    return split


class LabelCells:
    """What the cells of questions mean, told from all of them together.

    Args:
        names: Of the questions.
        rows: All rows, each with a cell a question.
        separator: What stands between the answers in a cell that gives several.
        file: Where they come from, for messages.

    Attributes:
        questions: In the order of `names`.
        notes: How they were understood, as sentences.

    Raises:
        SourceError: A question has no answer at all or only measurements for one, or no cell holds the separator.
    """

    def __init__(self, names: Sequence[str], rows: Iterable[Sequence[str]], separator: str | None, file: Path) -> None:
        found: list[set[str]] = [set() for _ in names]
        for row in rows:
            for cells, cell in zip(found, row, strict=True):
                cells.add(cell)
        if separator is not None and not any(separator in cell for cells in found for cell in cells if separator):
            raise SourceError(
                f"the separator of labels '{separator}' occurs in none of them",
                remedy="Name another one, or none",
                file=file,
            )
        self.questions: list[Question] = []
        self.notes: list[str] = []
        self._meanings: list[dict[str, Label]] = []
        for name, cells in zip(names, found, strict=True):
            question, meanings = _understand(name, cells, separator, file)
            self.questions.append(question)
            self._meanings.append(meanings)
            if question.kind == "yes-no":
                shown = ", ".join(sorted(cells - _MISSING))
                self.notes.append(f"'{name}' holds only {shown}: it is one yes-or-no target.")

    def read(self, row: Sequence[str]) -> tuple[Label, ...]:
        """The labels of a row."""
        return tuple(meanings[cell] for meanings, cell in zip(self._meanings, row, strict=True))


def _understand(name: str, cells: set[str], separator: str | None, file: Path) -> tuple[Question, dict[str, Label]]:
    meanings: dict[str, Label] = dict.fromkeys(cells & _MISSING)
    told = cells - _MISSING
    if not cells:
        raise SourceError("there are no records", remedy="Give at least one behind the header", file=file)
    if not told:
        raise SourceError(f"all labels of '{name}' are missing", remedy="Name another column of labels", file=file)
    if all(cell.casefold() in _YES_NO for cell in told):
        return Question(name, "yes-no"), meanings | {cell: _YES_NO[cell.casefold()] for cell in told}
    if separator and any(separator in cell for cell in told):
        for cell in told:
            meanings[cell] = frozenset(filter(None, (part.strip() for part in cell.split(separator)))) or None
        return Question(name, "several"), meanings
    fractions = [cell for cell in told if "." in cell and _is_number(cell)]
    if len(fractions) > _MOST_FRACTIONS and all(_is_number(cell) for cell in told):
        raise SourceError(
            f"'{name}' holds {len(told):,} different numbers, such as {min(fractions)}, where classes are expected",
            remedy="Name another column, or turn the numbers into a few classes first",
            file=file,
        )
    return Question(name, "class"), meanings | {cell: cell for cell in told}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
