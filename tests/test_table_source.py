"""A table becomes a store that says what the table says; a cell that cannot be is named by its line."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import numpy as np
import pytest

from seqclass.alphabets import DNA, PROTEIN
from seqclass.data.letters import LetterPolicy
from seqclass.data.sources.records import Policies
from seqclass.data.sources.table import import_table
from seqclass.data.store import Store
from seqclass.errors import OutputExistsError, SeqclassError, SourceError

PROTEINS = """\
id,sequence,location,membrane,split,family
a,MKLV,Nucleus,1,train,f1
b,MKW,Cytoplasm,0,training,f2
c,MACD,Nucleus,,val,f1
d,MEFG,NA,1,test,
"""


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sequences(store: Store) -> dict[str, str]:
    """What lies on the contigs of a store, by name."""
    with store.open() as file:
        tokens = file["tokens"][:]
    ends = np.cumsum(store.contig_length)
    parts = np.split(tokens, ends[:-1])
    return {name: store.alphabet.decode(part) for name, part in zip(store.contig_names, parts, strict=True)}


def known(store: Store) -> dict[str, dict[str, bool]]:
    """The labels that are there: of each sample, by the target's name."""
    everything = np.arange(len(store))
    labels, present = store.labels(everything), store.present(everything)
    return {
        name: {
            target.name: bool(labels[row, column])
            for column, target in enumerate(store.targets)
            if present[row, column]
        }
        for row, name in enumerate(store.names(everything))
    }


def test_a_table_reads_back_as_it_was_written(tmp_path):
    store = import_table(
        write(tmp_path / "t.csv", PROTEINS),
        tmp_path / "t.h5",
        alphabet=PROTEIN,
        labels=("location", "membrane"),
        split="split",
        group="family",
    )
    assert sequences(store) == {"a": "MKLV", "b": "MKW", "c": "MACD", "d": "MEFG"}
    assert known(store) == {
        "a": {"Cytoplasm": False, "Nucleus": True, "membrane": True},
        "b": {"Cytoplasm": True, "Nucleus": False, "membrane": False},
        "c": {"Cytoplasm": False, "Nucleus": True},
        "d": {"membrane": True},
    }
    assert {split: store.names(store.samples(split)) for split in ("train", "valid", "test")} == {
        "train": ["a", "b"],
        "valid": ["c"],
        "test": ["d"],
    }
    assert store.groups is not None
    # A record of no group is one of its own.
    assert [store.group_names[group] for group in store.groups] == ["f1", "f2", "f1", "d"]
    assert list(store.layout.exclusive) == ["location"]
    assert any("'membrane' holds only 0, 1" in note for note in store.provenance["notes"])


@pytest.mark.parametrize(
    "content",
    [
        PROTEINS.replace(",", "\t"),
        PROTEINS.replace(",", ";"),
        PROTEINS.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + PROTEINS.encode(),
        gzip.compress(PROTEINS.encode()),
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in PROTEINS.splitlines()),
    ],
    ids=["tabs", "semicolons", "windows-ends", "byte-order-mark", "gzip", "quoted"],
)
def test_ways_of_writing_a_table_give_one_store(tmp_path, content):
    stores = [
        import_table(
            write(tmp_path / "t", text), tmp_path / f"{number}.h5", alphabet=PROTEIN, labels=["location"], split="split"
        )
        for number, text in enumerate((PROTEINS, content))
    ]
    assert stores[0].checksum() == stores[1].checksum()


@pytest.mark.parametrize("words", ["0 1", "False True", "no YES", "0.0 1.0"])
def test_a_column_of_nothing_but_yes_and_no_is_one_target(tmp_path, words):
    no, yes = words.split()
    text = f"id,sequence,label\na,ACGT,{yes}\nb,ACG,{no}\nc,AC,\n"
    store = import_table(write(tmp_path / "t.csv", text), tmp_path / "t.h5", alphabet=DNA)
    assert known(store) == {"a": {"label": True}, "b": {"label": False}, "c": {}}


