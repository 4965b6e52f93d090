import csv
import re
from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import expm

from seqclass.alphabets import PROTEIN
from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.amino_acids import blosum62, frequencies, random_protein, substitution_probabilities
from seqclass.data.simulate.families import simulate_pfam
from seqclass.errors import OutputExistsError, SeqclassError, SourceError


def read_splits(folder):
    rows = {"train": [], "dev": [], "test": []}
    for split, into in rows.items():
        for path in sorted((folder / "random_split" / split).iterdir()):
            with open(path, newline="") as file:
                into += csv.DictReader(file)
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_pfam(tmp_path_factory.mktemp("pfam") / "data", families=12, members=20)


@pytest.fixture(scope="module")
def splits(folder):
    return read_splits(folder)


@pytest.fixture(scope="module")
def by_name(splits):
    return {row["sequence_name"]: row for rows in splits.values() for row in rows}


@pytest.fixture(scope="module")
def ancestors(folder):
    return {record.name: record.letters.decode() for record in read_fasta(folder / "ancestors.fasta")}


def parents_and_lengths(newick):
    """Parent and branch length of each node of a Newick tree whose nodes all have names."""
    tree, above, stack, finished = {}, {}, [], None
    for sign, name, length in re.findall(r"([(),]?)([^(),:;]*)(?::([0-9.]+))?", newick):
        if sign == "(":
            stack.append([])
        if sign == ")":
            finished = stack.pop()
        if name:
            for child in finished or []:
                tree[child] = name
            finished = None
            if length:
                above[name] = float(length)
                stack[-1].append(name)
    return tree, above


def distances(newick):
    """The path lengths between the leaves of a tree."""
    parent, above = parents_and_lengths(newick)
    leaves = [name for name in parent if "/" in name]

    def way(node):
        passed, total = {node: 0.0}, 0.0
        while node in parent:
            total += above[node]
            node = parent[node]
            passed[node] = total
        return passed

    ways = {leaf: way(leaf) for leaf in leaves}
    return {
        (a, b): min(ways[a][node] + ways[b][node] for node in ways[a].keys() & ways[b].keys())
        for a, b in combinations(leaves, 2)
    }


