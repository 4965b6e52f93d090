import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from seqclass.alphabets import PROTEIN
from seqclass.cli.main import main
from seqclass.data.homology import find_homologues
from seqclass.data.simulate.resistance import simulate_beta_lactamases
from seqclass.data.sources.length_matched import LENGTH_REACH, add_negatives
from seqclass.data.sources.negatives import draw_near
from seqclass.data.sources.table import import_table
from seqclass.errors import OutputExistsError, SourceError

GENERATOR = np.random.default_rng(0)


def protein(length):
    return "".join(GENERATOR.choice(list("ACDEFGHIKLMNPQRSTVWY"), size=length))


def write(path, header, rows):
    path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


def read(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def tables(tmp_path):
    """Positives of about 300 residues; negatives of 50 to 1,000 in two tables, the one with EC numbers."""
    positives = [(f"p{i}", "AB"[i % 2], f"fam{i // 4}", protein(300 + i % 7)) for i in range(40)]
    enzymes = [(f"e{i}", f"3.1.{i // 5}.1", protein(length)) for i, length in enumerate(range(50, 1000, 2))]
    others = [(f"o{i}", f"res{i // 5}", protein(length)) for i, length in enumerate(range(50, 1000, 2))]
    return [
        write(tmp_path / "positives.tsv", ("accession", "class", "family", "sequence"), positives),
        write(tmp_path / "enzymes.tsv", ("accession", "ec", "sequence"), enzymes),
        write(tmp_path / "others.tsv", ("accession", "family", "sequence"), others),
    ]


def test_negatives_are_as_long_as_positives_and_all_positives_stay(tables, tmp_path):
    out = tmp_path / "all.tsv"
    add_negatives(tables[0], tables[1:], out, label="class", group=["family", "ec"], ratio=0.5)
    rows = read(out)
    assert [row["id"] for row in rows[:40]] == [f"p{i}" for i in range(40)]
    negatives = [row for row in rows if row["class"] == "none"]
    assert len(negatives) == 20
    assert {row["origin"] for row in negatives} <= {"enzymes", "others"}
    assert len({row["origin"] for row in negatives}) == 2
    lengths = [len(row["sequence"]) for row in negatives]
    assert min(lengths) >= 300 - LENGTH_REACH
    assert max(lengths) <= 306 + LENGTH_REACH
    given = {row["accession"]: row.get("family") or row.get("ec") for path in tables for row in read(path)}
    assert all(row["group"] == given[row["id"]] for row in rows)
    assert {row["homologue"] for row in rows} == {""}


def test_length_tells_positives_from_negatives_no_more(tmp_path):
    generator = np.random.default_rng(1)
    first = generator.normal(300, 20, 60).astype(int)
    second = generator.integers(60, 700, 3000)
    positives = write(
        tmp_path / "p.tsv", ("id", "class", "sequence"), [(i, "A", protein(n)) for i, n in enumerate(first)]
    )
    negatives = write(tmp_path / "n.tsv", ("id", "sequence"), [(f"n{i}", protein(n)) for i, n in enumerate(second)])
    notes = add_negatives(positives, [negatives], tmp_path / "out.tsv", label="class")
    drawn = [len(row["sequence"]) for row in read(tmp_path / "out.tsv") if row["class"] == "none"]
    assert ks_2samp(first, second).pvalue < 1e-6
    assert ks_2samp(first, drawn).pvalue > 0.9
    assert f"negatives {ks_2samp(first, drawn).statistic:.3f}" in notes[-1]


def test_a_sequence_of_a_positive_is_no_negative_and_copies_are_written_once(tables, tmp_path):
    copied = read(tables[0])[0]["sequence"]
    again = read(tables[1])[125]["sequence"]
    more = write(tmp_path / "more.tsv", ("id", "sequence"), [("x1", copied), ("x2", again), ("x3", again.lower())])
    notes = add_negatives(tables[0], [*tables[1:], more], tmp_path / "out.tsv", label="class", ratio=5)
    sequences = [row["sequence"] for row in read(tmp_path / "out.tsv")]
    assert len(set(sequences)) == len(sequences)
    assert "3 more have the sequence of an earlier protein" in notes[0]
    assert {row["id"] for row in read(tmp_path / "out.tsv")}.isdisjoint({"x1", "x2", "x3"})


def test_the_choice_follows_from_the_seed(tables, tmp_path):
    texts = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{number}.tsv"
        add_negatives(tables[0], tables[1:], out, label="class", ratio=0.25, seed=seed)
        texts.append(out.read_text())
    assert texts[0] == texts[1] != texts[2]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=30),
    st.lists(st.integers(0, 60), max_size=60),
    st.sampled_from([0.5, 1, 2]),
)
@settings(deadline=None)
def test_what_is_drawn_is_within_reach_once_each_and_never_too_much(positives, offered, ratio):
    rows = draw_near(np.array(positives), np.array(offered, dtype=np.int64), ratio, reach=3)
    assert len(set(rows.tolist())) == len(rows) <= round(ratio * len(positives))
    for row in rows.tolist():
        assert min(abs(offered[row] - step) for step in positives) <= 3


