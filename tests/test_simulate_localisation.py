import csv
import re
from collections import Counter

import numpy as np
import pytest

from seqclass.alphabets import PROTEIN
from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.localisation import simulate_deeploc
from seqclass.errors import OutputExistsError, SourceError

SIGNALS = {
    "signal peptide": r"M[KR][KNQRST]*[AFILV]{10,13}.{3}A.A",
    "signal anchor": r"M\w+[KR]{2}[AFGILV]{17}",
    "presequence": r"M[^DE]*R[ACS][FLY]",
    "transit peptide": r"MA[^DE]*[IV].[AC]A",
    "membrane helix": r"[AFGILV]{21}RRS",
    "nuclear localisation": r"PKK[KR]RKV|KR.{10,12}KK.K",
    "KDEL": r"[KH]DEL",
    "GYxxO": r"GY..[FILV]",
    "SKL": r"[SAC][KRH][LM]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_deeploc(tmp_path_factory.mktemp("deeploc") / "data", proteins=1500)


@pytest.fixture(scope="module")
def records(folder):
    return {
        record.name: (re.fullmatch(r"(.*)-([MSU])( test)?", record.description).groups(), record.letters.decode())
        for record in read_fasta(folder / "deeploc.fasta")
    }


@pytest.fixture(scope="module")
def signals(folder):
    with open(folder / "signals.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row | {"start": int(row["start"]), "end": int(row["end"])} for row in rows]


def read_location(letters):
    """What a biologist with the rules, but not the truth, would say."""
    head = letters[:60]
    if re.search(r"K[KR].[KR]", letters):
        return "Nucleus"
    if re.search(r"^M.{2,12}[KR]{2}[AFGILV]{17}", head):
        return "Golgi.apparatus"
    if re.search(r"^M[KR].{0,3}[AFILV]{10,}.{3,4}A.A", head):
        if re.search(r"[KH]DEL$", letters):
            return "Endoplasmic.reticulum"
        if not re.search(r"[AFGILV]{21}RRS", letters[-60:]):
            return "Extracellular"
        return "Lysosome/Vacuole" if re.search(r"GY..[FILV]$", letters) else "Cell.membrane"
    if re.search(r"[SAC][KRH][LM]$", letters):
        return "Peroxisome"
    if not set("DE") & set(head[:37]) and head[1] == "A":
        return "Plastid"
    if not set("DE") & set(head[:23]) and sum(head[:25].count(letter) for letter in "KR") >= 3:
        return "Mitochondrion"
    return "Cytoplasm"


def test_every_location_is_equally_common_and_some_proteins_have_two(records):
    counts = Counter(labels[0] for labels, _ in records.values())
    # As they are written in DeepLoc 1.0.
    locations = (
        "Cell.membrane Cytoplasm Endoplasmic.reticulum Extracellular Golgi.apparatus Lysosome/Vacuole Mitochondrion "
        "Nucleus Peroxisome Plastid"
    )
    assert counts == dict.fromkeys(locations.split(), 150) | {"Cytoplasm-Nucleus": 30}


def test_signals_stand_where_the_truth_says(records, signals):
    for row in signals:
        letters = records[row["name"]][1]
        assert re.fullmatch(SIGNALS[row["signal"]], letters[row["start"] : row["end"]])


def test_acting_signals_are_at_their_terminus_and_decoys_far_from_either(records, signals):
    heads = {"signal peptide", "signal anchor", "presequence", "transit peptide"}
    decoys = 0
    for row in signals:
        length = len(records[row["name"]][1])
        if row["acts"] == "no":
            decoys += 1
            assert row["start"] >= 70
            assert row["end"] <= length - 70
        elif row["signal"] in heads:
            assert row["start"] == 0
        elif row["signal"] in ("KDEL", "GYxxO", "SKL"):
            assert row["end"] == length
    assert decoys == pytest.approx(0.5 * 9 * 150, rel=0.1)


def test_each_location_has_its_signals(records, signals):
    acting = {}
    for row in signals:
        if row["acts"] == "yes":
            acting.setdefault(row["name"], set()).add(row["signal"])
    expected = {
        "Cell.membrane": {"signal peptide", "membrane helix"},
        "Cytoplasm": set(),
        "Cytoplasm-Nucleus": {"nuclear localisation"},
        "Endoplasmic.reticulum": {"signal peptide", "KDEL"},
        "Extracellular": {"signal peptide"},
        "Golgi.apparatus": {"signal anchor"},
        "Lysosome/Vacuole": {"signal peptide", "membrane helix", "GYxxO"},
        "Mitochondrion": {"presequence"},
        "Nucleus": {"nuclear localisation"},
        "Peroxisome": {"SKL"},
        "Plastid": {"transit peptide"},
    }
    for name, (labels, _) in records.items():
        assert acting.get(name, set()) == expected[labels[0]]


def test_rules_from_the_literature_read_the_location_off_the_sequence(records):
    right = [read_location(letters) == labels[0].split("-")[-1] for labels, letters in records.values()]
    assert np.mean(right) > 0.97


def test_the_ends_tell_the_location_and_the_middle_does_not(records):
    def middle(letters):
        return "M" + letters[60:-60]

    assert (
        np.mean(
            [
                read_location(middle(letters)) == labels[0]
                for labels, letters in records.values()
                if labels[0] not in ("Nucleus", "Cytoplasm", "Cytoplasm-Nucleus")
            ]
        )
        < 0.1
    )


def test_a_presequence_is_amphipathic(records, signals):
    """Eisenberg's moment at 100 degrees, with +1 for R and K and -1 for hydrophobic residues."""

    def moment(letters):
        charge = np.array([1.0 if letter in "RK" else -1.0 if letter in "AFIL" else 0.0 for letter in letters])
        return abs((charge * np.exp(1j * np.deg2rad(100) * np.arange(len(letters)))).sum()) / len(letters)

    generator = np.random.default_rng(0)
    helices = [records[r["name"]][1][r["start"] : r["end"] - 3] for r in signals if r["signal"] == "presequence"]
    shuffled = ["".join(generator.permutation(list(helix))) for helix in helices]
    assert np.mean([moment(helix) for helix in helices]) > 2 * np.mean([moment(helix) for helix in shuffled])


def test_membrane_flags_are_true_or_unknown(records):
    unknown, test = [], []
    for (location, letter, mark), _ in records.values():
        unknown.append(letter == "U")
        test.append(mark is not None)
        if letter != "U":
            assert (letter == "M") == (location in ("Cell.membrane", "Golgi.apparatus", "Lysosome/Vacuole"))
    assert np.mean(unknown) == pytest.approx(0.4, abs=0.05)
    assert np.mean(test) == pytest.approx(0.2, abs=0.04)


def test_the_csv_of_deeploc_2_says_the_same(folder, records):
    with open(folder / "deeploc2.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ACC"] for row in rows] == list(records)
    for row in rows:
        (location, letter, _), letters = records[row["ACC"]]
        assert row["Sequence"] == letters
        assert {name for name in row if row[name] == "1.0" and name != "Membrane"} == set(
            location.replace(".", " ").split("-")
        )
        assert letter in (("M" if row["Membrane"] == "1.0" else "S"), "U")
        assert row["Kingdom"] == "Viridiplantae" or location != "Plastid"
        assert row["Partition"] in "01234"


def test_letters_are_residues_and_lengths_vary(records):
    lengths = [len(letters) for _, letters in records.values()]
    assert min(lengths) >= 200
    assert max(lengths) > 800
    assert {letter for _, letters in records.values() for letter in letters} == set(PROTEIN.letters)


def test_one_seed_gives_one_folder_and_none_is_replaced(tmp_path):
    def contents(name):
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        simulate_deeploc(tmp_path / name, proteins=30, seed=seed)
    assert contents("a") == contents("b") != contents("c")
    with pytest.raises(OutputExistsError):
        simulate_deeploc(tmp_path / "a", proteins=40)
    assert contents("a") == contents("b")


@pytest.mark.parametrize(
    "options", [{"proteins": 9}, {"decoys": 1.1}, {"unknown_membrane": float("nan")}, {"seed": -1}]
)
def test_sizes_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(SourceError):
        simulate_deeploc(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
