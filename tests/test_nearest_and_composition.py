from collections import Counter

import numpy as np
import pytest
from class_stores import make_classes, random_proteins
from sklearn.neighbors import KNeighborsClassifier

from seqclass.alphabets import DNA, PROTEIN
from seqclass.evaluation.baselines import compute_baselines
from seqclass.evaluation.baselines.composition import composition
from seqclass.evaluation.baselines.nearest import nearest_by_cosine, nearest_by_kmers

BASES = {"A": "AT", "C": "CG"}


def accuracy(store, samples, scores):
    return (scores.argmax(axis=1) == store.classes(samples)[:, 0]).mean()


def prevalence_of(store):
    return store.labels(store.samples("train")).mean(axis=0).astype(np.float32)


@pytest.fixture
def mutants(tmp_path):
    """Families of mutated copies, and at the end of test some proteins of no family."""
    random = np.random.default_rng(0)
    parents = random_proteins(random, [60, 80, 100, 120])
    sequences, classes, split = [], [], []
    for number in range(120):
        parent = np.array(list(parents[number % 4]))
        changed = random.random(len(parent)) < 0.4
        parent[changed] = random.choice(list(PROTEIN.letters), changed.sum())
        sequences.append("".join(parent))
        classes.append(number % 4)
        split.append("train" if number < 70 else "valid" if number < 90 else "test")
    return make_classes(tmp_path / "mutants.h5", sequences, classes, split)


def test_the_nearest_neighbour_by_k_mers_is_that_of_scikit_learn(mutants):
    train, test = mutants.samples("train"), mutants.samples("test")

    def kmers(samples):
        with mutants.open() as file:
            tape = PROTEIN.decode(file["tokens"][:])
        views = mutants.views[samples]
        starts = mutants.contig_start[views.contig]
        texts = [tape[start : start + length] for start, length in zip(starts, views.length, strict=True)]
        return [{text[at : at + 3] for at in range(len(text) - 2)} for text in texts]

    known, asked = kmers(train), kmers(test)
    columns = sorted(set().union(*known, *asked))
    table = [np.array([[column in row for column in columns] for row in rows]) for rows in (known, asked)]
    reference = KNeighborsClassifier(1, metric="jaccard", algorithm="brute").fit(table[0], mutants.classes(train)[:, 0])
    scores = nearest_by_kmers(mutants, train, test, prevalence_of(mutants))
    np.testing.assert_array_equal(scores.argmax(axis=1), reference.predict(table[1]))
    distance, _ = reference.kneighbors(table[1])
    np.testing.assert_allclose(scores.max(axis=1), 1 - distance[:, 0], atol=1e-6)


def test_the_nearest_neighbour_by_cosine_is_that_of_scikit_learn(tmp_path):
    random = np.random.default_rng(1)
    centres = random.standard_normal((5, 16))
    classes = random.integers(0, 5, 300)
    vectors = [
        (centres[number] + random.standard_normal((length, 16))).astype(np.float32)
        for number, length in zip(classes, random.integers(1, 6, 300), strict=True)
    ]
    store = make_classes(tmp_path / "vectors.h5", vectors, classes.tolist(), ["train"] * 200 + ["test"] * 100)
    means = np.array([vector.mean(axis=0) for vector in vectors])
    reference = KNeighborsClassifier(1, metric="cosine").fit(means[:200], classes[:200])
    test = store.samples("test")
    scores = nearest_by_cosine(store, store.samples("train"), test, prevalence_of(store))
    np.testing.assert_array_equal(scores.argmax(axis=1), reference.predict(means[200:]))
    np.testing.assert_allclose(scores.max(axis=1) - 1, 1 - reference.kneighbors(means[200:])[0][:, 0], atol=1e-5)
    np.testing.assert_array_equal(compute_baselines(store, test)["nearest_neighbour"].scores, scores)


def test_a_sample_like_no_other_is_of_the_most_frequent_class(tmp_path):
    sequences = ["AAAAAA", "CCCCCC", "CCCCCD", "WWWWWW", "MK"]
    store = make_classes(tmp_path / "alone.h5", sequences, [0, 1, 1, 0, 0], ["train"] * 3 + ["test"] * 2)
    scores = nearest_by_kmers(store, store.samples("train"), store.samples("test"), prevalence_of(store))
    assert (scores.argmax(axis=1) == 1).all()
    assert (scores < 0).all()