def test_planted_homologues_stay_whatever_their_length_and_are_told_apart(tmp_path):
    raw = simulate_beta_lactamases(tmp_path / "raw", families=2, alleles=3)
    negatives = [raw / "hydrolases.tsv", raw / "other_resistance_proteins.tsv"]
    out = tmp_path / "out.tsv"
    add_negatives(
        raw / "beta_lactamases.tsv",
        negatives,
        out,
        label="ambler_class",
        group=["family", "ec_number"],
        homologues=True,
    )
    rows = read(out)
    planted = {row["accession"] for row in read(negatives[0]) if row["ec_number"] == "3.4.16.4"}
    assert {row["id"] for row in rows if row["homologue"] == "yes"} == planted
    assert {row["homologue"] for row in rows if row["ambler_class"] != "none"} == {""}
    store = import_table(out, tmp_path / "s.h5", alphabet=PROTEIN, labels=["ambler_class"], group="group")
    assert sorted(target.name for target in store.targets) == ["A", "B", "C", "D", "none"]


def test_homologues_are_found_and_shuffled_ones_are_not():
    query = protein(250)
    mutated = "".join(letter if number % 4 else "A" for number, letter in enumerate(query))
    shuffled = "".join(GENERATOR.permutation(list(query)))
    found = find_homologues({"q": query, "other": protein(250)}, [shuffled, mutated, query])
    assert [(hit.row, hit.query) for hit in found] == [(2, "q"), (1, "q")]
    assert found[0].evalue < found[1].evalue < 1e-3


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("\tA\t", "\tnone\t", 1), "its class is 'none'"),
        (lambda text: text.replace("\tA\t", "\t\t", 1), "its class is ''"),
        (lambda text: text.replace("p0\t", "\t", 1), "its name is empty"),
        (lambda text: text.replace("accession", "who", 1), "no column id, name or accession"),
        (lambda text: text.replace("class", "kind", 1), "no column 'class'"),
        (lambda text: text.split("\n")[0] + "\np0\tA\tf\t" + "M" * 5000 + "\n", "about as long as a positive"),
    ],
)
def test_bad_tables_are_refused_and_nothing_is_written(tables, tmp_path, change, problem):
    tables[0].write_text(change(tables[0].read_text()))
    with pytest.raises(SourceError, match=problem):
        add_negatives(tables[0], tables[1:], tmp_path / "out.tsv", label="class")
    assert not (tmp_path / "out.tsv").exists()


def test_a_sequence_that_is_none_is_refused_where_homologues_are_sought(tables, tmp_path):
    tables[0].write_text(tables[0].read_text() + "p99\tA\tfam99\t12345\n")
    with pytest.raises(SourceError, match="holds what is no residue"):
        add_negatives(tables[0], tables[1:], tmp_path / "out.tsv", label="class", homologues=True)


def test_output_that_stands_there_is_replaced_only_with_force(tables, tmp_path):
    out = tmp_path / "out.tsv"
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        add_negatives(tables[0], tables[1:], out, label="class")
    assert out.read_text() == "mine"
    for ratio in (0, -1, float("nan")):
        with pytest.raises(SourceError, match="negatives for each positive"):
            add_negatives(tables[0], tables[1:], out, label="class", ratio=ratio, force=True)


def test_the_command_does_what_the_function_does(tables, tmp_path, capsys):
    paths = [str(path) for path in tables]
    command = ["data", "negatives", paths[0], "--from", *paths[1:], "--label", "class", "--ratio", "0.5"]
    assert main([*command, "--group", "family", "ec", "--out", str(tmp_path / "command.tsv")]) in (0, None)
    add_negatives(tables[0], tables[1:], tmp_path / "function.tsv", label="class", group=["family", "ec"], ratio=0.5)
    assert (tmp_path / "command.tsv").read_text() == (tmp_path / "function.tsv").read_text()
    assert "20 of 20 negatives wanted" in " ".join(capsys.readouterr().err.split())