def identity(a, b):
    """The share of equal residues among the columns in which both have one."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x != "." and y != "."]
    return sum(x == y for x, y in pairs) / len(pairs)


def kmers(sequence, k=3):
    return {sequence[i : i + k] for i in range(len(sequence) - k + 1)}


def nearest(sequence, train):
    """The family of the k-mer set in `train` most like that of a sequence."""
    mine = kmers(sequence)
    return max(train, key=lambda other: len(mine & other[1]) / len(mine | other[1]))[0]


# amino acids


def test_substitution_probabilities_are_the_exponential_of_a_reversible_rate_matrix():
    share = frequencies()
    rates = 2 ** (blosum62() / 2) * share
    rates[np.diag_indices(20)] = 0
    rates[np.diag_indices(20)] = -rates.sum(axis=1)
    rates /= -(share @ rates.diagonal())
    for time, probabilities in zip((0.0, 0.3, 2.0), substitution_probabilities(np.array([0.0, 0.3, 2.0])), strict=True):
        np.testing.assert_allclose(probabilities, expm(rates * time), atol=1e-12)
        np.testing.assert_allclose(share[:, None] * probabilities, (share[:, None] * probabilities).T, atol=1e-12)


def test_time_is_in_substitutions_a_site():
    changed = 1 - frequencies() @ substitution_probabilities(np.array([1e-4]))[0].diagonal()
    assert changed == pytest.approx(1e-4, rel=1e-2)


def test_the_scores_are_blosum62():
    scores = {pair: blosum62()[PROTEIN.letters.index(pair[0]), PROTEIN.letters.index(pair[1])] for pair in BLOSUM62}
    assert scores == BLOSUM62
    np.testing.assert_array_equal(blosum62(), blosum62().T)


# Read off the published matrix, at least one pair a residue.
BLOSUM62 = {
    "AA": 4, "RK": 2, "ND": 1, "DE": 2, "CC": 9, "CE": -4, "QE": 2, "GG": 6, "HY": 2, "HH": 8, "IV": 3, "IL": 2,
    "LM": 2, "KK": 5, "MM": 5, "FY": 3, "FW": 1, "PP": 7, "PF": -4, "ST": 1, "SA": 1, "TT": 5, "WW": 11, "WY": 2,
    "WN": -4, "VV": 4,
}  # fmt: skip


def test_random_proteins_are_composed_as_natural_ones():
    letters = random_protein(50_000, np.random.default_rng(0))
    observed = [letters.count(letter) / len(letters) for letter in PROTEIN.letters]
    np.testing.assert_allclose(observed, frequencies(), atol=0.005)


# families


def test_the_layout_is_kaggles(folder, splits):
    names = {path.name for path in (folder / "random_split" / "train").iterdir()}
    assert names == {f"data-{number:05d}-of-00004" for number in range(4)}
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 192, "dev": 24, "test": 24}
    for row in (row for rows in splits.values() for row in rows):
        assert list(row) == ["family_id", "sequence_name", "family_accession", "aligned_sequence", "sequence"]
        assert re.fullmatch(r"PF\d{5}\.\d+", row["family_accession"])
        first, last = map(int, row["sequence_name"].split("/")[1].split("-"))
        assert last - first + 1 == len(row["sequence"])


def test_the_aligned_sequence_is_the_sequence_with_gaps(by_name):
    assert any("." in row["aligned_sequence"] for row in by_name.values())
    for row in by_name.values():
        assert row["aligned_sequence"].replace(".", "") == row["sequence"]
        assert set(row["sequence"]) <= set(PROTEIN.letters)


def test_a_family_has_one_alignment_and_every_split_has_every_family(splits, ancestors):
    widths = {}
    for rows in splits.values():
        assert len({row["family_accession"] for row in rows}) == 12
        for row in rows:
            widths.setdefault(row["family_accession"].split(".")[0], set()).add(len(row["aligned_sequence"]))
    for name, letters in ancestors.items():
        widths[name.split("/")[0]].add(len(letters))
    assert all(len(each) == 1 for each in widths.values())


def test_no_sequence_is_twice_there(by_name):
    assert len({row["sequence"] for row in by_name.values()}) == len(by_name) == 240


def test_the_tree_holds_every_member_at_the_depth(folder, by_name, ancestors):
    for path in (folder / "trees").iterdir():
        parent, above = parents_and_lengths(path.read_text())
        members = {n for n, row in by_name.items() if row["family_accession"].startswith(path.stem)}
        inner = {name.split("/")[1] for name in ancestors if name.startswith(path.stem)}
        assert {name for name in parent if "/" in name} == members
        assert set(parent.values()) == inner
        assert inner - set(parent) == {"N0"}
        for leaf in members:
            total, node = 0.0, leaf
            while node in parent:
                total, node = total + above[node], parent[node]
            assert total == pytest.approx(0.8, abs=1e-5)


def test_identity_falls_with_the_distance_along_the_tree(folder, by_name):
    paths, identities = [], []
    for path in (folder / "trees").iterdir():
        for (a, b), distance in distances(path.read_text()).items():
            paths.append(distance)
            identities.append(identity(by_name[a]["aligned_sequence"], by_name[b]["aligned_sequence"]))
    assert len(paths) == 12 * 190
    assert min(paths) >= 0.32
    # Four rates at the middle quantiles of an exponential distribution, in closed form.
    rates = -np.log1p(-np.array([0.125, 0.375, 0.625, 0.875]))
    rates /= rates.mean()
    means = []
    for low, high in [(0.3, 0.7), (0.7, 1.1), (1.1, 1.5), (1.5, 1.7)]:
        near = [index for index, distance in enumerate(paths) if low <= distance < high]
        times = np.mean([paths[index] for index in near]) * rates
        expected = frequencies() @ substitution_probabilities(times).mean(axis=0).diagonal()
        means.append(np.mean([identities[index] for index in near]))
        assert means[-1] == pytest.approx(expected, abs=0.05)
    assert means == sorted(means, reverse=True)


def test_a_child_is_nearer_to_its_parent_than_to_the_root(folder, by_name, ancestors):
    nearer = []
    for path in (folder / "trees").iterdir():
        parent, _ = parents_and_lengths(path.read_text())
        for leaf in (name for name in parent if "/" in name):
            aligned = by_name[leaf]["aligned_sequence"]
            to_parent, to_root = (identity(aligned, ancestors[f"{path.stem}/{name}"]) for name in (parent[leaf], "N0"))
            if parent[leaf] != "N0":
                nearer.append(to_parent > to_root)
    assert np.mean(nearer) > 0.95


def test_substitutions_along_the_branches_are_as_many_as_the_model_says(tmp_path):
    simulate_pfam(tmp_path / "d", families=30, members=3, depth=0.3, indels=0.0)
    ancestors = {r.name: r.letters.decode() for r in read_fasta(tmp_path / "d" / "ancestors.fasta")}
    observed = []
    for row in (row for rows in read_splits(tmp_path / "d").values() for row in rows):
        root = ancestors[row["family_accession"].split(".")[0] + "/N0"]
        observed.append(identity(row["aligned_sequence"], root))
    rates = -np.log1p(-np.array([0.125, 0.375, 0.625, 0.875]))
    expected = substitution_probabilities(0.3 * rates / rates.mean()).mean(axis=0).diagonal() @ frequencies()
    assert np.mean(observed) == pytest.approx(expected, abs=0.02)


def test_without_indels_there_are_no_gaps_and_more_of_them_with_more(tmp_path):
    def gaps(indels):
        simulate_pfam(tmp_path / f"{indels}", families=3, members=10, indels=indels)
        aligned = "".join(
            row["aligned_sequence"] for rows in read_splits(tmp_path / f"{indels}").values() for row in rows
        )
        return aligned.count(".") / len(aligned)

    none, few, many = gaps(0.0), gaps(0.02), gaps(0.1)
    assert none == 0 < few < many


def test_neighbours_by_kmers_find_the_family_far_better_than_chance(splits):
    train = [(row["family_accession"], kmers(row["sequence"])) for row in splits["train"]]
    right = []
    for row in splits["test"]:
        right.append(nearest(row["sequence"], train) == row["family_accession"])
    assert np.mean(right) > 0.8


def test_deep_families_are_harder(tmp_path):
    def accuracy(depth):
        simulate_pfam(tmp_path / f"{depth}", families=8, members=12, depth=depth)
        rows = read_splits(tmp_path / f"{depth}")
        train = [(row["family_id"], kmers(row["sequence"])) for row in rows["train"]]
        return np.mean([nearest(row["sequence"], train) == row["family_id"] for row in rows["test"]])

    assert accuracy(0.5) > accuracy(5.0)


# the folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_seed_gives_one_folder(tmp_path):
    sizes = {"families": 3, "members": 5}
    first = contents(simulate_pfam(tmp_path / "a", **sizes, seed=4))
    assert contents(simulate_pfam(tmp_path / "b", **sizes, seed=4)) == first
    assert contents(simulate_pfam(tmp_path / "c", **sizes, seed=5)) != first


def test_nothing_is_replaced_without_force_nor_what_is_of_another_kind(tmp_path):
    simulate_pfam(tmp_path / "a", families=1, members=3)
    before = contents(tmp_path / "a")
    with pytest.raises(OutputExistsError):
        simulate_pfam(tmp_path / "a", families=2, members=3)
    assert contents(tmp_path / "a") == before
    simulate_pfam(tmp_path / "a", families=2, members=3, force=True)
    assert contents(tmp_path / "a") != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(SeqclassError):
        simulate_pfam(tmp_path / "mine", force=True)
    assert contents(tmp_path / "mine").keys() == {(tmp_path / "mine" / "thesis.txt").relative_to(tmp_path / "mine")}


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("seqclass.data.simulate.families.write_fasta", fail)
    with pytest.raises(RuntimeError):
        simulate_pfam(tmp_path / "a", families=1, members=3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [{"families": 0}, {"members": 2}, {"depth": 0}, {"depth": float("nan")}, {"indels": -1}, {"seed": -1}],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(SourceError):
        simulate_pfam(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
