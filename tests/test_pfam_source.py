"""The Pfam seed split reads the same however its files are laid out, and nothing that is damaged passes silently."""

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
from seqclass.data.letters import LetterPolicy
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam
from seqclass.data.sources.records import Policies
from seqclass.data.store import SPLITS, Store
from seqclass.data.tape import read_samples
from seqclass.errors import SeqclassError, SequenceError, SourceError

COLUMNS = ("family_id", "sequence_name", "family_accession", "aligned_sequence", "sequence")
FOLDERS = {"train": "train", "dev": "valid", "test": "test"}


class Domain(NamedTuple):
    family_id: str
    sequence_name: str
    family_accession: str
    aligned_sequence: str
    sequence: str


def domains(count: int, seed: int, families: int = 4) -> list[Domain]:
    """Domains of families PF00001.11, PF00002.12 and on, in turn."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        family = number % families + 1
        sequence = "".join(chance.choices("ACDEFGHIKLMNPQRSTVWYX", k=chance.randint(5, 60)))
        aligned = f"..{sequence[:3]}---{sequence[3:]}"
        name = f"S{seed}N{number}_HUMAN/1-{len(sequence)}"
        made.append(Domain(f"Fam_{family}", name, f"PF{family:05d}.{10 + family}", aligned, sequence))
    return made


DATA = {"train": domains(24, 1), "dev": domains(8, 2), "test": domains(7, 3)}


def write_table(path: Path, rows: Sequence[Domain], columns: Sequence[str] = COLUMNS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(columns), *(",".join(getattr(row, column) for column in columns) for row in rows)]
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_split(
    folder: Path,
    data: dict[str, list[Domain]] = DATA,
    columns: Sequence[str] = COLUMNS,
    suffix: str = "",
    shards: int = 3,
) -> Path:
    for name, rows in data.items():
        size = -(-len(rows) // shards)
        for number in range(shards):
            part = rows[number * size : (number + 1) * size]
            write_table(folder / name / f"data-{number:05d}-of-{shards:05d}{suffix}", part, columns)
    return folder


def content(store: Store) -> list[tuple[str, str, str, str]]:
    """Split, name, family and letters of every sample."""
    tokens, mask = read_samples(store, np.arange(len(store)))
    mask = np.ones(tokens.shape, dtype=bool) if mask is None else mask
    classes = store.classes(np.arange(len(store)))[:, 0].tolist()
    names = store.names(np.arange(len(store)))
    return [
        (
            SPLITS[store.split[i]],
            names[i],
            store.targets[classes[i]].name if classes[i] >= 0 else "",
            store.alphabet.decode(tokens[i][mask[i]]),
        )
        for i in range(len(store))
    ]


def expected(data: dict[str, list[Domain]] = DATA) -> list[tuple[str, str, str, str]]:
    return [
        (FOLDERS[name], f"{row.sequence_name}|{row.family_accession[:7]}", row.family_accession[:7], row.sequence)
        for name, rows in data.items()
        for row in rows
    ]


def test_a_domain_is_a_sample_labelled_with_its_accession_without_version(tmp_path):
    store = import_pfam(write_split(tmp_path / "random_split"), tmp_path / "out.h5")
    assert content(store) == expected()
    assert [target.name for target in store.targets] == ["PF00001", "PF00002", "PF00003", "PF00004"]
    assert list(store.layout.exclusive) == ["family"]
    assert store.provenance["family_ids"] == {f"PF0000{n}": f"Fam_{n}" for n in range(1, 5)}


@pytest.mark.parametrize("suffix", ["", ".csv", ".gz", ".csv.gz"])
@pytest.mark.parametrize("above", ["random_split", "random_split/random_split", "my_own_name"])
def test_the_store_is_the_same_whatever_files_and_folders_are_called(tmp_path, suffix, above):
    write_split(tmp_path / "data" / above, suffix=suffix)
    given = tmp_path / "data" / ("my_own_name" if above == "my_own_name" else "")
    assert content(import_pfam(given, tmp_path / "out.h5")) == expected()


def test_columns_are_found_by_their_names_in_any_order(tmp_path):
    write_split(tmp_path / "in", columns=("sequence", "family_accession", "aligned_sequence", "sequence_name"))
    store = import_pfam(tmp_path / "in", tmp_path / "out.h5")
    assert content(store) == expected()
    assert store.provenance["family_ids"] == {}


def test_domains_without_a_name_are_called_after_their_place(tmp_path):
    write_split(tmp_path / "in", columns=("family_accession", "sequence"), shards=2)
    found = content(import_pfam(tmp_path / "in", tmp_path / "out.h5"))
    assert [row[2:] for row in found] == [row[2:] for row in expected()]
    assert found[0][1] == "train/data-00000-of-00002:2"
    assert found[-1][1] == "test/data-00001-of-00002:4"


def test_a_stretch_of_a_protein_may_belong_to_two_families_and_splits(tmp_path):
    first, second = DATA["train"][:2]
    data = {"train": DATA["train"], "dev": [second._replace(sequence_name=first.sequence_name)]}
    found = content(import_pfam(write_split(tmp_path / "in", data, shards=1), tmp_path / "out.h5"))
    assert found == expected(data)


def test_the_same_domain_twice_is_an_error_that_names_both(tmp_path):
    data = {"train": DATA["train"], "test": [DATA["train"][5]]}
    write_split(tmp_path / "in", data, shards=1)
    with pytest.raises(SourceError, match=r"data-00000-of-00001, line 2.*data-00000-of-00001, line 7"):
        import_pfam(tmp_path / "in", tmp_path / "out.h5")


def test_a_table_a_split_or_one_table_alone_do_as_well(tmp_path):
    for name, rows in DATA.items():
        write_table(tmp_path / "in" / name / f"{name}.csv", rows)
    assert content(import_pfam(tmp_path / "in", tmp_path / "out.h5")) == expected()
    alone = write_table(tmp_path / "alone.csv", DATA["train"])
    store = import_pfam(alone, tmp_path / "alone.h5")
    assert content(store) == expected({"train": DATA["train"]})
    assert any("No split was given" in note for note in store.provenance["notes"])


def test_families_that_train_never_has_are_dropped_and_counted_or_unknown(tmp_path):
    data = {"train": DATA["train"], "test": domains(12, 5, families=6)}
    write_split(tmp_path / "in", data)
    seen = [row for row in expected(data) if row[2] not in ("PF00005", "PF00006")]
    store = import_pfam(tmp_path / "in", tmp_path / "out.h5")
    assert content(store) == seen
    assert any("4 records" in note and "PF00005, PF00006" in note for note in store.provenance["notes"])

    store = import_pfam(tmp_path / "in", tmp_path / "all.h5", policies=Policies(unseen="unknown"))
    assert [row[2] for row in content(store)] == [row[2] * (row in seen) for row in expected(data)]


def test_policies_reach_the_letters(tmp_path):
    write_table(tmp_path / "in.csv", [row._replace(sequence=row.aligned_sequence) for row in DATA["train"]])
    with pytest.raises(SequenceError, match=r"line 2.*gap"):
        import_pfam(tmp_path / "in.csv", tmp_path / "out.h5")
    policies = Policies(letters=LetterPolicy(gaps="map"))
    assert content(import_pfam(tmp_path / "in.csv", tmp_path / "out.h5", policies=policies)) == expected(
        {"train": DATA["train"]}
    )


def _remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda top: _remove(top / "dev", "data-00000-of-00003", "data-00002-of-00003"),
            "dev: of 3 files, 2 are missing: data-00000-of-00003, data-00002-of-00003",
        ),
        (lambda top: write_table(top / "test/data-00001-of-00004", []), "is of 4 files, but .* of 3"),
        (lambda top: write_table(top / "test/data-00001-of-00003.csv", []), "are the same part"),
        (lambda top: write_table(top / "test/data-00003-of-00003", []), "a number that is not below 3"),
        (lambda top: (top / "train").rename(top / "training"), "no folder 'train'"),
        (lambda top: [path.unlink() for path in (top / "dev").iterdir()], "no file data-.* and 0 tables"),
        (
            lambda top: [path.rename(path.with_name(f"part-{path.name[9]}.csv")) for path in (top / "dev").iterdir()],
            "and 3 tables",
        ),
        (lambda top: write_table(top / "dev/data-00001-of-00003", [], ["sequence"]), "no column 'family_accession'"),
        (
            lambda top: write_table(top / "dev/data-00001-of-00003", [DATA["dev"][0]._replace(family_accession="7tm")]),
            "data-00001-of-00003, line 2: family_accession is '7tm'",
        ),
        (
            lambda top: write_table(top / "dev/data-00001-of-00003", [DATA["dev"][0]._replace(sequence="")]),
            "data-00001-of-00003, line 2.*no residue is left",
        ),
        (
            lambda top: [write_table(path, []) for path in top.glob("*/data-*")],
            "train/data-00000-of-00003: there are no domains, only a header",
        ),
        (lambda top: (top / "dev/data-00001-of-00003").write_bytes(b""), "data-00001-of-00003: the file is empty"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, spoil, complaint):
    top = write_split(tmp_path / "in")
    spoil(top)
    with pytest.raises((SourceError, SequenceError), match=complaint) as caught:
        import_pfam(top, tmp_path / "out.h5")
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_does_not_exist_and_a_single_family_are_errors(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        import_pfam(tmp_path / "nothing", tmp_path / "out.h5")
    with pytest.raises(SeqclassError, match=r"'family' has .* at least two"):
        import_pfam(write_table(tmp_path / "one.csv", domains(3, 1, families=1)), tmp_path / "out.h5")


def test_the_command_passes_its_policies_on(tmp_path, capsys):
    data = {"train": DATA["train"], "test": domains(12, 5, families=6)}
    top = write_split(tmp_path / "in", data)
    main(f"data import pfam {top} --out {tmp_path}/out.h5 --unseen unknown --max-length 12 --too-long head".split())
    store = Store(tmp_path / "out.h5")
    assert content(store)[0][3] == DATA["train"][0].sequence[:12]
    *notes, last = capsys.readouterr().err.splitlines()
    assert notes == [f"- {note}" for note in store.provenance["notes"]]
    assert last == f"wrote {tmp_path}/out.h5: 36 samples, 4 targets"


def test_an_input_is_not_replaced(tmp_path):
    table = write_table(tmp_path / "in.csv", DATA["train"])
    before = table.read_bytes()
    with pytest.raises(SeqclassError, match="to be read"):
        import_pfam(table, table, force=True)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: gzip.compress(text),
        lambda text: text.rstrip(b"\n"),
        lambda text: b"\n".join(b",".join(b'"%s"' % cell for cell in line.split(b",")) for line in text.split()),
    ],
    ids=["windows-ends", "byte-order-mark", "gzip-unsaid", "no-last-end", "all-quoted"],
)
def test_ways_of_writing_a_table_give_the_same_store(tmp_path, rewrite):
    table = write_table(tmp_path / "in.csv", DATA["train"])
    table.write_bytes(rewrite(table.read_bytes()))
    assert content(import_pfam(table, tmp_path / "out.h5")) == expected({"train": DATA["train"]})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.decode().encode("utf-16-le"),
        lambda text: gzip.compress(text * 50)[:-200],
        lambda text: random.Random(3).randbytes(5000),
        lambda text: text.replace(b"Fam_2", b'"Fam\n_2', 1),
        lambda text: text.replace(b"Fam_2", b"Fam\0_2", 1),
        lambda text: text[: text.rindex(b",PF") + 3],
        lambda text: text + b"A" * 5_000_000,
    ],
    ids=["utf-16", "utf-16-unmarked", "gzip-cut", "binary", "open-quote", "zero-byte", "cut-short", "huge-line"],
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing_behind(tmp_path, spoil):
    table = write_table(tmp_path / "in.csv", DATA["train"])
    table.write_bytes(spoil(table.read_bytes()))
    with pytest.raises(SeqclassError) as caught:
        import_pfam(table, tmp_path / "out.h5")
    assert caught.value.file == table
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_sequence_longer_than_the_csv_module_reads_is_kept_whole(tmp_path):
    rows = [*DATA["train"], DATA["train"][0]._replace(sequence_name="titin", sequence="ACDEFGHIKL" * 30_000)]
    assert csv.field_size_limit() < len(rows[-1].sequence)
    assert content(import_pfam(write_table(tmp_path / "in.csv", rows), tmp_path / "out.h5")) == expected(
        {"train": rows}
    )


def test_damaged_tables_are_read_or_refused(tmp_path):
    chance = random.Random(7)
    whole = write_table(tmp_path / "in.csv", DATA["train"]).read_bytes()
    outcomes: Counter[str] = Counter()
    for number in range(150):
        data = bytearray(gzip.compress(whole) if number % 5 == 0 else whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            damage = chance.choice([b"", b'"', b"\n", b",", b"\0", b"\xff", b"\r", b"PF", b"\xe2\x80\xa9"])
            data[place : place + chance.randint(0, 3)] = damage
        cut = chance.randint(1, len(data)) if chance.random() < 0.3 else len(data)
        (tmp_path / "in.csv").write_bytes(data[:cut])
        try:
            store = import_pfam(tmp_path / "in.csv", tmp_path / "out.h5", force=True)
        except SeqclassError as error:
            outcomes["refused" if error.file == tmp_path / "in.csv" else f"elsewhere: {error}"] += 1
        else:
            originals = {row[3] for row in expected({"train": DATA["train"]})}
            assert sum(row[3] not in originals for row in content(store)) <= 4
            outcomes["read"] += 1
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.h5"}
    assert set(outcomes) == {"read", "refused"}
    assert min(outcomes.values()) > 10


def test_simulated_families_come_back_as_they_were_written(tmp_path):
    simulate_pfam(tmp_path / "sim", families=5, members=20, seed=3)
    written = []
    for name, split in FOLDERS.items():
        for path in sorted((tmp_path / "sim/random_split" / name).iterdir()):
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    family = row["family_accession"].split(".")[0]
                    written.append((split, f"{row['sequence_name']}|{family}", family, row["sequence"]))
    assert content(import_pfam(tmp_path / "sim", tmp_path / "out.h5")) == written


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("SEQCLASS_REAL_DATA")
    if folder is None:
        pytest.skip("SEQCLASS_REAL_DATA is not set")
    return Path(folder) / "pfam"


def test_the_real_split_is_read_whole(real, tmp_path):
    store = import_pfam(real, tmp_path / "out.h5")
    assert store.provenance["samples"] == {"train": 31_774, "valid": 3_500, "test": 21_930}
    assert store.num_targets == 400
    counts: Counter[str] = Counter()
    residues = 0
    for path in sorted((real / "random_split").glob("*/data-*")):
        for row in csv.DictReader(path.open(newline="")):
            counts[row["family_accession"].split(".")[0]] += 1
            residues += len(row["sequence"])
    positives = sum(store.positives(split) for split in SPLITS)
    assert dict(zip((target.name for target in store.targets), positives.tolist(), strict=True)) == counts
    assert store.num_residues == residues


def test_the_real_five_columns_are_read_whole(real, tmp_path):
    path = real / "kaggle_columns_sample.csv"
    store = import_pfam(path, tmp_path / "out.h5")
    with path.open(newline="") as file:
        rows = [(row["family_accession"].split(".")[0], row["family_id"]) for row in csv.DictReader(file)]
    assert (len(store), store.num_targets) == (4_162, 25)
    assert store.provenance["family_ids"] == dict(rows)
    assert [row[2] for row in content(store)] == [family for family, _ in rows]
