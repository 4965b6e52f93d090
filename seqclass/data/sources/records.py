"""Sequences with labels: what every source of them turns its files into, and the one way from there to a store.

A source yields a `Record` a sequence and declares the `Question`s that its labels answer. What holds for all sources
is done here: letters, over-long and identical sequences, names that must differ, classes that training never sees.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Alphabet
from seqclass.data.lengths import TooLong, cut, join_ends, tell
from seqclass.data.letters import LetterPolicy, LetterReader
from seqclass.data.store import SPLITS, Store, Views
from seqclass.data.writer import StoreWriter, VectorForm, write_store
from seqclass.errors import SeqclassError, SourceError
from seqclass.metrics import MISSING
from seqclass.progress import progress
from seqclass.targets import Target

Label: TypeAlias = str | bool | frozenset[str] | None
Kind = Literal["class", "yes-no", "several"]
Unseen = Literal["drop", "unknown"]

# A portion is read and written at once: at most so many records, and about so many bytes.
_PORTION_RECORDS, _PORTION_BYTES = 4096, 16 << 20
_LABEL_ROWS = 1 << 16

# Names of contigs stand side by side in a store, each as wide as the longest.
_LONGEST_NAME = 500
_EXAMPLES = 3

_NO_SPLIT = _NO_GROUP = -1
_SPLIT_CODES: dict[str | None, int] = {None: _NO_SPLIT} | {name: code for code, name in enumerate(SPLITS)}

_Contigs = NDArray[np.int64]


class Record(NamedTuple):
    """A sequence and what is known of it.

    Args:
        name: Of the sequence; no two records share it.
        letters: As they stand in the file; for a store of embeddings, `(residues, size)` vectors.
        labels: An answer to each question: a class, yes or no, or a set of names; None where it is missing.
        file: Where it was found, for messages.
        record: Its line number, or its name in the file, likewise.
        split: "train", "valid" or "test"; None where there is no split, and then for all records.
        group: What must not be torn apart by a split, as a family; None where that is not known.
    """

    name: str
    letters: bytes | NDArray[Any]
    labels: tuple[Label, ...]
    file: Path
    record: str | int
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Question:
    """What labels answer.

    Args:
        name: Of the question: the group of its targets, or the one target of a yes-no question.
        kind: "class" where exactly one of several names is true, "several" where any number of them, "yes-no".
        names: Of the targets, in their order; then no other may occur. Left out, those found in train, sorted.
    """

    name: str
    kind: Kind
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policies:
    """What is done with records that are not plain.

    Args:
        letters: Letters that are not plain residues.
        max_length: The longest that a sample may be, in residues; None for any length.
        too_long: Of a longer sequence, keep the first residues ("head"), the last ("tail"), half of either joined
            ("both-ends"), or all in overlapping "windows", each a sample with the same labels.
        dedupe: Keep only the first of records with the same sequence.
        unseen: Drop a record of valid or test with a class that train never has, or keep it with that label missing
            ("unknown").

    Raises:
        SeqclassError: `max_length` is below 1, or a choice does not exist.
    """

    letters: LetterPolicy = field(default_factory=LetterPolicy)
    max_length: int | None = None
    too_long: TooLong = "both-ends"
    dedupe: bool = False
    unseen: Unseen = "drop"

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise SeqclassError(
                f"a maximal length of {self.max_length}", remedy="Give at least 1, or none to keep all residues"
            )
        for what, choice, choices in (
            ("too long", self.too_long, get_args(TooLong)),
            ("unseen", self.unseen, get_args(Unseen)),
        ):
            if choice not in choices:
                raise SeqclassError(
                    f"'{choice}' is no policy for what is {what}", remedy=f"Choose one of {', '.join(choices)}"
                )


# Letters as by default, any length, all records.
PLAIN = Policies()


def import_records(
    records: Iterable[Record],
    questions: Sequence[Question],
    out: str | Path,
    *,
    alphabet: Alphabet,
    provenance: dict[str, Any],
    notes: Sequence[str] | Callable[[], Sequence[str]] = (),
    policies: Policies = PLAIN,
    vectors: VectorForm | None = None,
    force: bool = False,
) -> Store:
    """Writes records into a store: a contig each, and one sample on it, or several where it is cut into windows.

    A class question becomes an exclusive group of targets, one a name; a question of several names a yes-or-no target a
    name, in a group; a yes-no question one target. Where two questions share a name of a target, all their targets are
    called `question=name`. Without any split, all samples are in train.

    Records are read once, some thousands at a time.

    Args:
        records: In the order of the store.
        questions: What the labels of every record answer.
        out: The store to write.
        alphabet: Of the letters.
        provenance: Where the records come from, anything that JSON can hold; read once all records are.
        notes: Sentences on what the source found, likewise; sentences on what was changed here follow them.
        policies: What is done with records that are not plain.
        vectors: The form of an embedded residue, where records hold vectors in place of letters.
        force: Replace what stands at `out`.

    Raises:
        SequenceError: A letter is refused, or a sequence is empty.
        SourceError: Two records share a name; a name, class, split or group cannot be used; only some records have a
            split, or none is in train; or there are no records.
        SeqclassError: The questions give no targets that could be told apart.
        OutputExistsError: Something stands at `out` and `force` is false.
        StoreError: The store could not be written, or a class question has fewer than two classes.
    """
    _check_questions(questions)
    reader = LetterReader(alphabet, policies.letters) if vectors is None else None
    ledger = _Ledger(questions, policies.dedupe)
    with write_store(out, alphabet, vectors=vectors, force=force) as writer:
        with progress("Reading sequences", unit="records") as advance:
            for portion in _portions(records):
                _add_portion(portion, reader, ledger, writer, policies)
                advance(len(portion))
        samples = _Samples(ledger, policies, alphabet.unit)
        samples.write(writer)
        told = [*(notes() if callable(notes) else notes), *(reader.notes() if reader else ()), *samples.notes]
        writer.finish({**provenance, "policies": asdict(policies), "samples": samples.counts, "notes": told})
    return Store(out)


def _portions(records: Iterable[Record]) -> Iterator[list[Record]]:
    portion: list[Record] = []
    size = 0
    for record in records:
        portion.append(record)
        size += len(record.letters) if isinstance(record.letters, bytes) else record.letters.nbytes
        if len(portion) == _PORTION_RECORDS or size >= _PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _add_portion(
    portion: list[Record], reader: LetterReader | None, ledger: _Ledger, writer: StoreWriter, policies: Policies
) -> None:
    """Enters records into the ledger, and writes the residues of those that are kept."""
    residues: NDArray[Any]
    if reader is not None:
        residues, lengths = reader.read([bytes(record.letters) for record in portion], lambda i: _place(portion[i]))
    else:
        residues = np.concatenate([np.asarray(record.letters) for record in portion])
        lengths = np.array([len(record.letters) for record in portion], dtype=np.int64)
        if not lengths.all():
            raise _fault(portion[int(lengths.argmin())], "it has no residue", "Remove it, or embed it again")
    fresh = ledger.enter(portion, residues, lengths)
    if not fresh.all():
        residues, lengths = residues[np.repeat(fresh, lengths)], lengths[fresh]
    ledger.lengths.append(lengths)
    if policies.max_length is not None and policies.too_long == "both-ends":
        residues, lengths = join_ends(residues, lengths, policies.max_length)
    names = [record.name for record, kept in zip(portion, fresh.tolist(), strict=True) if kept]
    if names:
        writer.add_contigs(names, residues, lengths)


def _place(record: Record) -> tuple[Path, str | int]:
    where = f"line {record.record}" if isinstance(record.record, int) else record.record
    return record.file, where if where == record.name else f"{where}, '{record.name}'"


def _fault(record: Record, problem: str, remedy: str) -> SourceError:
    file, where = _place(record)
    return SourceError(problem, remedy=remedy, file=file, record=where)


def _check_questions(questions: Sequence[Question]) -> None:
    for name, count in Counter(question.name for question in questions).items():
        if not name or count > 1:
            raise SeqclassError(
                f"{count} of the questions that labels answer are called '{name}'",
                remedy="Give each a name of its own",
            )


def _check_name(what: str, name: str, record: Record) -> None:
    if name and name.isprintable() and len(name) <= _LONGEST_NAME:
        return
    found = f"{what} is {name!r}" if len(name) <= _LONGEST_NAME else f"{what} has {len(name):,} characters"
    raise _fault(
        record,
        f"{found}, where 1 to {_LONGEST_NAME} printable characters are expected",
        "Rename it, without tabs and line ends",
    )


class _Column:
    """The labels of the records that are kept, for one question: a code each, that stands for one possible label.

    Attributes:
        names: Of the targets, once `settle` was called.
    """

    names: Sequence[str]

    def __init__(self, question: Question) -> None:
        self.question = question
        self._coded: dict[Label, int] = {None: MISSING}
        if question.kind == "yes-no":
            self._coded |= {False: 0, True: 1}
        self._codes = array("i")

    def code(self, label: Label, record: Record) -> int:
        """The code of a label, which may be new."""
        code = self._coded.get(label)
        if code is None:
            self._check(label, record)
            code = self._coded[label] = len(self._coded) - 1
        return code

    def _check(self, label: Label, record: Record) -> None:
        assert isinstance(label, str if self.question.kind == "class" else frozenset), "as its kind of question says"
        what, names = f"the label '{self.question.name}'", self.question.names
        for name in _names_in(label):
            _check_name(what, name, record)
            if names and name not in names:
                raise _fault(
                    record,
                    f"{what} is '{name}', where one of {_some(names, 20)} is expected",
                    "Correct it, or leave the record out",
                )

    def append(self, code: int) -> None:
        self._codes.append(code)

    def at(self, contig: int) -> int:
        """The code of an earlier record."""
        return self._codes[contig]

    def in_words(self, code: int) -> str:
        """The label that a code stands for, for messages."""
        label = self._labels[code]
        if isinstance(label, bool):
            return "yes" if label else "no"
        return ", ".join(_names_in(label)) or "none"

    @property
    def _labels(self) -> list[Label]:
        """The label of each code; the missing one is the last, so that -1 finds it."""
        missing, *known = self._coded
        return [*known, missing]

    def settle(self, train: _Contigs) -> None:
        """Fixes the targets, once all records are there: those told beforehand, or those of these records."""
        self._all = np.frombuffer(self._codes, dtype=np.int32)
        labels = self._labels
        if self.question.kind == "yes-no":
            self.names = [self.question.name]
            return
        found = {name for code in np.unique(self._all[train]).tolist() for name in _names_in(labels[code])}
        self.names = self.question.names or sorted(found)
        place = {name: number for number, name in enumerate(self.names)}
        self._places = [[place[name] for name in _names_in(label) if name in place] for label in labels]
        self._first_place = np.array([places[0] if places else MISSING for places in self._places], dtype=np.int32)

    def answers(self, contigs: _Contigs) -> NDArray[Any]:
        """Labels of records as a layout packs them: `(contigs, 1)` for a class, else `(contigs, targets)`."""
        codes = self._all[contigs]
        if self.question.kind == "yes-no":
            return codes[:, None]
        if self.question.kind == "class":
            return self._first_place[codes, None]
        rows = np.zeros((len(codes), len(self.names)), dtype=np.int8)
        for row, code in zip(rows, codes.tolist(), strict=True):
            row[self._places[code]] = 1
        rows[codes == MISSING] = MISSING
        return rows

    def missing(self, contigs: _Contigs) -> NDArray[np.bool_]:
        """Which records have no label, `(contigs,)`."""
        missing: NDArray[np.bool_] = self._all[contigs] == MISSING
        return missing

    def unseen(self, contigs: _Contigs) -> NDArray[np.bool_]:
        """Which records have a name in their label that is no target, `(contigs,)`."""
        if self.question.kind == "yes-no":
            return np.zeros(len(contigs), dtype=bool)
        pairs = zip(self._labels, self._places, strict=True)
        unseen: NDArray[np.bool_] = np.array([len(_names_in(label)) > len(places) for label, places in pairs])
        return unseen[self._all[contigs]]

    def unseen_names(self, contigs: _Contigs) -> list[str]:
        """What is in the labels of records and no target, sorted."""
        labels = self._labels
        found = {name for code in np.unique(self._all[contigs]).tolist() for name in _names_in(labels[code])}
        return sorted(found.difference(self.names))


def _names_in(label: Label) -> list[str]:
    """What a class or a set of names holds; nothing for other labels."""
    if isinstance(label, str):
        return [label]
    return sorted(label) if isinstance(label, frozenset) else []


class _Ledger:
    """All that is known of the records that are kept, apart from their residues, in small arrays.

    Args:
        questions: What labels answer.
        dedupe: Keep only the first of records with the same residues.

    Attributes:
        lengths: Of the records of each portion, before any was shortened.
    """

    def __init__(self, questions: Sequence[Question], dedupe: bool) -> None:
        self.columns = [_Column(question) for question in questions]
        self.names: dict[str, int] = {}
        self.lengths: list[_Contigs] = []
        self.splits = array("b")
        self.groups = array("i")
        self.group_names: dict[str, int] = {}
        self._places: list[tuple[Path, str | int]] = []
        self._digests: dict[bytes, int] | None = {} if dedupe else None
        self._left_out = self._conflicts = self._crossing = 0
        self._examples: list[str] = []

    def enter(self, portion: list[Record], residues: NDArray[Any], lengths: _Contigs) -> NDArray[np.bool_]:
        """Notes records down; returns which are kept, `(records,)`.

        Args:
            portion: The records.
            residues: Of all of them, one after the other.
            lengths: Of each.
        """
        kept = np.ones(len(portion), dtype=bool)
        ends = np.cumsum(lengths).tolist()
        for number, record in enumerate(portion):
            codes = [column.code(label, record) for column, label in zip(self.columns, record.labels, strict=True)]
            split = _SPLIT_CODES.get(record.split)
            if split is None:
                raise _fault(
                    record, f"its split is '{record.split}'", f"Name one of {', '.join(SPLITS)}, or none at all"
                )
            if self._digests is not None:
                part = residues[ends[number] - int(lengths[number]) : ends[number]]
                digest = hashlib.blake2b(part.tobytes(), digest_size=16).digest()
                first = self._digests.setdefault(digest, len(self.splits))
                if first < len(self.splits):
                    self._leave_out(record, codes, split, first)
                    kept[number] = False
                    continue
            self._enter(record, codes, split)
        return kept

    def _enter(self, record: Record, codes: list[int], split: int) -> None:
        _check_name("its name", record.name, record)
        contig = len(self.splits)
        first = self.names.setdefault(record.name, contig)
        if first < contig:
            raise _fault(
                record,
                f"'{record.name}' names two records, this one and that of {self.place(first)}",
                "Give each record a name of its own",
            )
        for column, code in zip(self.columns, codes, strict=True):
            column.append(code)
        self.splits.append(split)
        group = _NO_GROUP
        if record.group is not None:
            if record.group not in self.group_names:
                _check_name("its group", record.group, record)
            group = self.group_names.setdefault(record.group, len(self.group_names))
        self.groups.append(group)
        self._places.append((record.file, record.record))

    def _leave_out(self, record: Record, codes: list[int], split: int, first: int) -> None:
        """Notes down that a record has the residues of an earlier one, and whether the labels of the two differ."""
        self._left_out += 1
        self._crossing += split != self.splits[first]
        differing = [
            (column, code, column.at(first))
            for column, code in zip(self.columns, codes, strict=True)
            if code != column.at(first) and MISSING not in (code, column.at(first))
        ]
        self._conflicts += bool(differing)
        if differing and self._conflicts <= _EXAMPLES:
            ours = "; ".join(column.in_words(code) for column, code, _ in differing)
            theirs = "; ".join(column.in_words(code) for column, _, code in differing)
            earlier = next(islice(self.names, first, None))
            self._examples.append(f"{record.name} is {ours}, where {earlier} is {theirs}")

    def place(self, contig: int) -> str:
        """Where an earlier record was found, for messages."""
        file, record = self._places[contig]
        return f"{file}, line {record}" if isinstance(record, int) else f"{file}, {record}"

    def notes(self) -> list[str]:
        """What is to be said of the records that were left out."""
        if not self._left_out:
            return []
        total = self._left_out + len(self.splits)
        note = f"{self._left_out:,} of {total:,} records have the sequence of an earlier one and were left out"
        if self._crossing:
            note += f", {self._crossing:,} of them in another split than that"
        if not self._conflicts:
            return [f"{note}."]
        more = "" if self._conflicts <= _EXAMPLES else "; ..."
        conflicts = f"The labels of {self._conflicts:,} of them contradict those that were kept"
        return [f"{note}.", f"{conflicts} ({'; '.join(self._examples)}{more})."]


class _Samples:
    """What becomes of the records of a ledger: views, splits, labels and groups.

    Attributes:
        notes: Sentences on what was left out, cut or is missing.
        counts: Samples of each split.
    """

    def __init__(self, ledger: _Ledger, policies: Policies, unit: str) -> None:
        if not ledger.splits:
            raise SourceError("there are no records", remedy="Give a file with at least one")
        self._ledger = ledger
        self.notes = ledger.notes()
        split = self._complete_split()
        for column in ledger.columns:
            column.settle(np.flatnonzero(split == SPLITS.index("train")))
        contigs = self._without_unseen(np.arange(len(split)), policies.unseen)
        self._contig, start, length = self._cut(contigs, policies, unit)
        self._split = split[self._contig].astype(np.uint8)
        self._views = Views(
            self._contig.astype(np.int32),
            start,
            length.astype(np.int32),
            np.ones(len(self._contig), dtype=np.int8),
        )
        for column in ledger.columns:
            count = int(column.missing(self._contig).sum())
            if count:
                self.notes.append(f"{count:,} of {_counted(len(start), 'sample')} have no '{column.question.name}'.")
        self.counts = {name: int((self._split == code).sum()) for code, name in enumerate(SPLITS)}
        shown = ", ".join(f"{count:,} in {name}" for name, count in self.counts.items())
        self.notes.append(f"{_counted(len(start), 'sample')}: {shown}.")

    def _complete_split(self) -> NDArray[np.int8]:
        """The split of each record, which is train where none is known of any."""
        split = np.frombuffer(self._ledger.splits, dtype=np.int8)
        without = split == _NO_SPLIT
        if without.all():
            self.notes.append("No split was given, so all samples are in train; 'seqclass data split' divides them.")
            return np.zeros_like(split)
        if without.any():
            some, other = int(without.argmin()), int(without.argmax())
            raise SourceError(
                f"{int(without.sum()):,} of {len(split):,} records have no split, as that of "
                f"{self._ledger.place(other)}, and others have one, as that of {self._ledger.place(some)}",
                remedy="Give every record a split, or none",
            )
        if not (split == SPLITS.index("train")).any():
            raise SourceError(
                f"none of {len(split):,} records is in train",
                remedy="Put some into train, or give no splits and divide the store with 'seqclass data split'",
            )
        return split

    def _without_unseen(self, contigs: _Contigs, unseen: Unseen) -> _Contigs:
        """Those records whose class is in train, or all where the class becomes a missing label."""
        for column in self._ledger.columns:
            where = column.unseen(contigs)
            if not where.any():
                continue
            names = column.unseen_names(contigs)
            found = (
                f"{_counted(len(names), 'name')} of '{column.question.name}' that train never has "
                f"({_some(names, _EXAMPLES)})"
            )
            count = int(where.sum())
            if column.question.kind == "several":
                self.notes.append(f"Left out of the labels of {_counted(count, 'record')}: {found}.")
            elif unseen == "unknown":
                self.notes.append(f"Taken for a missing label in {_counted(count, 'record')}: {found}.")
            else:
                self.notes.append(f"Dropped {_counted(count, 'record')} of valid and test: {found}.")
                contigs = contigs[~where]
        return contigs

    def _cut(self, contigs: _Contigs, policies: Policies, unit: str) -> tuple[_Contigs, _Contigs, _Contigs]:
        """Views on records: contig, start and length of each."""
        lengths = np.concatenate(self._ledger.lengths)[contigs]
        if policies.max_length is None:
            return contigs, np.zeros_like(lengths), lengths
        note = tell(lengths, policies.max_length, policies.too_long, unit)
        if note:
            self.notes.append(note)
        if policies.too_long == "both-ends":
            lengths = np.minimum(lengths, policies.max_length)
        number, start, length = cut(lengths, policies.max_length, policies.too_long)
        return contigs[number], start, length

    def write(self, writer: StoreWriter) -> None:
        """Writes targets, labels and samples."""
        columns = self._ledger.columns
        classes = [column for column in columns if column.question.kind == "class"]
        binary = [column for column in columns if column.question.kind != "class"]
        missing = any(column.missing(self._contig).any() for column in binary)
        writer.set_targets(_targets(columns), [column.question.name for column in classes], missing)
        for begin in range(0, len(self._contig), _LABEL_ROWS):
            contigs = self._contig[begin : begin + _LABEL_ROWS]
            rows = [
                np.concatenate([column.answers(contigs) for column in part], axis=1) if part else None
                for part in (binary, classes)
            ]
            writer.add_labels(writer.layout.pack(*rows))
        writer.set_samples(self._views, self._split, self._groups())

    def _groups(self) -> tuple[NDArray[np.int64], list[str]] | None:
        """What must not be torn apart: as the records say; a sequence of which they say nothing is by itself."""
        told = list(self._ledger.group_names)
        if not told and len(np.unique(self._contig)) == len(self._contig):
            return None
        group = np.frombuffer(self._ledger.groups, dtype=np.int32)[self._contig].astype(np.int64)
        alone = group == _NO_GROUP
        if told and alone.any():
            count = _counted(int(alone.sum()), "sample")
            self.notes.append(f"{count} without a group: each sequence of these is a group by itself.")
        group[alone] = len(told) + self._contig[alone]
        used, index = np.unique(group, return_inverse=True)
        names = [*told, *self._ledger.names]
        return index, [names[code] for code in used.tolist()]


def _targets(columns: Sequence[_Column]) -> list[Target]:
    """The targets of all questions, in their order; those of two that share a name carry that of their question."""
    times = Counter(chain.from_iterable(column.names for column in columns))
    targets = []
    for column in columns:
        question = column.question
        if question.kind == "yes-no":
            targets.append(Target(question.name))
            continue
        shared = any(times[name] > 1 for name in column.names)
        targets += [Target(f"{question.name}={name}" if shared else name, question.name) for name in column.names]
    return targets


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
