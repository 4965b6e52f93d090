"""Sequences and labels of FASTA files come through, whether headers, a table or the files' names tell the labels."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfaidx import Fasta
from test_table_source import known, sequences, write

from seqclass.alphabets import DNA, PROTEIN
from seqclass.data.sources.fasta import import_fasta
from seqclass.data.store import Store
from seqclass.errors import SeqclassError, SourceError

HEADERS = """\
>a place=Nucleus membrane=1 family=f1
MKLV
>b place=Cytoplasm membrane=0 family=f2
MKW
MKW
>c place=Nucleus membrane=1 test
MACD
>d place=Cytoplasm membrane=
MWW
"""
SEQUENCES = {"a": "MKLV", "b": "MKWMKW", "c": "MACD", "d": "MWW"}
PLACES = {"a": "Nucleus", "b": "Cytoplasm", "c": "Nucleus", "d": "Cytoplasm"}
SPLITS = {"a": "train", "b": "train", "c": "test", "d": "train"}
TABLE = "id\tplace\tpart\tfamily\n" + "".join(f"{name}\t{PLACES[name]}\t{SPLITS[name]}\tf\n" for name in PLACES)
PLAIN = "".join(f">{name} protein\n{letters}\n" for name, letters in SEQUENCES.items())


def truth(store: Store) -> dict[str, set[str]]:
    """The targets that are true of each sample."""
    return {name: {target for target, true in labels.items() if true} for name, labels in known(store).items()}


def splits(store: Store) -> dict[str, str]:
    return {name: split for split in ("train", "valid", "test") for name in store.names(store.samples(split))}


@pytest.mark.parametrize("expression", [r"place=(\w+)", r"place=(?P<label>\w+)", "Nucleus|Cytoplasm"])
def test_a_label_is_what_the_expression_finds_in_the_header(tmp_path, expression):
    store = import_fasta(write(tmp_path / "p.fa", HEADERS), tmp_path / "p.h5", alphabet=PROTEIN, label_regex=expression)
    assert sequences(store) == SEQUENCES
    assert truth(store) == {name: {place} for name, place in PLACES.items()}
    assert set(splits(store).values()) == {"train"}
    assert store.groups is None


def test_named_groups_are_questions_and_splits_and_groups_have_expressions_of_their_own(tmp_path):
    store = import_fasta(
        write(tmp_path / "p.fa", HEADERS),
        tmp_path / "p.h5",
        alphabet=PROTEIN,
        label_regex=r"place=(?P<place>\w+) membrane=(?P<membrane>[01])?",
        split_regex=r" (test)$",
        group_regex=r"family=(\w+)",
    )
    assert truth(store) == {
        "a": {"Nucleus", "membrane"},
        "b": {"Cytoplasm"},
        "c": {"Nucleus", "membrane"},
        "d": {"Cytoplasm"},
    }
    assert [name for name, labels in known(store).items() if "membrane" not in labels] == ["d"]
    assert splits(store) == SPLITS
    assert store.groups is not None
    assert [store.group_names[group] for group in store.groups] == ["f1", "f2", "c", "d"]


def test_a_header_without_description_ends_where_the_expression_ends(tmp_path):
    path = write(tmp_path / "p.fa", ">a_x\nMK\n>b_y\nMKW\n")
    store = import_fasta(path, tmp_path / "p.h5", alphabet=PROTEIN, label_regex=r"_(\w)$")
    assert truth(store) == {"a_x": {"x"}, "b_y": {"y"}}


def test_a_separator_gives_a_header_several_labels(tmp_path):
    path = write(tmp_path / "p.fa", ">a x;y\nMK\n>b y\nMKW\n")
    store = import_fasta(path, tmp_path / "p.h5", alphabet=PROTEIN, label_regex=r" (\S+)", label_separator=";")
    assert truth(store) == {"a": {"x", "y"}, "b": {"y"}}
    assert not list(store.layout.exclusive)


def test_labels_splits_and_groups_come_from_a_table(tmp_path):
    store = import_fasta(
        write(tmp_path / "p.fa", PLAIN),
        tmp_path / "p.h5",
        alphabet=PROTEIN,
        labels_table=write(tmp_path / "t.tsv", TABLE + "z\tNucleus\ttest\tf\n"),
        labels=["place"],
        split="part",
        group="family",
    )
    assert sequences(store) == SEQUENCES
    assert truth(store) == {name: {place} for name, place in PLACES.items()}
    assert splits(store) == SPLITS
    assert store.group_names == ["f"]
    assert "1 of 5 rows of t.tsv have no sequence." in store.provenance["notes"]


def test_each_file_is_a_class_named_by_its_stem(tmp_path):
    (tmp_path / "more").mkdir()
    files = [
        write(tmp_path / "kinase.fa", ">a\nMK\n>b\nMKW\n"),
        write(tmp_path / "toxin.v2.fasta.gz", gzip.compress(b">c\nMMM\n")),
        write(tmp_path / "more" / "kinase.faa", ">d\nMACD\n"),
    ]
    store = import_fasta(files, tmp_path / "p.h5", alphabet=PROTEIN)
    assert truth(store) == {"a": {"kinase"}, "b": {"kinase"}, "c": {"toxin.v2"}, "d": {"kinase"}}


@pytest.mark.parametrize("by_table", [True, False], ids=["table", "header"])
def test_records_without_label_are_refused_dropped_or_kept_without(tmp_path, by_table):
    path = write(tmp_path / "p.fa", ">a k=x\nMK\n>b k=y\nMKW\n>c\nMACD\n")
    table = write(tmp_path / "t.csv", "id,label\na,x\nb,y\n")
    options = {"alphabet": PROTEIN, **({"labels_table": table} if by_table else {"label_regex": "k=(.)"})}
    with pytest.raises(SourceError, match=r"line 5: .*'c'") as caught:
        import_fasta(path, tmp_path / "p.h5", **options)
    assert caught.value.file == path
    assert not (tmp_path / "p.h5").exists()
    dropped = import_fasta(path, tmp_path / "p.h5", unlabelled="drop", **options)
    assert truth(dropped) == {"a": {"x"}, "b": {"y"}}
    assert any(note.startswith("1 records") and note.endswith("were dropped.") for note in dropped.provenance["notes"])
    kept = import_fasta(path, tmp_path / "k.h5", unlabelled="missing", **options)
    assert known(kept)["c"] == {}
    assert sequences(kept)["c"] == "MACD"
    assert any(note.startswith("1 records") and "labels missing" in note for note in kept.provenance["notes"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text("ACGTN", min_size=1, max_size=200), st.sampled_from("xyz")), min_size=3, max_size=20))
def test_any_sequences_read_back_as_pyfaidx_reads_them(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("p")
    records = [*records, ("A", "x"), ("C", "y")]
    text = "".join(
        f">s{number} class={label}\n" + "".join(f"{letters[i : i + 60]}\n" for i in range(0, len(letters), 60))
        for number, (letters, label) in enumerate(records)
    )
    path = write(folder / "p.fa", text)
    store = import_fasta(path, folder / "p.h5", alphabet=DNA, label_regex="class=(.)")
    assert sequences(store) == {name: str(letters) for name, letters in Fasta(str(path)).items()}
    assert truth(store) == {f"s{i}": {label} for i, (_, label) in enumerate(records)}


@pytest.mark.parametrize(
    ("fasta", "options", "complaint"),
    [
        (PLAIN, {}, "there is one class"),
        (PLAIN, {"label_regex": "("}, r"'\(' is not a regular expression"),
        (PLAIN, {"label_regex": "k=(.)"}, "labels, 'k=.*found in no header"),
        (HEADERS, {"label_regex": r"place=(\w+)", "split_regex": "valid"}, "splits, 'valid', is found in no header"),
        (HEADERS, {"label_regex": r"place=(\w+)", "split_regex": r"place=(\w+)"}, "line 1: the split is 'Nucleus'"),
        (HEADERS, {"label_regex": r"place=(\w+)", "labels_table": "t.tsv"}, "from headers and from a table"),
        (HEADERS, {"label_regex": r"place=(\w+)", "split": "part"}, "columns are named, but no table"),
        (HEADERS, {"label_regex": r"place=(\w+)", "unlabelled": "keep"}, "Choose one of error, drop, missing"),
        (PLAIN, {"labels_table": "t.tsv"}, "no column 'label'; there are: id, place, part, family"),
        (PLAIN, {"labels_table": "t.tsv", "labels": ["place"], "id": "name"}, "no column 'name'"),
        (PLAIN, {"labels_table": "twice.tsv"}, "line 3: 'a' has a row already, in line 2"),
        (PLAIN, {"labels_table": "unnamed.tsv"}, "no column id or name or accession"),
        (PLAIN, {"labels_table": "none.tsv"}, "there is no such file"),
        ("", {"label_regex": "k"}, "the file is empty"),
        (">a k=x\n>b k=y\nMK\n", {"label_regex": "k=(.)"}, "line 1: record 'a' has no sequence"),
        (">a k=x\nMK\n>a k=y\nMK\n", {"label_regex": "k=(.)"}, "line 3, 'a': 'a' names two records.*line 1"),
        (">a k=x\nM1K\n>b k=y\nMK\n", {"label_regex": "k=(.)"}, "line 1, 'a'.*'1'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(tmp_path, monkeypatch, fasta, options, complaint):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.tsv", TABLE)
    write(tmp_path / "twice.tsv", "id\tlabel\na\tx\na\ty\n")
    write(tmp_path / "unnamed.tsv", "protein\tlabel\na\tx\nb\ty\n")
    path = write(tmp_path / "p.fa", fasta)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SeqclassError, match=complaint) as caught:
        import_fasta(path, tmp_path / "p.h5", alphabet=PROTEIN, **options)
    assert caught.value.remedy
    assert sorted(tmp_path.iterdir()) == before


def test_a_pipe_that_would_be_read_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        import_fasta(tmp_path / "pipe", tmp_path / "p.h5", alphabet=DNA, label_regex="x")


def test_neither_the_sequences_nor_the_table_are_replaced_by_the_store(tmp_path):
    path, table = write(tmp_path / "p.fa", PLAIN), write(tmp_path / "t.tsv", TABLE)
    for out in (path, table):
        with pytest.raises(SeqclassError, match="not replaced"):
            import_fasta(path, out, alphabet=PROTEIN, labels_table=table, labels=["place"], force=True)
    assert (path.read_text(), table.read_text()) == (PLAIN, TABLE)


def test_damaged_files_are_imported_or_refused_without_a_trace(tmp_path):
    chance = random.Random(3)
    whole = "".join(f">p{i} class=c{i % 3}\n{'ACGT' * chance.randint(1, 30)}\nACGTN\n" for i in range(20))
    damage = [b"", b">", b"\n", b"\r", b"\r\n", b" ", b"\0", b"\xff\xfe", b"N" * 100_000, b"\xef\xbb\xbf", b"=c"]
    imported = refused = 0
    for number in range(300):
        data = bytearray(whole.encode())
        for _ in range(chance.randint(0, 3)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 3)] = chance.choice(damage)
        packed = [bytes(data), gzip.compress(data), data.decode("latin-1").encode("utf-16")][number % 7 % 3]
        if chance.random() < 0.3:
            packed = packed[: chance.randrange(len(packed))]
        path = write(tmp_path / "p.fa", packed)
        try:
            store = import_fasta(path, tmp_path / "p.h5", alphabet=DNA, label_regex=r"class=(\w+)")
        except SeqclassError:
            refused += 1
        else:
            imported += 1
            assert 1 < len(store) <= 23
            store.path.unlink()
        assert [each.name for each in tmp_path.iterdir()] == ["p.fa"]
    assert imported > 20
    assert refused > 50


def test_deeploc_headers_are_read_by_an_expression(tmp_path):
    if "SEQCLASS_REAL_DATA" not in os.environ:
        pytest.skip("SEQCLASS_REAL_DATA does not name the folder of real data")
    path = Path(os.environ["SEQCLASS_REAL_DATA"]) / "deeploc" / "deeploc_data.fasta"
    store = import_fasta(
        path,
        tmp_path / "d.h5",
        alphabet=PROTEIN,
        label_regex=r" (?P<location>\S+)-(?:(?P<membrane>[MS])|U)\b",
        split_regex=r" (test)$",
    )
    headers = [line[1:].split() for line in path.read_text().splitlines() if line.startswith(">")]
    assert len(store) == len(headers) == 13_407
    assert splits(store) == {name: "test" if rest else "train" for name, _, *rest in headers}
    names = {name: {target for target in targets if target not in "MS"} for name, targets in truth(store).items()}
    assert names == {name: {place.rpartition("-")[0]} for name, place, *_ in headers}
