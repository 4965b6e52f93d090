"""FASTA files to a store, with labels from the headers, from a table, or from the files' names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqclass.alphabets import Alphabet
from seqclass.atomic import check_free
from seqclass.data.fasta import read_fasta
from seqclass.data.sources.annotations import (
    Annotation,
    Fate,
    LabelCells,
    LabelFiles,
    Labelling,
    LabelTable,
    Unlabelled,
    read_split,
)
from seqclass.data.sources.records import PLAIN, Policies, Record, import_records
from seqclass.data.store import Store
from seqclass.errors import SourceError


def import_fasta(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    alphabet: Alphabet,
    label_regex: str | None = None,
    split_regex: str | None = None,
    group_regex: str | None = None,
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
    r"""Turns FASTA files into a store.

    Labels come from the headers by `label_regex`, or from `labels_table`; else each file holds one class, of its name.
    What a label means is told from all of them, see `seqclass.data.sources.table`.

    A regular expression is looked for anywhere in a header, as it stands behind `>`; what its first group found counts,
    or all it found if it has no group. In `label_regex` each named group is a question of that name: with
    `(?P<location>\w+)-(?P<membrane>[MS])?$` there are two, and in a header that ends in "Nucleus-" the second label is
    missing.

    Args:
        paths: FASTA, plain or gzip. With `label_regex` they are read twice.
        out: The store to write.
        alphabet: Of the sequences.
        label_regex: Finds the labels in a header.
        split_regex: Finds train, valid or test (or training, validation, val, dev, testing); a header without it is
            of train.
        group_regex: Finds what must not be torn apart by a split; a header without it is of no group.
        labels_table: CSV or TSV, a row a sequence.
        labels: Its columns of labels, each a question.
        id: Its column of names, the first words of headers (default: id, name or accession, the first that there is).
        split: Its column of splits.
        group: Its column of groups.
        label_separator: What stands between the answers in a label that gives several.
        unlabelled: Whether a record without a row in the table, or whose header does not match `label_regex`, is an
            "error", or it is told to "drop" it, or its labels are "missing". Both are counted in a note.
        policies: What becomes of unusual letters, long sequences and duplicates.
        force: Replace what stands at `out`.

    Returns:
        The store; `provenance["notes"]` are sentences on what was found and done.

    Raises:
        SourceError: An option that cannot be; a record without labels or with a split that is none; two records of one
            name; a damaged table.
        SequenceError: A file is missing, damaged or no FASTA, or the policies refuse a sequence.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: `out` is one of the files that are read.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    check_free(out, force, inputs=[*files, labels_table])
    if not files:
        raise SourceError("no FASTA file was given", remedy="Give at least one")
    if label_regex is not None and labels_table is not None:
        raise SourceError("labels are to come from headers and from a table", remedy="Name one of the two")
    if labels_table is None and (id or split or group):
        raise SourceError("columns are named, but no table that has them", remedy="Name the table of labels, too")
    if (split_regex and split) or (group_regex and group):
        raise SourceError(
            "splits or groups are to come from headers and from a table", remedy="Name a regular expression or a column"
        )
    splits = None if split_regex is None else _Pattern("splits", split_regex)
    groups = None if group_regex is None else _Pattern("groups", group_regex)
    labelling: Labelling
    if label_regex is not None:
        labelling = _LabelHeaders(label_regex, files, label_separator, unlabelled)
    elif labels_table is not None:
        labelling = LabelTable(labels_table, labels, id, split, group, label_separator, unlabelled)
    else:
        labelling = LabelFiles(files, label_separator)

    def records() -> Iterator[Record]:
        for path in files:
            for record in read_fasta(path):
                known = labelling.find(record.name, record.description, path, record.line)
                if known is None:
                    continue
                header = _header(record.name, record.description)
                in_split, in_group = known.split, known.group
                if splits is not None:
                    in_split = read_split(splits.find(header) or "train", path, record.line)
                if groups is not None:
                    in_group = groups.find(header)
                yield Record(record.name, record.letters, known.labels, path, record.line, in_split, in_group)
        for pattern in (splits, groups):
            if pattern is not None:
                pattern.check_found(files)

    return import_records(
        records(),
        labelling.cells.questions,
        out,
        alphabet=alphabet,
        provenance={
            "source": "fasta",
            "files": [path.name for path in files],
            "labels": labelling.origin,
            "split_regex": split_regex,
            "group_regex": group_regex,
        },
        notes=labelling.notes,
        policies=policies,
        force=force,
    )


def _header(name: str, description: str) -> str:
    return f"{name} {description}" if description else name


class _Pattern:
    """A regular expression looked for in headers; remembers whether it was ever found."""

    def __init__(self, what: str, text: str) -> None:
        self.what = what
        self.found = False
        try:
            self.regex = re.compile(text)
        except re.error as error:
            raise SourceError(
                f"'{text}' is not a regular expression ({error})", remedy=f"Correct the one that finds {what}"
            ) from None

    def search(self, header: str) -> re.Match[str] | None:
        """Where it is found first, None if nowhere."""
        match = self.regex.search(header)
        self.found = self.found or match is not None
        return match

    def find(self, header: str) -> str | None:
        """What the first group found, or all that was found if there is no group."""
        match = self.search(header)
        return None if match is None else match[1 if self.regex.groups else 0]

    def check_found(self, files: Sequence[Path]) -> None:
        if not self.found:
            raise SourceError(
                f"the regular expression for {self.what}, '{self.regex.pattern}', is found in no header",
                remedy="Correct it, or leave it out",
                file=files[0] if len(files) == 1 else None,
            )


class _LabelHeaders:
    """Labels in the headers of FASTA files, which are read for them."""

    def __init__(self, text: str, files: Sequence[Path], separator: str | None, unlabelled: Unlabelled) -> None:
        self._pattern = _Pattern("labels", text)
        regex = self._pattern.regex
        self.origin = f"headers, by {text}"
        self._fate = Fate(unlabelled, f"do not match '{text}' in their headers")
        for path in files:
            if path.is_fifo():
                raise SourceError("this is a pipe, and it is read twice", remedy="Write it to a file first", file=path)
        names = list(regex.groupindex)
        self._groups: list[str | int] = [*names] or [1 if regex.groups else 0]
        self.cells = LabelCells(names or ["label"], self._search_all(files), separator, files[0])

    def _search_all(self, files: Sequence[Path]) -> Iterator[list[str]]:
        for path in files:
            for record in read_fasta(path):
                found = self._search(record.name, record.description)
                if found is not None:
                    yield found
        self._pattern.check_found(files)

    def find(self, name: str, description: str, file: Path, record: str | int) -> Annotation | None:
        found = self._search(name, description)
        if found is None:
            header = _header(name, description)[:80]
            problem = f"the labels, '{self._pattern.regex.pattern}', are not found in the header '{header}'"
            return self._fate.befall(self.cells, problem, file, record)
        return Annotation(self.cells.read(found))

    def _search(self, name: str, description: str) -> list[str] | None:
        match = self._pattern.search(_header(name, description))
        return None if match is None else [(match[group] or "").strip() for group in self._groups]

    def notes(self) -> list[str]:
        return [*self.cells.notes, *self._fate.notes()]