def test_the_nearest_neighbour_on_either_strand_of_dna_is_the_same(tmp_path):
    random = np.random.default_rng(2)
    sequences = ["".join(random.choice(list("ACGT"), 80)) for _ in range(6)]
    sequences += [sequence[::-1].translate(str.maketrans("ACGT", "TGCA")) for sequence in sequences]
    store = make_classes(tmp_path / "dna.h5", sequences, [*range(6)] * 2, ["train"] * 6 + ["test"] * 6, DNA)
    test = store.samples("test")
    scores = nearest_by_kmers(store, store.samples("train"), test, prevalence_of(store))
    assert accuracy(store, test, scores) == 1
    np.testing.assert_allclose(scores.max(axis=1), 1)


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN])
@pytest.mark.parametrize("ends", [0, 7])
def test_composition_equals_counting_by_hand(tmp_path, alphabet, ends):
    random = np.random.default_rng(3)
    letters = [*alphabet.letters, alphabet.decode(np.array([alphabet.unknown_token], dtype=np.uint8))]
    sequences = ["".join(random.choice(letters, length)) for length in (1, 5, 7, 30, 200)]
    store = make_classes(tmp_path / "some.h5", sequences, [0, 1, 0, 1, 0], ["train"] * 5, alphabet)

    def shares(text):
        kinds = list(BASES.values()) if alphabet is DNA else list(alphabet.letters)
        count = Counter(text)
        numbers = np.array([sum(count[letter] for letter in kind) for kind in kinds])
        return numbers / max(numbers.sum(), 1)

    order = np.array([3, 0, 4, 1, 2])
    for row, sample in zip(composition(store, order, ends), order, strict=True):
        text = sequences[sample]
        parts = [[np.log(len(text))], shares(text), *([shares(text[:ends]), shares(text[-ends:])] if ends else [])]
        np.testing.assert_allclose(row, np.concatenate(parts), atol=1e-6)


def test_a_signal_at_the_end_is_seen_only_by_what_looks_there(tmp_path):
    """Class 1 has ten lysines at its end, class 0 has them within: neither length nor composition differs."""
    random = np.random.default_rng(4)
    classes = random.integers(0, 2, 600).tolist()
    sequences = []
    for number, text in zip(classes, random_proteins(random, random.integers(150, 250, 600)), strict=True):
        place = len(text) if number else int(random.integers(50, 100))
        sequences.append(text[:place] + "K" * 10 + text[place:])
    store = make_classes(tmp_path / "ends.h5", sequences, classes, ["train"] * 300 + ["valid"] * 100 + ["test"] * 200)
    test = store.samples("test")
    baselines = compute_baselines(store, test)
    assert accuracy(store, test, baselines["terminal_composition"].scores) > 0.98
    assert baselines["terminal_composition"].settings["ends"] == 20
    assert accuracy(store, test, baselines["composition"].scores) < 0.65


def test_length_alone_tells_short_from_long(tmp_path):
    random = np.random.default_rng(5)
    classes = random.integers(0, 2, 300).tolist()
    lengths = [int(random.integers(20, 60) * (4 if number else 1)) for number in classes]
    sequences = random_proteins(random, lengths)
    store = make_classes(tmp_path / "long.h5", sequences, classes, ["train"] * 150 + ["valid"] * 50 + ["test"] * 100)
    test = store.samples("test")
    assert accuracy(store, test, compute_baselines(store, test)["composition"].scores) > 0.95


def test_prevalence_says_the_majority_class(tmp_path):
    classes = [0] * 20 + [1] * 30 + [2] * 10 + [0, 1, 1, 2] * 10
    random = np.random.default_rng(6)
    split = ["train"] * 60 + ["valid", "test"] * 20
    store = make_classes(tmp_path / "most.h5", random_proteins(random, [30] * 100), classes, split)
    test = store.samples("test")
    baselines = compute_baselines(store, test)
    assert accuracy(store, test, baselines["prevalence"].scores) == (store.classes(test)[:, 0] == 1).mean()
    assert "shared_count" not in baselines


def test_planted_families_are_told_by_every_baseline_that_reads_the_sequence(mutants):
    test = mutants.samples("test")
    baselines = compute_baselines(mutants, test)
    assert list(baselines) == [
        "prevalence",
        "composition",
        "terminal_composition",
        "kmer_logistic",
        "nearest_neighbour",
    ]
    assert accuracy(mutants, test, baselines["nearest_neighbour"].scores) == 1
    assert accuracy(mutants, test, baselines["terminal_composition"].scores) > 0.8
    assert accuracy(mutants, test, baselines["prevalence"].scores) < 0.5
