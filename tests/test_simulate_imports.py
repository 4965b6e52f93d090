"""Simulated folders: written by the command line, and read by the importers of the real formats."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from seqclass.alphabets import PROTEIN
from seqclass.cli import main
from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.simulate.embeddings import simulate_embeddings
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.simulate.localisation import simulate_deeploc
from seqclass.data.simulate.motif_proteins import simulate_fasta, simulate_table
from seqclass.data.simulate.variants import simulate_vcf
from seqclass.data.sources.deeploc import LOCATIONS, import_deeploc
from seqclass.data.sources.embeddings import import_embeddings
from seqclass.data.sources.fasta import import_fasta
from seqclass.data.sources.pfam import import_pfam
from seqclass.data.sources.table import import_table
from seqclass.data.tape import read_samples


def letters_of(store):
    """Every sample's letters, by the name of its contig."""
    tokens, mask = read_samples(store, np.arange(len(store)))
    lengths = np.full(len(store), tokens.shape[1]) if mask is None else mask.sum(axis=1)
    sequences = [store.alphabet.decode(row[:length]) for row, length in zip(tokens, lengths, strict=True)]
    return dict(zip(store.names(np.arange(len(store))), sequences, strict=True))


def class_of(store, group):
    """The name of every sample's class in an exclusive group."""
    members = [store.targets[index].name for index in store.layout.members(group)]
    column = store.layout.exclusive.index(group)
    return [members[index] for index in store.classes(np.arange(len(store)))[:, column]]


def test_families_come_through_with_their_splits(tmp_path):
    folder = simulate_pfam(tmp_path / "d", families=5, members=20)
    store = import_pfam(folder, tmp_path / "d.h5")
    assert [len(store.samples(split)) for split in ("train", "valid", "test")] == [80, 10, 10]
    assert Counter(class_of(store, "family")) == {f"PF{number:05d}": 20 for number in range(1, 6)}
    rows = []
    for path in (folder / "random_split").rglob("data-*"):
        with open(path, newline="") as file:
            rows += csv.DictReader(file)
    expected = Counter((row["family_accession"].split(".")[0], row["sequence"]) for row in rows)
    assert Counter(zip(class_of(store, "family"), letters_of(store).values(), strict=True)) == expected


def test_locations_come_through_and_unknown_membrane_is_missing(tmp_path):
    folder = simulate_deeploc(tmp_path / "d", proteins=200)
    store = import_deeploc(folder / "deeploc.fasta", tmp_path / "d.h5")
    records = {record.name: record for record in read_fasta(folder / "deeploc.fasta")}
    names = store.names(np.arange(len(store)))
    assert set(records) - set(names) == {n for n, r in records.items() if r.description.startswith("Cytoplasm-Nucleus")}
    assert len(names) == 200
    assert set(class_of(store, "location")) == set(LOCATIONS)
    described = [records[name].description.removesuffix(" test").rpartition("-") for name in names]
    assert [location.replace(".", " ") for location, _, _ in described] == class_of(store, "location")
    membrane = [target.name for target in store.targets].index("membrane")
    letters = np.array([letter for _, _, letter in described])
    everything = np.arange(len(store))
    np.testing.assert_array_equal(store.present(everything)[:, membrane], letters != "U")
    np.testing.assert_array_equal(store.labels(everything)[:, membrane], letters == "M")
    tested = {names[index] for index in store.samples("test")}
    assert tested == {name for name in names if records[name].description.endswith(" test")}


def test_deeploc_2_comes_through_with_two_locations_for_some(tmp_path):
    folder = simulate_deeploc(tmp_path / "d", proteins=200)
    store = import_deeploc(folder / "deeploc2.csv", tmp_path / "d.h5")
    assert len(store) == 204
    names = [target.name for target in store.targets]
    labels = store.labels(np.arange(len(store)))
    locations = [index for index, name in enumerate(names) if name != "membrane"]
    assert len(locations) == 10
    assert Counter(labels[:, locations].sum(axis=1).tolist()) == {1: 200, 2: 4}


def test_fasta_comes_through_alike_from_headers_from_a_table_and_from_a_file_a_class(tmp_path):
    folder = simulate_fasta(tmp_path / "d", proteins=60)
    with open(folder / "labels.tsv") as file:
        rows = {row["id"]: row for row in csv.DictReader(file, delimiter="\t")}
    proteins, out = folder / "proteins.fasta", tmp_path / "d.h5"
    stores = [
        import_fasta(proteins, out, alphabet=PROTEIN, label_regex=r"class=(\S+)", split_regex=r"split=(\S+)"),
        import_fasta(
            proteins,
            tmp_path / "e.h5",
            alphabet=PROTEIN,
            labels_table=folder / "labels.tsv",
            labels=["class"],
            split="split",
        ),
        import_fasta(sorted((folder / "by_class").iterdir()), tmp_path / "f.h5", alphabet=PROTEIN),
    ]
    letters = {record.name: record.letters.decode() for record in read_fasta(proteins)}
    for store in stores:
        assert letters_of(store) == letters
        names = store.names(np.arange(len(store)))
        assert class_of(store, store.layout.exclusive[0]) == [rows[name]["class"] for name in names]
    for store in stores[:2]:
        splits = {name: split for split in ("train", "valid", "test") for name in store.names(store.samples(split))}
        assert splits == {name: row["split"] for name, row in rows.items()}


