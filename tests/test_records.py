from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN
from seqclass.data.letters import LetterPolicy
from seqclass.data.sources import records as module
from seqclass.data.sources.records import Label, Policies, Question, Record, import_records
from seqclass.data.store import SPLITS, Store
from seqclass.data.tape import read_samples
from seqclass.data.writer import VectorForm
from seqclass.errors import OutputExistsError, SeqclassError, SequenceError, SourceError
from seqclass.targets import Target

FILE = Path("some.tsv")
FAMILY = Question("family", "class")


def record(
    name: str, letters: Any = b"MKV", *labels: Label, split: str | None = None, group: str | None = None, line: int = 1
) -> Record:
    return Record(name, letters, labels, FILE, line, split, group)


def families(*rows: tuple[str, str | None, str | None]) -> list[Record]:
    """Records of the name, family and split of each, with sequences that differ."""
    return [
        record(name, b"M" * number + b"K", family, split=split, line=number + 1)
        for number, (name, family, split) in enumerate(rows)
    ]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Store]:
    def run(records: Any, questions: Sequence[Question] = (FAMILY,), **options: Any) -> Store:
        options = {"alphabet": PROTEIN, "provenance": {"source": "test"}, "force": True} | options
        return import_records(records, questions, tmp_path / "store.h5", **options)

    return run


def sequences(store: Store) -> list[str]:
    return [store.alphabet.decode(read_samples(store, [sample])[0][0]) for sample in range(len(store))]


def everything(store: Store) -> np.ndarray[Any, Any]:
    return np.arange(len(store))


def told(store: Store) -> str:
    return " ".join(store.provenance["notes"])


