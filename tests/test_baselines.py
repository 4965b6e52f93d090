import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score

from seqclass.alphabets import DNA, PROTEIN
from seqclass.blocks.kmers import canonical_kmers
from seqclass.data.labels import pack_labels
from seqclass.data.store import Store, Views
from seqclass.data.tape import read_samples
from seqclass.data.writer import write_store
from seqclass.errors import EvaluationError
from seqclass.evaluation.baselines import compute_baselines
from seqclass.evaluation.baselines.kmers import count_kmers
from seqclass.evaluation.baselines.linear import RIDGE_STRENGTHS, PrincipalAxes, fit_logistic, fit_ridge
from seqclass.targets import Target

MOTIFS = ("TGACTCA", "CACGTGA")


def make_store(path, sequences, views, labels, split, alphabet=DNA):
    with write_store(path, alphabet) as writer:
        for number, sequence in enumerate(sequences):
            writer.add_contigs([f"chr{number}"], alphabet.encode(sequence))
        writer.set_targets([Target(f"target{number}") for number in range(labels.shape[1])])
        writer.add_labels(pack_labels(labels))
        contig, start, length, strand = (np.array(column) for column in zip(*views, strict=True))
        writer.set_samples(
            Views(contig.astype(np.int32), start, length.astype(np.int32), strand.astype(np.int8)), np.array(split)
        )
        writer.finish({})
    return Store(path)


@pytest.fixture
def planted(tmp_path):
    """Sequences of 100 bp, of which every third holds one motif on either strand and every third the other."""
    random = np.random.default_rng(0)
    sequences, labels = [], np.zeros((1200, 2), dtype=np.uint8)
    for number in range(1200):
        sequence = "".join(random.choice(list("ACGT"), 100))
        if number % 3 < 2:
            motif = MOTIFS[number % 3]
            if number % 2:
                motif = motif[::-1].translate(str.maketrans("ACGT", "TGCA"))
            sequence = sequence[:40] + motif + sequence[47:]
            labels[number, number % 3] = 1
        sequences.append(sequence)
    views = [(number, 0, 100, 1) for number in range(1200)]
    split = np.repeat([0, 1, 2], [800, 200, 200]).astype(np.uint8)
    return make_store(tmp_path / "planted.h5", sequences, views, labels, split)


def canonical(kmer):
    return min(kmer, kmer[::-1].translate(str.maketrans("ACGT", "TGCA")))


def test_there_are_2080_six_mers_up_to_reverse_complement():
    assert canonical_kmers(6)[1] == 2080
    assert canonical_kmers(1)[0].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("k", "share"), [(1, 1.0), (3, 0.5), (6, 1.0)])
def test_counts_equal_counting_by_hand_over_contig_ends_unknown_bases_and_strands(tmp_path, k, share):
    random = np.random.default_rng(0)
    sequences = ["".join(random.choice(list("ACGTN"), length, p=[0.24] * 4 + [0.04])) for length in (300, 4, 200)]
    views = [(0, -20, 60, 1), (2, 170, 60, -1), (1, -5, 20, 1), (0, 0, 300, 1), (0, 400, 10, 1), (2, 3, 2, 1)]
    views += [(0, start, 40, 1) for start in range(0, 260, 7)] * 20
    order = random.permutation(len(views))
    labels, split = np.zeros((len(views), 1), dtype=np.uint8), np.zeros(len(views), dtype=np.uint8)
    store = make_store(tmp_path / "store.h5", sequences, views, labels, split)
    counts = count_kmers(store, order, k, share)
    names = sorted({canonical(DNA.decode(np.array(tokens, dtype=np.uint8))) for tokens in np.ndindex(*[4] * k)})
    for row, sample in enumerate(order):
        contig, start, length, _ = views[sample]
        margin = round(length * (1 - share) / 2)
        window = sequences[contig][max(0, start + margin) : max(0, start + length - margin)]
        kmers = (window[begin : begin + k] for begin in range(len(window) - k + 1))
        expected = Counter(canonical(kmer) for kmer in kmers if "N" not in kmer)
        assert dict(zip(names, counts[row].tolist(), strict=True)) == {name: expected[name] for name in names}


