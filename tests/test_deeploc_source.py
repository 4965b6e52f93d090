"""Both versions of DeepLoc give the proteins, locations, membrane flags and splits that stand in their files."""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from seqclass.cli import main
from seqclass.data.simulate.localisation import simulate_deeploc
from seqclass.data.sources.deeploc import LOCATIONS, import_deeploc
from seqclass.data.sources.records import Policies
from seqclass.data.store import SPLITS, Store
from seqclass.data.tape import read_samples
from seqclass.errors import SeqclassError, SequenceError, SourceError

COLUMNS = ("", "ACC", "Kingdom", "Partition", "Membrane", *LOCATIONS, "Sequence")


class Protein(NamedTuple):
    name: str
    locations: tuple[str, ...]
    membrane: bool | None
    letters: str
    test: bool = False
    partition: int = 0


def proteins(count: int = 60, seed: int = 1, several: bool = False) -> list[Protein]:
    """Proteins of the ten locations in turn; with `several`, every third in a second one."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        locations = {LOCATIONS[number % 10]}
        if several and number % 3 == 0:
            locations.add(chance.choice(LOCATIONS))
        letters = "M" + "".join(chance.choices("ACDEFGHIKLMNPQRSTVWYX", k=chance.randint(20, 60)))
        ordered = tuple(location for location in LOCATIONS if location in locations)
        membrane = chance.choice([True, False, None])
        made.append(Protein(f"P{number:05d}", ordered, membrane, letters, chance.random() < 0.3, number // 10 % 5))
    return made


def write_fasta(path: Path, rows: Sequence[Protein]) -> Path:
    text = ""
    for row in rows:
        location = "-".join(row.locations).replace(" ", ".")
        letter = {True: "M", False: "S", None: "U"}[row.membrane]
        text += (
            f">{row.name} {location}-{letter}{' test' if row.test else ''}\n{row.letters[:30]}\n{row.letters[30:]}\n"
        )
    path.write_text(text)
    return path


def write_csv(
    path: Path, rows: Sequence[Protein], columns: Sequence[str] = COLUMNS, flags: tuple[str, str] = ("0.0", "1.0")
) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number, row in enumerate(rows):
            cells = {
                "": number,
                "ACC": row.name,
                "Kingdom": "Fungi",
                "Partition": row.partition,
                "Sequence": row.letters,
            }
            cells["Membrane"] = "" if row.membrane is None else flags[row.membrane]
            cells |= {location: flags[location in row.locations] for location in LOCATIONS}
            writer.writerow([cells[column] for column in columns])
    return path


def content(store: Store) -> list[tuple[str, tuple[str, ...], bool | None, str]]:
    """Name, locations, membrane and letters of every sample."""
    samples = np.arange(len(store))
    tokens, mask = read_samples(store, samples)
    mask = np.ones(tokens.shape, dtype=bool) if mask is None else mask
    labels = store.known_labels(samples)
    names = [target.name for target in store.targets]
    assert names[:10] == list(LOCATIONS)
    found = []
    for name, row, letters, real in zip(store.names(samples), labels.tolist(), tokens, mask, strict=True):
        assert set(row[:10]) <= {0, 1}
        locations = tuple(location for location, label in zip(LOCATIONS, row[:10], strict=True) if label)
        membrane = {1: True, 0: False, -1: None}[row[10]] if len(names) > 10 else None
        found.append((name, locations, membrane, store.alphabet.decode(letters[real])))
    return found


def expected(rows: Sequence[Protein]) -> list[tuple[str, tuple[str, ...], bool | None, str]]:
    return [(row.name, row.locations, row.membrane, row.letters) for row in rows]


def splits(store: Store) -> list[str]:
    return [SPLITS[code] for code in store.split.tolist()]


def test_a_fasta_file_gives_one_location_of_ten_and_the_membrane_where_it_is_known(tmp_path):
    rows = proteins()
    store = import_deeploc(write_fasta(tmp_path / "in", rows), tmp_path / "out.h5", valid=0)
    assert content(store) == expected(rows)
    assert list(store.layout.exclusive) == ["location"]
    assert store.targets[10].name == "membrane"
    assert splits(store) == ["test" if row.test else "train" for row in rows]


def test_proteins_of_two_locations_are_dropped_and_counted_or_keep_both(tmp_path):
    rows = proteins()
    rows[7:7] = [Protein(f"Q{n}", ("Cytoplasm", "Nucleus"), None, "MKKRKV" * 5) for n in range(3)]
    path = write_fasta(tmp_path / "in", rows)
    store = import_deeploc(path, tmp_path / "one.h5", valid=0)
    assert content(store) == expected([row for row in rows if len(row.locations) == 1])
    assert any("3 of 63 proteins" in note and "Cytoplasm and Nucleus: 3" in note for note in store.provenance["notes"])

    store = import_deeploc(path, tmp_path / "several.h5", valid=0, multi_label=True)
    assert content(store) == expected(rows)
    assert not store.layout.exclusive


def test_a_table_gives_every_location_of_a_protein_and_keeps_its_partition(tmp_path):
    rows = proteins(several=True)
    store = import_deeploc(write_csv(tmp_path / "in", rows), tmp_path / "out.h5")
    assert content(store) == expected(rows)
    assert not store.layout.exclusive
    assert splits(store) == [{3: "valid", 4: "test"}.get(row.partition, "train") for row in rows]
    assert [store.group_names[group] for group in store.groups] == [f"partition {row.partition}" for row in rows]
    assert store.provenance["kingdoms"] == {"Fungi": 60}


def test_a_table_can_be_cut_down_to_proteins_of_one_location(tmp_path):
    rows = proteins(several=True)
    store = import_deeploc(write_csv(tmp_path / "in", rows), tmp_path / "out.h5", multi_label=False)
    kept = [row for row in rows if len(row.locations) == 1]
    assert content(store) == expected(kept)
    assert list(store.layout.exclusive) == ["location"]
    dropped = Counter(" and ".join(row.locations) for row in rows if len(row.locations) > 1)
    (note,) = (note for note in store.provenance["notes"] if "exactly one location" in note)
    assert f"{60 - len(kept)} of 60" in note
    assert all(f"{names}: {count}" in note for names, count in dropped.most_common(3))


@pytest.mark.parametrize("flags", [("0", "1"), ("0.0", "1.0")])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS[::-1], COLUMNS[1:]], ids=["published", "turned", "no-index"])
def test_columns_are_found_by_name_and_flags_in_either_form(tmp_path, columns, flags):
    rows = proteins(several=True)
    assert content(import_deeploc(write_csv(tmp_path / "in", rows, columns, flags), tmp_path / "out.h5")) == expected(
        rows
    )


def test_without_membrane_kingdom_and_partition_the_locations_are_left(tmp_path):
    rows = proteins(several=True)
    path = write_csv(tmp_path / "in", rows, ("ACC", *LOCATIONS, "Sequence"))
    store = import_deeploc(path, tmp_path / "out.h5")
    assert content(store) == expected([row._replace(membrane=None) for row in rows])
    assert store.num_targets == 10
    assert set(splits(store)) == {"train"}
    assert store.groups is None
    fasta = write_fasta(tmp_path / "in.fasta", [row._replace(membrane=None) for row in proteins()])
    assert import_deeploc(fasta, tmp_path / "fasta.h5").num_targets == 10


def test_partitions_for_valid_and_test_can_be_chosen(tmp_path):
    rows = proteins()
    path = write_csv(tmp_path / "in", rows)
    store = import_deeploc(path, tmp_path / "out.h5", valid_partitions=(), test_partitions=(0, 2))
    assert splits(store) == ["test" if row.partition in (0, 2) else "train" for row in rows]


def test_valid_is_the_same_share_of_each_location_and_follows_from_the_seed(tmp_path):
    rows = proteins(400)
    path = write_fasta(tmp_path / "in", rows)
    chosen = []
    for number, seed in enumerate([0, 0, 1]):
        store = import_deeploc(path, tmp_path / f"{number}.h5", valid=0.25, seed=seed)
        found = splits(store)
        assert [split == "test" for split in found] == [row.test for row in rows]
        chosen.append([split == "valid" for split in found])
    of_train = Counter(row.locations for row in rows if not row.test)
    of_valid = Counter(row.locations for row, taken in zip(rows, chosen[0], strict=True) if taken)
    assert of_valid == {location: round(0.25 * count) for location, count in of_train.items()}
    assert chosen[0] == chosen[1] != chosen[2]


def test_dropping_proteins_of_two_locations_does_not_change_what_is_valid(tmp_path):
    rows = proteins(200)
    rows[50:50] = [Protein(f"Q{n}", ("Cytoplasm", "Nucleus"), None, "MKKRKV" * 5) for n in range(20)]
    path = write_fasta(tmp_path / "in", rows)
    split_of = []
    for name, multi_label in (("one", False), ("several", True)):
        store = import_deeploc(path, tmp_path / name, multi_label=multi_label)
        names = store.names(np.arange(len(store)))
        split_of.append({each: split for each, split in zip(names, splits(store), strict=True) if each[0] == "P"})
    assert split_of[0] == split_of[1]


def test_of_long_proteins_both_ends_are_kept_unless_told_otherwise(tmp_path):
    rows = proteins()
    rows[0] = rows[0]._replace(letters="M" + "A" * 700 + "K" * 700 + "SKL")
    path = write_fasta(tmp_path / "in", rows)
    store = import_deeploc(path, tmp_path / "both.h5")
    assert content(store)[0][3] == "M" + "A" * 499 + "K" * 497 + "SKL"
    assert any("1 of 60 sequences" in note and "1,000 residues" in note for note in store.provenance["notes"])
    store = import_deeploc(path, tmp_path / "whole.h5", policies=Policies())
    assert content(store) == expected(rows)


def test_the_command_keeps_both_ends_unless_told_otherwise(tmp_path):
    rows = proteins(several=True)
    rows[0] = rows[0]._replace(letters="M" + "A" * 1400 + "SKL")
    path = write_csv(tmp_path / "in", rows)
    main(f"data import deeploc {path} --out {tmp_path}/1.h5 --valid-partitions 1 2 --gaps map".split())
    store = Store(tmp_path / "1.h5")
    assert content(store)[0][3] == "M" + "A" * 996 + "SKL"
    assert splits(store) == [{1: "valid", 2: "valid", 4: "test"}.get(row.partition, "train") for row in rows]
    main(f"data import deeploc {path} --out {tmp_path}/2.h5 --no-multi-label --too-long tail".split())
    store = Store(tmp_path / "2.h5")
    assert list(store.layout.exclusive) == ["location"]
    main(f"data import deeploc {path} --out {tmp_path}/3.h5 --max-length 2000".split())
    assert content(Store(tmp_path / "3.h5")) == expected(rows)


def test_both_formats_of_a_simulation_agree(tmp_path):
    simulate_deeploc(tmp_path / "sim", proteins=200, unknown_membrane=0, seed=4)
    fasta = import_deeploc(tmp_path / "sim/deeploc.fasta", tmp_path / "1.h5", multi_label=True)
    table = import_deeploc(tmp_path / "sim/deeploc2.csv", tmp_path / "2.h5")
    assert content(fasta) == content(table)
    assert len({row[1] for row in content(fasta)}) == 11


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("P1", "behind the name stands ''"),
        ("P1 Nucleus", "stands 'Nucleus'"),
        ("P1 Nucleus-X", "stands 'Nucleus-X'"),
        ("P1 Nucleus-U valid", "stands 'Nucleus-U valid'"),
        ("P1 Nucleus-U test test", "stands 'Nucleus-U test test'"),
        ("P1 Nukleus-U", "location 'Nukleus' is none of DeepLoc's"),
        ("P1 Cytoplasm-Nukleus-U", "location 'Cytoplasm-Nukleus'"),
        ("P1 -U", "location ''"),
    ],
)
def test_a_header_of_another_form_is_refused_with_its_line(tmp_path, header, complaint):
    path = tmp_path / "in"
    path.write_text(f">P0 Nucleus-U\nMKV\n>{header}\nMKV\n")
    with pytest.raises(SourceError, match=complaint) as caught:
        import_deeploc(path, tmp_path / "out.h5")
    assert (caught.value.file, caught.value.record) == (path, "line 3")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("column", "cell", "complaint"),
    [
        ("Nucleus", "2", "column 'Nucleus' is '2', where 0 or 1"),
        ("Nucleus", "", "column 'Nucleus' is ''"),
        ("Membrane", "M", "column 'Membrane' is 'M'"),
        ("Partition", "three", "column 'Partition' is 'three'"),
        ("Partition", "", "column 'Partition' is empty"),
        ("ACC", "", "name is ''"),
        ("ACC", "P00001", "names two records"),
        ("Sequence", "MK1V", "letter '1' at position 3"),
        ("Sequence", "", "no residue is left"),
    ],
)
def test_a_cell_of_another_kind_is_refused_with_its_line(tmp_path, column, cell, complaint):
    path = write_csv(tmp_path / "in", proteins())
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    table[11][table[0].index(column)] = cell
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(table)
    with pytest.raises((SourceError, SequenceError), match=complaint) as caught:
        import_deeploc(path, tmp_path / "out.h5")
    assert caught.value.file == path
    assert caught.value.record is not None
    assert caught.value.record.startswith("line 12")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"valid_partitions": [7]}, "no partition 7; there are: 0, 1, 2, 3, 4"),
        ({"valid_partitions": [4]}, "4 for valid and 4 for test overlap"),
        ({"test_partitions": [0, 1, 2, 4]}, "none of 60 records is in train"),
        ({"valid": 1.0}, "share of 1.0"),
        ({"valid": float("nan")}, "share of nan"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_choices_that_cannot_be_met_are_refused(tmp_path, options, complaint):
    rows = [row._replace(partition=4 if row.partition == 3 else row.partition) for row in proteins()]
    path = write_csv(tmp_path / "in", rows if "test_partitions" in options else proteins())
    if "test_partitions" in options:
        options |= {"valid_partitions": []}
    with pytest.raises(SourceError, match=complaint):
        import_deeploc(path, tmp_path / "out.h5", **options)
    assert not (tmp_path / "out.h5").exists()


def test_files_that_are_neither_are_refused(tmp_path):
    with pytest.raises(SequenceError, match="no such file"):
        import_deeploc(tmp_path / "nothing", tmp_path / "out.h5")
    (tmp_path / "in").write_text("P1 Nucleus-U\nMKV\n")
    with pytest.raises(SourceError, match="no column 'ACC'"):
        import_deeploc(tmp_path / "in", tmp_path / "out.h5")
    with pytest.raises(SourceError, match="no proteins to be kept") as caught:
        import_deeploc(write_csv(tmp_path / "in", []), tmp_path / "out.h5")
    assert caught.value.file == tmp_path / "in"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        import_deeploc(tmp_path / "pipe", tmp_path / "out.h5")


@pytest.mark.parametrize("write", [write_fasta, write_csv])
@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace(b"\r", b"").replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: gzip.compress(text),
        lambda text: b"\n" + text.rstrip(b"\r\n"),
    ],
    ids=["windows-ends", "byte-order-mark", "gzip-unsaid", "no-last-end"],
)
def test_ways_of_writing_a_file_give_the_same_store(tmp_path, write, rewrite):
    rows = proteins()
    path = write(tmp_path / "in", rows)
    path.write_bytes(rewrite(path.read_bytes()))
    assert content(import_deeploc(path, tmp_path / "out.h5")) == expected(rows)


@pytest.mark.parametrize("write", [write_fasta, write_csv])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"",
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.decode().encode("utf-16-le"),
        lambda text: gzip.compress(text * 50)[:-200],
        lambda text: random.Random(3).randbytes(5000),
        lambda text: text + b"\0" * 5000,
        lambda text: text + b"1" * 5_000_000,
    ],
    ids=["empty", "utf-16", "utf-16-unmarked", "gzip-cut", "binary", "zero-bytes", "huge-line"],
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing_behind(tmp_path, write, spoil):
    path = write(tmp_path / "in", proteins())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(SeqclassError) as caught:
        import_deeploc(path, tmp_path / "out.h5")
    assert caught.value.file == path
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("write", [write_fasta, write_csv])
def test_damaged_files_are_read_or_refused(tmp_path, write):
    chance = random.Random(11)
    rows = proteins(several=True)
    whole = write(tmp_path / "in", rows).read_bytes()
    outcomes: Counter[str] = Counter()
    for number in range(120):
        data = bytearray(gzip.compress(whole) if number % 5 == 0 else whole)
        changes = chance.randint(1, 2)
        for _ in range(changes):
            place = chance.randrange(len(data))
            damage = chance.choice([b"", b'"', b"\n", b",", b"\0", b"\xff", b"\r", b">", b"\xe2\x80\xa9", *[b"A"] * 9])
            data[place : place + chance.randint(0, 2)] = damage
        cut = chance.randint(1, len(data)) if chance.random() < 0.3 else len(data)
        (tmp_path / "in").write_bytes(data[:cut])
        try:
            store = import_deeploc(tmp_path / "in", tmp_path / "out.h5", force=True, multi_label=True)
        except SeqclassError as error:
            outcomes["refused" if error.file == tmp_path / "in" else f"elsewhere: {error}"] += 1
        else:
            assert len(set(content(store)) - set(expected(rows))) <= changes + (cut < len(data))
            outcomes["read"] += 1
    assert {each.name for each in tmp_path.iterdir()} == {"in", "out.h5"}
    assert set(outcomes) == {"read", "refused"}
    assert min(outcomes.values()) > 10


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("SEQCLASS_REAL_DATA")
    if folder is None:
        pytest.skip("SEQCLASS_REAL_DATA is not set")
    return Path(folder) / "deeploc/deeploc_data.fasta"


def test_the_real_file_is_read_whole(real, tmp_path):
    headers = [line[1:].split() for line in real.read_text().splitlines() if line.startswith(">")]
    counts = Counter(header[1][:-2].replace(".", " ") for header in headers)
    assert (len(headers), counts.pop("Cytoplasm-Nucleus")) == (13_407, 23)

    store = import_deeploc(real, tmp_path / "one.h5")
    assert len(store) == 13_384
    positives = sum(store.positives(split) for split in SPLITS)
    assert dict(zip(LOCATIONS, positives[:10].tolist(), strict=True)) == counts
    assert len(store.samples("test")) == sum(header[2:] == ["test"] for header in headers)
    share = len(store.samples("valid")) / (len(store) - len(store.samples("test")))
    assert share == pytest.approx(0.1, abs=0.001)

    store = import_deeploc(real, tmp_path / "several.h5", multi_label=True)
    assert len(store) == 13_407
    membrane = store.known_labels(np.arange(len(store)))[:, 10]
    assert (membrane == -1).sum() == 8_369
    assert (membrane == 1).sum() == sum(header[1].endswith("-M") for header in headers)