def test_a_column_with_any_other_word_is_a_class(tmp_path):
    text = "id,sequence,label\na,ACGT,0\nb,ACG,1\nc,AC,2\n"
    store = import_table(write(tmp_path / "t.csv", text), tmp_path / "t.h5", alphabet=DNA)
    assert list(store.layout.exclusive) == ["label"]
    assert [target.name for target in store.targets] == ["0", "1", "2"]


def test_the_separator_makes_several_answers_only_of_columns_that_hold_it(tmp_path):
    text = "id,sequence,places,kingdom\na,MKL,x; y,k1\nb,MK,y,k2\nc,MM,z;,k1\nd,MW,,k2\n"
    store = import_table(
        write(tmp_path / "t.csv", text),
        tmp_path / "t.h5",
        alphabet=PROTEIN,
        labels=["places", "kingdom"],
        label_separator=";",
    )
    assert list(store.layout.exclusive) == ["kingdom"]
    assert {name: {place for place in "xyz" if labels.get(place)} for name, labels in known(store).items()} == {
        "a": {"x", "y"},
        "b": {"y"},
        "c": {"z"},
        "d": set(),
    }
    assert "x" not in known(store)["d"]
    assert not known(store)["b"]["x"]


@pytest.mark.parametrize(
    ("header", "names"),
    [("accession", ["x", "y"]), ("Name", ["x", "y"]), ("other", ["1", "2"])],
)
def test_names_come_from_the_usual_column_or_are_numbers_of_rows(tmp_path, header, names):
    text = f"{header},sequence,label\nx,ACGT,a\n\ny,ACG,b\n"
    store = import_table(write(tmp_path / "t.csv", text), tmp_path / "t.h5", alphabet=DNA)
    assert store.contig_names == names


def test_letters_are_read_under_the_policies(tmp_path):
    path = write(tmp_path / "t.csv", "id,sequence,label\na,acg-t,x\nb,ACG,y\n")
    policies = Policies(letters=LetterPolicy(gaps="map"))
    assert sequences(import_table(path, tmp_path / "t.h5", alphabet=DNA, policies=policies))["a"] == "ACGT"


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("id,sequence,label\n", {}, "there are no records"),
        ("id,sequence,label\na,ACGT,\nb,AC,NA\n", {}, "all labels of 'label' are missing"),
        ("id,sequence,label\na,ACGT,x\nb,,y\n", {}, "line 3: column 'sequence' is empty"),
        ("id,sequence,label\na,ACGT,x\n,AC,y\n", {}, "line 3: column 'id' is empty"),
        ("id,sequence,label\na,ACGT,x\na,AC,y\n", {}, "line 3, 'a': 'a' names two records.*line 2"),
        ("id,sequence,label\na,ACGT,x\nb,AJ,y\n", {}, "line 3, 'b'.*letter 'J' at position 2"),
        ("id,seq,label\na,ACGT,x\nb,AC,y\n", {}, "there is no column 'sequence'; there are: id, seq, label"),
        ("id,sequence,label\na,ACGT,x\nb,AC,y\n", {"labels": ["kind"]}, "there is no column 'kind'"),
        ("id,sequence,label\na,ACGT,x\nb,AC,y\n", {"labels": []}, "the columns of labels are none"),
        ("id,sequence,label\na,ACGT,x\nb,AC,y\n", {"labels": ["label", "label"]}, "each once"),
        ("id,sequence,label\na,ACGT,x\nb,AC,y\n", {"label_separator": "|"}, "'|' occurs in none"),
        ("id,sequence,label\na,ACGT,x\nb,AC,y\n", {"label_separator": ""}, "occurs in none"),
        ("id,sequence,label,part\na,ACGT,x,train\nb,AC,y,3\n", {"split": "part"}, "line 3: the split is '3'"),
        ("id,sequence,label,part\na,ACGT,x,train\nb,AC,y,\n", {"split": "part"}, "line 3: the split is ''"),
        ("id,sequence,label\na,ACGT,x\nb,AC\n", {}, "line 3: 2 cells, where the header has 3"),
        (
            "id,sequence,label\n" + "".join(f"p{i},ACGT,{i / 7:.3f}\n" for i in range(50)),
            {},
            "'label' holds 50 different numbers, such as 0.000",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(tmp_path, content, options, complaint):
    path = write(tmp_path / "t.csv", content)
    with pytest.raises(SeqclassError, match=complaint.replace("|", r"\|")) as caught:
        import_table(path, tmp_path / "t.h5", alphabet=DNA, **options)
    assert caught.value.file == path
    assert caught.value.remedy
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]