def test_counting_k_mers_far_apart_takes_no_memory_for_what_lies_between(tmp_path):
    begins = np.arange(200) * 100_000
    tokens = np.random.default_rng(0).integers(0, 4, 200 * 100_000, dtype=np.uint8)
    views = [(0, begin, 1000, 1) for begin in begins]
    empty = np.zeros((200, 1), dtype=np.uint8)
    store = make_store(tmp_path / "wide.h5", [DNA.decode(tokens)], views, empty, empty[:, 0])
    tracemalloc.start()
    counts = count_kmers(store, np.arange(200), k=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert (counts.sum(axis=1) == 998).all()


@pytest.mark.parametrize("residues", [1, 100, 1000])
def test_counts_do_not_depend_on_how_samples_are_shared_out(planted, monkeypatch, residues):
    samples = np.random.default_rng(0).permutation(1200)[:50]
    expected = count_kmers(planted, samples, k=4, share=0.4)
    monkeypatch.setattr("seqclass.evaluation.baselines.kmers._COUNT_RESIDUES", residues)
    np.testing.assert_array_equal(count_kmers(planted, samples, k=4, share=0.4), expected)


def test_pairs_of_residues_of_proteins_are_counted_as_they_read(tmp_path):
    sequences = ["MKVKVX", "VK", "A"]
    views = [(number, 0, len(sequence), 1) for number, sequence in enumerate(sequences)]
    store = make_store(
        tmp_path / "protein.h5", sequences, views, np.zeros((3, 1), dtype=np.uint8), np.zeros(3, "u1"), PROTEIN
    )
    counts = count_kmers(store, np.array([2, 0, 1]), k=2)
    pairs = [first + second for first in PROTEIN.letters for second in PROTEIN.letters]
    expected = [[sequence.count(pair) for pair in pairs] for sequence in ("A", "MKVKVX", "VK")]
    np.testing.assert_array_equal(counts, expected)


@pytest.fixture
def problem():
    """Correlated features of unlike scale, one of them constant, and targets from rare to common."""
    random = np.random.default_rng(3)
    features = random.standard_normal((600, 8)) @ random.standard_normal((8, 12)) + random.standard_normal((600, 12))
    features = features * np.logspace(-2, 2, 12) + 5
    features[:, 4] = 7
    logits = (features[:, [0, 8, 11]] - 5) * (30, 0.4, 0.005) + (-3, 0, 2)
    labels = (random.random((600, 3)) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    standardised = (features - features.mean(0)) / np.where(features.std(0) > 1e-9, features.std(0), 1)
    return features, standardised, labels


@pytest.mark.parametrize(("dtype", "agreement"), [(torch.float64, 1e-5), (torch.float32, 2e-3)])
def test_logistic_regression_agrees_with_scikit_learn_along_the_path(problem, dtype, agreement):
    features, standardised, labels = problem
    strengths = (1.0, 0.1, 0.01, 0.001)
    axes = PrincipalAxes(torch.tensor(features, dtype=dtype))
    path = fit_logistic(axes, labels, strengths, max_iterations=200, tolerance=1e-12)
    for strength, (_, model) in zip(strengths, path, strict=True):
        ours = model(torch.tensor(features, dtype=dtype)).numpy()
        for column in range(3):
            theirs = LogisticRegression(C=1 / (600 * strength), tol=1e-10, max_iter=10_000)
            theirs.fit(standardised, labels[:, column])
            np.testing.assert_allclose(ours[:, column], theirs.decision_function(standardised), atol=agreement)


def test_default_effort_comes_close_to_the_optimum(problem):
    features, standardised, labels = problem
    axes = PrincipalAxes(torch.tensor(features, dtype=torch.float32))
    for strength, model in fit_logistic(axes, labels, (1.0, 0.01)):
        ours = model(torch.tensor(features, dtype=torch.float32)).numpy()
        for column in range(3):
            theirs = LogisticRegression(C=1 / (600 * strength)).fit(standardised, labels[:, column])
            assert np.abs(ours[:, column] - theirs.decision_function(standardised)).mean() < 0.03


def test_a_target_without_training_positives_gets_finite_low_scores(problem):
    features, _, labels = problem
    labels[:, 1] = 0
    axes = PrincipalAxes(torch.tensor(features, dtype=torch.float32))
    for _, model in fit_logistic(axes, labels):
        scores = model(torch.tensor(features, dtype=torch.float32))[:, 1]
        assert torch.isfinite(scores).all()
        assert (scores < -4).all()


def test_ridge_agrees_with_scikit_learn(problem):
    features, standardised, labels = problem
    values = labels.sum(axis=1, dtype=np.int64)[:, None]
    axes = PrincipalAxes(torch.tensor(features))
    for strength, model in fit_ridge(axes, values):
        theirs = Ridge(alpha=strength * len(values)).fit(standardised, values[:, 0])
        np.testing.assert_allclose(model(torch.tensor(features)).numpy()[:, 0], theirs.predict(standardised), atol=1e-6)
    assert strength == RIDGE_STRENGTHS[-1]


def test_planted_motifs_are_found_by_k_mers_and_told_apart_by_them_alone(planted):
    samples = planted.samples("test")
    labels = planted.labels(samples)
    baselines = compute_baselines(planted, samples, k=5)
    precision = {
        name: [average_precision_score(labels[:, column], baseline.scores[:, column]) for column in range(2)]
        for name, baseline in baselines.items()
    }
    assert min(precision["kmer_logistic"]) > 0.9
    assert np.mean(precision["shared_count"]) < 0.7
    np.testing.assert_array_equal(baselines["shared_count"].scores[:, 0], baselines["shared_count"].scores[:, 1])
    np.testing.assert_allclose(
        baselines["prevalence"].scores[0], planted.labels(planted.samples("train")).mean(axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(precision["prevalence"], labels.mean(axis=0))


def test_validation_decides_how_near_the_centre_to_count(tmp_path):
    """One motif is planted within 10 bp of the centre of positives, and anywhere else in negatives."""
    random = np.random.default_rng(1)
    sequences, labels = [], random.integers(0, 2, (900, 1)).astype(np.uint8)
    for label in labels[:, 0]:
        place = 50 if label else int(random.choice([10, 25, 70, 85]))
        sequence = "".join(random.choice(list("ACGT"), 100))
        sequences.append(sequence[: place - 3] + MOTIFS[0] + sequence[place + 4 :])
    views = [(number, 0, 100, 1) for number in range(900)]
    split = np.repeat([0, 1, 2], 300).astype(np.uint8)
    store = make_store(tmp_path / "central.h5", sequences, views, labels, split)
    samples = store.samples("test")
    logistic = compute_baselines(store, samples, k=4)["kmer_logistic"]
    assert logistic.settings["central_share"] < 1
    assert average_precision_score(store.labels(samples), logistic.scores) > 0.9


@pytest.mark.parametrize(("rare", "counted"), [(9, [0, 1]), (10, [0, 1, 2])])
def test_strengths_are_chosen_over_targets_with_ten_positives(tmp_path, planted, rare, counted):
    """The third target is chance, so that it shows in the mean if it counts."""
    every = np.arange(1200)
    third = np.zeros((1200, 1), dtype=np.uint8)
    third[[*range(0, 800, 20), *range(800, 800 + rare)]] = 1
    labels = np.hstack([planted.labels(every), third])
    sequences = [DNA.decode(read_samples(planted, [sample])[0][0]) for sample in every]
    views = [(sample, 0, 100, 1) for sample in every]
    store = make_store(tmp_path / "rare.h5", sequences, views, labels, planted.split)
    valid = store.samples("valid")
    logistic = compute_baselines(store, valid, k=4)["kmer_logistic"]
    precision = [average_precision_score(labels[valid, column], logistic.scores[:, column]) for column in counted]
    assert logistic.settings["valid_average_precision"] == pytest.approx(np.mean(precision), abs=1e-5)


def test_baselines_are_the_same_to_the_last_digit_and_record_their_subsample(planted):
    samples = planted.samples("test")
    first, again, other = (
        compute_baselines(planted, samples, k=4, seed=seed, max_train_samples=300) for seed in (1, 1, 2)
    )
    assert first["kmer_logistic"].settings["train_samples"] == 300
    assert first["kmer_logistic"].settings == again["kmer_logistic"].settings
    np.testing.assert_array_equal(first["kmer_logistic"].scores, again["kmer_logistic"].scores)
    assert not np.array_equal(first["kmer_logistic"].scores, other["kmer_logistic"].scores)


def test_the_samples_scored_have_no_say_in_the_fit(planted):
    samples = planted.samples("test")
    some, every = (compute_baselines(planted, chosen, k=4) for chosen in (samples[:50], samples))
    assert some["kmer_logistic"].settings == every["kmer_logistic"].settings
    np.testing.assert_allclose(some["kmer_logistic"].scores, every["kmer_logistic"].scores[:50], atol=1e-6)


def test_a_store_without_validation_samples_is_refused(tmp_path):
    views = [(0, 0, 20, 1), (0, 10, 20, 1)]
    store = make_store(tmp_path / "s.h5", ["ACGT" * 10], views, np.eye(2, dtype=np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(EvaluationError, match="no valid samples"):
        compute_baselines(store, np.array([0]))