def test_a_table_comes_through_with_its_missing_labels(tmp_path):
    folder = simulate_table(tmp_path / "d", proteins=80)
    motifs = ("P-loop", "zinc-finger")
    store = import_table(
        folder / "proteins.csv", tmp_path / "d.h5", alphabet=PROTEIN, labels=motifs, split="split", group="group"
    )
    with open(folder / "proteins.csv", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    letters = letters_of(store)
    everything = np.arange(len(store))
    labels, present = store.labels(everything), store.present(everything)
    assert letters == {name: row["sequence"] for name, row in rows.items()}
    columns = [[target.name for target in store.targets].index(motif) for motif in motifs]
    for index, name in enumerate(letters):
        for motif, column in zip(motifs, columns, strict=True):
            assert present[index, column] == (rows[name][motif] != "")
            assert labels[index, column] == (rows[name][motif] == "1")
        assert store.group_names[store.groups[index]] == rows[name]["group"]


@pytest.mark.parametrize("layout", ["biotrainer", "prottrans"])
@pytest.mark.parametrize("residues", [False, True])
def test_embeddings_come_through_and_the_best_rule_still_holds(tmp_path, layout, residues):
    folder = simulate_embeddings(tmp_path / "d", proteins=300, dimensions=12, residues=residues, layout=layout)
    store = import_embeddings(
        [folder / "embeddings.h5"], tmp_path / "d.h5", labels_table=folder / "labels.tsv", split="split"
    )
    with open(folder / "labels.tsv") as file:
        rows = {row["id"]: row for row in csv.DictReader(file, delimiter="\t")}
    everything = np.arange(len(store))
    names = store.names(everything)
    assert class_of(store, store.layout.exclusive[0]) == [rows[name]["label"] for name in names]
    vectors, mask = read_samples(store, everything)
    assert vectors.dtype == np.float16
    weights = np.ones(vectors.shape[:2]) if mask is None else mask
    centres = (vectors.astype(float) * weights[..., None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    truth = json.loads((folder / "truth.json").read_text())
    means = np.array(list(truth["means"].values()))
    nearest = np.square(centres[:, None] - means).sum(axis=2).argmin(axis=1)
    right = np.mean(
        [list(truth["means"])[index] == rows[name]["label"] for index, name in zip(nearest, names, strict=True)]
    )
    assert right == pytest.approx(truth["bayes_accuracy"], abs=4 * np.sqrt(0.09 / 300))


def test_embeddings_of_one_file_a_class_have_its_name_as_label(tmp_path):
    folder = simulate_embeddings(tmp_path / "d", proteins=30, layout="classes")
    store = import_embeddings(sorted((folder / "by_class").iterdir()), tmp_path / "d.h5")
    with open(folder / "labels.tsv") as file:
        rows = {row["id"]: row["label"] for row in csv.DictReader(file, delimiter="\t")}
    names = store.names(np.arange(len(store)))
    assert class_of(store, store.layout.exclusive[0]) == [rows[name] for name in names]
    assert len(names) == 30


@pytest.mark.parametrize(
    ("kind", "sizes", "simulate"),
    [
        ("pfam", {"families": 2, "members": 5, "depth": 0.5, "indels": 0.1}, simulate_pfam),
        ("deeploc", {"proteins": 20}, simulate_deeploc),
        ("fasta", {"proteins": 9}, simulate_fasta),
        ("table", {"proteins": 9}, simulate_table),
        ("embeddings", {"proteins": 9, "classes": 2, "dimensions": 4, "accuracy": 0.8}, simulate_embeddings),
        ("vcf", {"chromosomes": 1, "length": 2000}, simulate_vcf),
        ("deepsea", {"train": 8, "valid": 4, "test": 4, "targets": 3}, simulate_deepsea),
    ],
)
def test_a_command_writes_what_its_function_writes(tmp_path, capsys, kind, sizes, simulate):
    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    command = ["data", "simulate", kind, "--out", str(tmp_path / "command"), "--seed", "3", *options]
    main(command)
    assert f"wrote {tmp_path / 'command'}" in capsys.readouterr().err.replace("\n", "")
    simulate(tmp_path / "function", **sizes, seed=3)
    assert contents(tmp_path / "command") == contents(tmp_path / "function")
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "--force" in capsys.readouterr().err
    main([*command, "--force"])