def test_what_stands_there_is_replaced_only_when_told_and_never_the_table_itself(tmp_path):
    path = write(tmp_path / "t.csv", PROTEINS)
    options = {"alphabet": PROTEIN, "labels": ["location"], "split": "split"}
    import_table(path, tmp_path / "t.h5", **options)
    with pytest.raises(OutputExistsError):
        import_table(path, tmp_path / "t.h5", **options)
    import_table(path, tmp_path / "t.h5", force=True, **options)
    with pytest.raises(SeqclassError, match="not replaced"):
        import_table(path, path, force=True, **options)
    assert path.read_text() == PROTEINS


def test_a_pipe_is_refused_before_it_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        import_table(tmp_path / "pipe", tmp_path / "t.h5", alphabet=DNA, id="id")


def test_damaged_tables_are_imported_or_refused_without_a_trace(tmp_path):
    chance = random.Random(7)
    whole = "id,sequence,label,split\n" + "".join(
        f'p{i},{"ACGT" * chance.randint(1, 9)},"class {i % 3}",{chance.choice(("train", "test"))}\n' for i in range(30)
    )
    damage = [b"", b'"', b"\n", b"\r", b",", b";", b"\t", b"\0", b"\xff\xfe", b"N" * 3000, b"\xef\xbb\xbf"]
    imported = refused = 0
    for number in range(300):
        data = bytearray(whole.encode())
        for _ in range(chance.randint(0, 3)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 3)] = chance.choice(damage)
        packed = [bytes(data), gzip.compress(data), data.decode("latin-1").encode("utf-16")][number % 7 % 3]
        if chance.random() < 0.3:
            packed = packed[: chance.randrange(len(packed))]
        path = write(tmp_path / "t.csv", packed)
        try:
            store = import_table(path, tmp_path / "t.h5", alphabet=DNA, split="split")
        except SeqclassError:
            refused += 1
        else:
            imported += 1
            assert len(store) > 0
            store.path.unlink()
        assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]
    assert imported > 10
    assert refused > 100


@pytest.fixture
def real_data() -> Path:
    if "SEQCLASS_REAL_DATA" not in os.environ:
        pytest.skip("SEQCLASS_REAL_DATA does not name the folder of real data")
    return Path(os.environ["SEQCLASS_REAL_DATA"])


def test_beta_lactamases_come_through_with_their_classes_and_families(tmp_path, real_data):
    path = real_data / "amr" / "beta_lactamases.tsv"
    options = {"alphabet": PROTEIN, "labels": ["ambler_class"], "group": "family"}
    with pytest.raises(SourceError, match=r"'WP_063839877\.1' names two records, this one and that of .*line 1200"):
        import_table(path, tmp_path / "t.h5", **options)
    store = import_table(path, tmp_path / "t.h5", policies=Policies(dedupe=True), **options)
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    letters = {row[0]: row[4] for row in rows}
    classes = {row[0]: row[3] for row in rows}
    assert sequences(store) == letters
    assert {name: {target for target, true in each.items() if true} for name, each in known(store).items()} == {
        name: {found} for name, found in classes.items()
    }
    # The one accession that stands twice, under two families, is kept once.
    assert len(store) == len(rows) - 1
    assert set(store.group_names) == {row[2] for row in rows} - {"blaLRA-13"}