SPLIT_NAMES = st.sampled_from(SPLITS)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.text(PROTEIN.letters + "X", min_size=1, max_size=30), st.sampled_from("abcd"), SPLIT_NAMES),
        min_size=1,
        max_size=25,
    ),
    portion=st.integers(1, 8),
)
def test_any_records_read_back_equal_whatever_the_portions(
    load: Callable[..., Store], rows: list[tuple[str, str, str]], portion: int
) -> None:
    # Every class is in train, so nothing is dropped.
    rows = [("M", letter, "train") for letter in "abcd"] + rows
    given_ = [record(f"r{n}", text.encode(), label, split=split) for n, (text, label, split) in enumerate(rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PORTION_RECORDS", portion)
        patch.setattr(module, "_LABEL_ROWS", portion)
        store = load(iter(given_))
    assert sequences(store) == [text for text, _, _ in rows]
    assert store.names(everything(store)) == [f"r{n}" for n in range(len(rows))]
    assert ["abcd"[code] for code in store.classes(everything(store))[:, 0]] == [label for _, label, _ in rows]
    assert [SPLITS[code] for code in store.split] == [split for _, _, split in rows]
    assert store.provenance["samples"] == {name: sum(row[2] == name for row in rows) for name in SPLITS}
    assert store.groups is None


def test_questions_become_targets_and_their_labels(load: Callable[..., Store]) -> None:
    questions = [Question("place", "class"), Question("membrane", "yes-no"), Question("binds", "several")]
    store = load(
        [
            record("a", b"M", "nucleus", True, frozenset({"zinc", "iron"})),
            record("b", b"K", None, None, frozenset()),
            record("c", b"V", "cytosol", False, None),
        ],
        questions,
    )
    assert list(store.targets) == [
        Target("cytosol", "place"),
        Target("nucleus", "place"),
        Target("membrane"),
        Target("iron", "binds"),
        Target("zinc", "binds"),
    ]
    assert list(store.layout.exclusive) == ["place"]
    assert store.labels(everything(store)).tolist() == [[0, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert store.present(everything(store)).tolist() == [
        [True, True, True, True, True],
        [False, False, False, True, True],
        [True, True, True, False, False],
    ]
    for name in ("place", "membrane", "binds"):
        assert f"1 of 3 samples have no '{name}'." in told(store)


def test_a_missing_class_alone_needs_no_bits_for_what_is_missing(load: Callable[..., Store]) -> None:
    store = load(
        [record("a", b"M", "x", True), record("b", b"K", "y", False), record("c", b"V", None, True)],
        [FAMILY, Question("binds", "yes-no")],
    )
    assert not store.layout.missing
    assert store.classes(everything(store))[:, 0].tolist() == [0, 1, -1]


def test_targets_that_two_questions_share_carry_the_name_of_their_question(load: Callable[..., Store]) -> None:
    questions = [Question("place", "class"), Question("moves", "class"), Question("fold", "class")]
    store = load([record("a", b"M", "er", "er", "alpha"), record("b", b"K", "golgi", "lysosome", "beta")], questions)
    assert [target.name for target in store.targets] == [
        "place=er",
        "place=golgi",
        "moves=er",
        "moves=lysosome",
        "alpha",
        "beta",
    ]


def test_names_that_are_given_keep_their_order_and_admit_no_other(load: Callable[..., Store]) -> None:
    question = Question("place", "class", ("z", "y", "x"))
    store = load([record("a", b"M", "x"), record("b", b"K", "z")], [question])
    assert [target.name for target in store.targets] == ["z", "y", "x"]
    assert store.classes(everything(store))[:, 0].tolist() == [2, 0]
    with pytest.raises(SourceError, match=r"some\.tsv, line 8, 'b': the label 'place' is 'w'.*z, y, x"):
        load([record("a", b"M", "x"), record("b", b"K", "w", line=8)], [question])
    with pytest.raises(SourceError, match="'w'"):
        load([record("a", b"M", frozenset("xw"))], [Question("place", "several", ("x", "y"))])


ROWS = (
    ("a", "x", "train"),
    ("b", "new", "valid"),
    ("c", "y", "train"),
    ("d", "y", "test"),
    ("e", "odd", "test"),
    ("f", "new", "test"),
)


def test_records_of_a_class_that_train_never_has_are_dropped_and_counted(load: Callable[..., Store]) -> None:
    store = load(families(*ROWS))
    assert store.names(everything(store)) == ["a", "c", "d"]
    assert sequences(store) == ["K", "MMK", "MMMK"]
    assert store.classes(everything(store))[:, 0].tolist() == [0, 1, 1]
    assert "Dropped 3 records of valid and test: 2 names of 'family' that train never has (new, odd)." in told(store)
    assert "3 samples: 2 in train, 0 in valid, 1 in test." in told(store)


def test_such_records_can_be_kept_with_a_missing_label(load: Callable[..., Store]) -> None:
    store = load(families(*ROWS), policies=Policies(unseen="unknown"))
    assert store.classes(everything(store))[:, 0].tolist() == [0, -1, 1, 1, -1, -1]
    assert "Taken for a missing label in 3 records: 2 names of 'family' that train never has (new, odd)." in told(store)


def test_of_several_names_those_that_train_never_has_are_left_out(load: Callable[..., Store]) -> None:
    rows = [("a", "xy", "train"), ("b", "xz", "test"), ("c", "z", "valid")]
    store = load(
        [record(name, name.encode(), frozenset(names), split=split) for name, names, split in rows],
        [Question("binds", "several")],
        alphabet=PROTEIN,
    )
    assert store.labels(everything(store)).tolist() == [[1, 1], [1, 0], [0, 0]]
    assert "Left out of the labels of 2 records: 1 name of 'binds' that train never has (z)." in told(store)


def test_without_splits_all_is_train(load: Callable[..., Store]) -> None:
    store = load(families(("a", "x", None), ("b", "y", None)))
    assert len(store.samples("train")) == 2
    assert "all samples are in train; 'seqclass data split' divides them." in told(store)


def test_splits_for_some_records_only_are_refused(load: Callable[..., Store], tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"1 of 3 records have no split, as that of some\.tsv, line 2, and .* line 1\. Give every"
    ):
        load(families(("a", "x", "train"), ("b", "y", None), ("c", "y", "test")))
    with pytest.raises(SourceError, match="none of 2 records is in train"):
        load(families(("a", "x", "valid"), ("b", "y", "test")))
    with pytest.raises(SourceError, match=r"line 2, 'b': its split is 'dev'.*train, valid, test"):
        load(families(("a", "x", "train"), ("b", "y", "dev")))
    assert list(tmp_path.iterdir()) == []


def test_one_name_for_two_records_is_an_error_that_names_both(load: Callable[..., Store], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^some\.tsv, line 3, 'a': 'a' names two .* that of some\.tsv, line 1\."):
        load(families(("a", "x", None), ("b", "y", None), ("a", "y", None)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a\tb", "a\0", "n" * 501])
def test_a_name_that_could_not_be_stored_is_refused(load: Callable[..., Store], name: str) -> None:
    plain = families(("a", "x", "train"), ("b", "y", "train"))
    for bad in (
        record(name, b"MMM", "x", split="train"),
        record("c", b"MMM", name, split="train"),
        record("c", b"MMM", "x", split="train", group=name),
    ):
        with pytest.raises(SourceError, match="1 to 500 printable characters"):
            load([*plain, bad])


def test_identical_sequences_are_kept_once_and_their_conflicts_told(load: Callable[..., Store]) -> None:
    rows = [
        record("a", b"MKU", "x", split="train"),
        record("b", b"MKZ", "y", split="train"),
        record("c", b"MKV", "y", split="train"),
        record("d", b"mkx", "x", split="test"),
        record("e", b"MKV*", None, split="train"),
        record("f", b"MK", "x", split="test"),
    ]
    store = load(rows, policies=Policies(dedupe=True))
    assert store.names(everything(store)) == ["a", "c", "f"]
    assert sequences(store) == ["MKX", "MKV", "MK"]
    assert store.classes(everything(store))[:, 0].tolist() == [0, 1, 0]
    assert "3 of 6 records have the sequence of an earlier one and were left out, 1 of them in another split" in told(
        store
    )
    assert "The labels of 1 of them contradict those that were kept (b is y, where a is x)." in told(store)
    assert len(load(rows)) == 6


def test_no_more_than_three_conflicts_are_spelt_out(load: Callable[..., Store]) -> None:
    rows = [record("a", b"MK", "x"), *(record(f"b{n}", b"MK", "y") for n in range(5)), record("c", b"V", "y")]
    note = told(load(rows, policies=Policies(dedupe=True)))
    assert "The labels of 5 of them contradict" in note
    assert note.count("is y, where a is x") == 3


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text("MK", min_size=1, max_size=4), min_size=1, max_size=30), portion=st.integers(1, 7))
def test_deduping_keeps_what_a_dictionary_keeps(load: Callable[..., Store], texts: list[str], portion: int) -> None:
    rows = [record(f"r{n}", text.encode(), bool(n % 2)) for n, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PORTION_RECORDS", portion)
        store = load(rows, [Question("odd", "yes-no")], policies=Policies(dedupe=True))
    assert sequences(store) == list(dict.fromkeys(texts))
    firsts = [texts.index(text) for text in dict.fromkeys(texts)]
    assert store.labels(everything(store))[:, 0].tolist() == [first % 2 for first in firsts]
    assert store.num_residues == sum(map(len, set(texts)))


LONG = b"ACDEFGHIKL"


@pytest.mark.parametrize(
    ("too_long", "kept", "stored"),
    [
        ("head", ["ACDE", "MK"], 12),
        ("tail", ["HIKL", "MK"], 12),
        ("both-ends", ["ACKL", "MK"], 6),
        ("windows", ["ACDE", "DEFG", "FGHI", "HIKL", "MK"], 12),
    ],
)
def test_over_long_sequences_follow_the_policy(
    load: Callable[..., Store], too_long: Any, kept: list[str], stored: int
) -> None:
    rows = [record("long", LONG, "x"), record("short", b"MK", "y")]
    store = load(rows, policies=Policies(max_length=4, too_long=too_long))
    assert sequences(store) == kept
    assert store.num_residues == stored
    assert store.classes(everything(store))[:, 0].tolist() == [0] * (len(kept) - 1) + [1]
    assert "1 of 2 sequences are longer than 4 residues; " in told(store)


def test_the_windows_of_a_sequence_are_a_group_unless_it_has_one(load: Callable[..., Store]) -> None:
    rows = [record("long", LONG, "x", split="test"), record("short", b"MK", "y", split="train")]
    rows.append(record("other", b"V", "x", split="train"))
    policies = Policies(max_length=4, too_long="windows")
    store = load(rows, policies=policies)
    assert store.groups is not None
    assert [store.group_names[group] for group in store.groups] == ["long"] * 4 + ["short", "other"]
    assert store.names(everything(store)) == ["long"] * 4 + ["short", "other"]
    assert store.split.tolist() == [2, 2, 2, 2, 0, 0]
    store = load([row._replace(group=group) for row, group in zip(rows, "aba", strict=True)], policies=policies)
    assert store.groups is not None
    assert [store.group_names[group] for group in store.groups] == [*"aaaa", *"ba"]


def test_groups_are_stored_and_a_record_without_one_is_by_itself(load: Callable[..., Store]) -> None:
    rows = [
        row._replace(group=group)
        for row, group in zip(families(*ROWS), ["g", "only dropped", None, "h", None, None], strict=True)
    ]
    store = load(rows)
    assert store.groups is not None
    assert [store.group_names[group] for group in store.groups] == ["g", "c", "h"]
    assert sorted(store.group_names) == ["c", "g", "h"]
    assert "1 sample without a group: each sequence of these is a group by itself." in told(store)


def test_notes_and_provenance_may_be_filled_while_records_are_read(load: Callable[..., Store]) -> None:
    seen: list[str] = []
    provenance: dict[str, Any] = {"source": "test"}

    def rows() -> Iterator[Record]:
        for row in families(("a", "x", None), ("b", "y", None)):
            seen.append(row.name)
            yield row
        provenance["read"] = len(seen)

    store = load(rows(), provenance=provenance, notes=lambda: [f"Saw {', '.join(seen)}."])
    assert store.provenance["notes"][0] == "Saw a, b."
    assert store.provenance["read"] == 2
    assert store.provenance["policies"]["letters"]["gaps"] == "strict"


def test_letters_follow_their_policy_and_are_told_of(load: Callable[..., Store], tmp_path: Path) -> None:
    rows = [record("a", b"AC-G", "x"), record("b", b"ACGU", "y", line=7)]
    store = load(rows, alphabet=DNA, policies=Policies(letters=LetterPolicy(gaps="map")))
    assert sequences(store) == ["ACG", "ACGT"]
    assert "1 gap (-) in 1 record removed. 1 residue (U) in 1 record mapped to T." in told(store)
    (tmp_path / "store.h5").unlink()
    with pytest.raises(SequenceError, match=r"^some\.tsv, line 1, 'a': letter '-' at position 3 is a gap.*--gaps map"):
        load(rows, alphabet=DNA)
    assert list(tmp_path.iterdir()) == []


def test_vectors_take_the_place_of_letters(load: Callable[..., Store]) -> None:
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(length, 3)).astype(np.float16) for length in (2, 9, 1)]
    arrays.append(arrays[0].copy())
    rows = [record(f"r{n}", array, label) for n, (array, label) in enumerate(zip(arrays, "xyxy", strict=True))]
    store = load(rows, vectors=VectorForm(3, "float16"), policies=Policies(max_length=4, dedupe=True))
    assert store.input_kind == "vectors"
    assert store.views.length.tolist() == [2, 4, 1]
    assert (read_samples(store, [1])[0][0] == arrays[1][[0, 1, 7, 8]]).all()
    assert "contradict those that were kept (r3 is y, where r0 is x)" in told(store)
    with pytest.raises(SourceError, match="line 1, 'r4': it has no residue"):
        load([*rows, record("r4", arrays[0][:0], "x")], vectors=VectorForm(3, "float16"))


def test_nothing_is_no_data_set(load: Callable[..., Store], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there are no records"):
        load([])
    with pytest.raises(SeqclassError, match="has one class, where at least two are needed"):
        load(families(("a", "x", None)))
    with pytest.raises(SeqclassError, match="there are no targets"):
        load([record("a")], [])
    with pytest.raises(SeqclassError, match="2 of the questions"):
        load([record("a", b"M", "x", "y")], [FAMILY, FAMILY])
    assert list(tmp_path.iterdir()) == []


def test_what_stands_there_is_not_replaced_unless_told(load: Callable[..., Store]) -> None:
    rows = families(("a", "x", None), ("b", "y", None))
    before = load(rows).path.read_bytes()
    with pytest.raises(OutputExistsError):
        load(rows[::-1], force=False)
    assert load(rows).path.read_bytes() == before


@pytest.mark.parametrize(
    "options", [{"max_length": 0}, {"too_long": "middle"}, {"unseen": "guess"}], ids=["length", "too long", "unseen"]
)
def test_a_policy_that_does_not_exist_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SeqclassError, match=r"Give at least 1|Choose one of"):
        Policies(**options)


def test_a_question_needs_examples_of_its_kind_only_in_train(load: Callable[..., Store]) -> None:
    rows = families(("a", "x", "train"), ("b", "y", "train"), ("c", None, "test"))
    assert load(rows, policies=Policies(unseen="drop")).classes(np.arange(3))[:, 0].tolist() == [0, 1, -1]
