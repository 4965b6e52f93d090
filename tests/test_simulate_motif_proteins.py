import csv
import re
from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from seqclass.alphabets import PROTEIN
from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.motif_proteins import simulate_fasta, simulate_table
from seqclass.errors import SourceError

# As PROSITE writes them: [AG]-x(4)-G-K-[ST] and C-x(2,4)-C-x(3)-[LIVMFYWC]-x(8)-H-x(3,5)-H.
PROSITE = {"P-loop": "[AG]....GK[ST]", "zinc-finger": "C..(?:|.|..)C...[LIVMFYWC]........H...(?:|.|..)H"}


def read_table(path, delimiter):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return simulate_fasta(tmp_path_factory.mktemp("fasta") / "data")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return simulate_table(tmp_path_factory.mktemp("table") / "data", missing=0.2)


def test_a_class_is_the_pattern_that_matches(fasta):
    counts = {}
    for record in read_fasta(fasta / "proteins.fasta"):
        name = re.match(r"class=(\S+) split=(train|valid|test)$", record.description).group(1)
        found = [motif for motif, pattern in PROSITE.items() if re.search(pattern, record.letters.decode())]
        assert found == ([] if name == "neither" else [name])
        counts[name] = counts.get(name, 0) + 1
    assert counts == {"P-loop": 200, "zinc-finger": 200, "neither": 200}


def test_the_three_forms_say_the_same(fasta):
    records = list(read_fasta(fasta / "proteins.fasta"))
    header = [(record.name, *re.findall(r"=(\S+)", record.description)) for record in records]
    assert header == [(row["id"], row["class"], row["split"]) for row in read_table(fasta / "labels.tsv", "\t")]
    by_class = {
        record.name: (path.stem, record.letters)
        for path in (fasta / "by_class").iterdir()
        for record in read_fasta(path)
    }
    assert by_class == {
        record.name: (name, record.letters) for record, (_, name, _) in zip(records, header, strict=True)
    }


def test_stretches_stand_where_the_truth_says(fasta):
    letters = {record.name: record.letters.decode() for record in read_fasta(fasta / "proteins.fasta")}
    rows = read_table(fasta / "motifs.tsv", "\t")
    assert len(rows) == 2 * len(letters)
    for row in rows:
        stretch = letters[row["id"]][int(row["start"]) : int(row["end"])]
        assert bool(re.fullmatch(PROSITE[row["motif"]], stretch)) == (row["true"] == "yes")
        wanted = {"P-loop": "GK", "zinc-finger": "CCHH"}[row["motif"]]
        assert all(stretch.count(letter) >= wanted.count(letter) for letter in wanted)


def test_composition_does_not_tell_the_classes(fasta):
    records = list(read_fasta(fasta / "proteins.fasta"))
    counts = np.array([[record.letters.count(letter.encode()) for letter in PROTEIN.letters] for record in records])
    composition = counts / counts.sum(axis=1, keepdims=True)
    label = np.array([record.description.split()[0] for record in records])
    model = LogisticRegression(C=100.0, max_iter=1000).fit(composition[:400], label[:400])
    assert model.score(composition[400:], label[400:]) < 0.45


def test_a_label_in_the_table_is_a_match_or_missing(table):
    rows = read_table(table / "proteins.csv", ",")
    assert list(rows[0]) == ["id", "sequence", "P-loop", "zinc-finger", "split", "group"]
    cells = []
    for row in rows:
        for motif, pattern in PROSITE.items():
            cells.append(row[motif])
            assert row[motif] in ("", str(int(bool(re.search(pattern, row["sequence"])))))
    assert np.mean([cell == "" for cell in cells]) == pytest.approx(0.2, abs=0.05)
    assert np.mean([cell == "1" for cell in cells if cell]) == pytest.approx(0.5, abs=0.06)


def test_a_group_is_of_relatives_and_lies_in_one_split(table):
    groups = {}
    for row in read_table(table / "proteins.csv", ","):
        groups.setdefault(row["group"], []).append(row)
    assert {len(members) for members in groups.values()} == {4}

    def alike(a, b):
        return np.mean([x == y for x, y in zip(a["sequence"], b["sequence"], strict=False)])

    for members in groups.values():
        assert len({row["split"] for row in members}) == 1
    assert np.mean([alike(*members[:2]) for members in groups.values()]) > 0.4
    firsts = [members[0] for members in groups.values()]
    assert np.mean([alike(a, b) for a, b in pairwise(firsts)]) < 0.1


@pytest.mark.parametrize("simulate", [simulate_fasta, simulate_table])
def test_one_seed_gives_one_folder(tmp_path, simulate):
    def contents(name):
        folder = tmp_path / name
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        simulate(tmp_path / name, proteins=30, seed=seed)
    assert contents("a") == contents("b") != contents("c")


@pytest.mark.parametrize(
    ("simulate", "options"),
    [(simulate_fasta, {"proteins": 2}), (simulate_table, {"missing": 1.0}), (simulate_table, {"seed": -1})],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, simulate, options):
    with pytest.raises(SourceError):
        simulate(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
