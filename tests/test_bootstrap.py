import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score

from seqclass.evaluation import bootstrap
from seqclass.evaluation.blocks import Blocks, blocks_of, each_by_itself
from seqclass.evaluation.bootstrap import draw_blocks, interval, mean_over, resample_classes, resample_ranking
from seqclass.evaluation.multilabel import measure
from seqclass.evaluation.single_label import figures_of
from seqclass.metrics import rank_targets
from seqclass.targets import Target


def as_many_rows(draw, replicate):
    """The rows of a replicate written out, a drawn block's as often as it was drawn."""
    return np.repeat(np.arange(len(draw.blocks.index)), draw.weights[draw.blocks.index, replicate].astype(int))


@pytest.mark.parametrize("numbers_at_once", [1, 1 << 22])
def test_replicates_equal_resampling_rows_and_scoring_them_with_scikit_learn(monkeypatch, numbers_at_once):
    monkeypatch.setattr(bootstrap, "_NUMBERS_AT_ONCE", numbers_at_once)
    random = np.random.default_rng(0)
    labels, scores = random.integers(-1, 2, (120, 5)), random.integers(0, 8, (120, 5)).astype(np.float32)
    labels[:, 3], labels[:, 4] = 0, 1
    draw = draw_blocks(Blocks(np.arange(120) // 8, "eights"), 5, replicates=12)
    found = resample_ranking(labels, scores, draw)
    assert np.isnan(found.auroc[3:]).all()
    assert np.isnan(found.average_precision[3:]).all()
    for replicate in range(12):
        rows = as_many_rows(draw, replicate)
        for target in range(3):
            known = rows[labels[rows, target] >= 0]
            pair = labels[known, target], scores[known, target]
            assert found.auroc[target, replicate] == pytest.approx(roc_auc_score(*pair), abs=1e-6)
            expected = average_precision_score(*pair)
            assert found.average_precision[target, replicate] == pytest.approx(expected, abs=1e-6)


def test_replicates_of_classes_equal_resampling_rows():
    random = np.random.default_rng(1)
    truth, calls = random.integers(0, 4, (2, 90))
    truth[:5] = -1
    draw = draw_blocks(Blocks(np.arange(90) // 3, "threes"), 4, replicates=20)
    found = resample_classes(truth, calls, 4, draw, figures_of)
    for replicate in range(20):
        rows = as_many_rows(draw, replicate)
        rows = rows[truth[rows] >= 0]
        assert found["accuracy"][replicate] == pytest.approx((truth[rows] == calls[rows]).mean())
        assert found["mcc"][replicate] == pytest.approx(matthews_corrcoef(truth[rows], calls[rows]), abs=1e-9)


def test_the_interval_of_a_mean_of_independent_samples_is_that_of_the_textbook():
    right = np.random.default_rng(2).random(2000) < 0.8
    draw = draw_blocks(each_by_itself(2000), 1, replicates=1000)
    truth = np.zeros(2000, dtype=np.int64)
    found = resample_classes(truth, np.where(right, 0, 1), 2, draw, figures_of)["accuracy"]
    low, high = interval(right.mean(), found, 2000)
    reach = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 2000)
    assert low == pytest.approx(right.mean() - reach, abs=0.002)
    assert high == pytest.approx(right.mean() + reach, abs=0.002)


def test_copies_in_one_block_add_no_certainty_and_copies_by_themselves_seem_to():
    random = np.random.default_rng(3)
    labels = np.repeat(random.integers(0, 2, (60, 1)), 10, axis=0)
    scores = np.repeat(random.standard_normal((60, 1)) + labels[::10], 10, axis=0)
    value = rank_targets(labels, scores).auroc[0]
    widths = []
    for blocks in (Blocks(np.arange(600) // 10, "copies"), each_by_itself(600)):
        drawn = resample_ranking(labels, scores, draw_blocks(blocks, 1)).auroc[0]
        low, high = interval(value, drawn, blocks.number)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(10), rel=0.15)


def test_an_interval_stays_within_what_is_possible_and_is_none_where_it_says_nothing():
    assert interval(0.99, np.random.default_rng(4).normal(0.99, 0.02, 500), 100)[1] == 1.0
    assert interval(0.5, np.array([0.5, 0.5]), 1) is None
    assert interval(float("nan"), np.array([0.5, 0.5]), 9) is None
    assert interval(0.5, np.array([0.5, np.nan, np.nan]), 9) is None


@pytest.mark.parametrize("blocks", [3, 40, 1000])
def test_flawless_is_not_taken_for_certain_and_the_interval_is_clopper_and_pearsons(blocks):
    exact = binomtest(blocks, blocks).proportion_ci(0.95, "exact")
    assert interval(1.0, np.ones(50), blocks) == pytest.approx([exact.low, 1.0])
    assert interval(0.0, np.zeros(50), blocks) == pytest.approx([0.0, 1 - exact.low])
    assert interval(0.5, np.full(50, 0.5), blocks) == pytest.approx([0.5, 0.5])


def test_a_mean_over_targets_leaves_out_where_one_is_undefined():
    replicates = np.array([[0.2, np.nan, np.nan], [0.4, 0.6, np.nan], [9.0, 9.0, 9.0]])
    np.testing.assert_allclose(mean_over(np.array([True, True, False]), replicates), [0.3, 0.6, np.nan])


def test_more_samples_and_targets_are_drawn_less_often_but_never_fewer_than_a_hundred_times():
    assert draw_blocks(each_by_itself(1000), 10).replicates == 1000
    many = Blocks(np.arange(200_000) // 2000, "stretches")
    assert draw_blocks(many, 200).replicates == 250
    assert draw_blocks(many, 10_000).replicates == 100


def test_many_blocks_are_drawn_less_often_as_their_weights_would_not_fit_in_memory(monkeypatch):
    monkeypatch.setattr(bootstrap, "_MOST_WEIGHTS", 300 * 1000)
    assert draw_blocks(each_by_itself(1000), 1).replicates == 300
    assert draw_blocks(each_by_itself(10_000), 1).replicates == 100


def test_the_same_seed_draws_the_same_and_each_replicate_as_many_blocks_as_there_are():
    one, other = (draw_blocks(each_by_itself(50), 1, replicates=30) for _ in range(2))
    np.testing.assert_array_equal(one.weights, other.weights)
    assert (one.weights.sum(axis=0) == 50).all()


def test_blocks_of_a_genome_are_stretches_of_at_least_100_kb(make_store):
    store = make_store(num_samples=600, contigs=(250_000, 90_000, 1_000_000))
    samples = np.arange(len(store))
    blocks = blocks_of(store, samples)
    assert blocks.kind == "stretches of at least 100 kb"
    views = store.views
    # 2 in the first contig, of 100 and 150 kb, 1 in the second, 10 in the third.
    assert blocks.number == 13
    middle = views.start + views.length // 2
    for block in range(blocks.number):
        inside = blocks.index == block
        assert len(np.unique(views.contig[inside])) == 1
        assert np.ptp(middle[inside]) < 150_000 + 64
    near = (views.contig == 0) & (views.start > 100_000)
    assert len(np.unique(blocks.index[near])) == 1


def test_short_contigs_are_a_block_each_and_both_strands_of_a_locus_share_one(make_store):
    store = make_store()
    blocks = blocks_of(store, np.arange(len(store)))
    assert blocks.kind == "contigs"
    np.testing.assert_array_equal(blocks.index, store.views.contig)


def test_groups_are_blocks_where_there_are_enough_of_them(make_store):
    store = make_store()
    store.groups = (np.arange(len(store)) % 40).astype(np.int32)
    np.testing.assert_array_equal(blocks_of(store, np.arange(len(store))).index, store.groups)
    store.groups = (np.arange(len(store)) % 5).astype(np.int32)
    assert blocks_of(store, np.arange(len(store))).kind == "contigs"


@pytest.mark.slow
@pytest.mark.parametrize("num_blocks", [15, 40, 150])
def test_intervals_hold_the_true_value_about_as_often_as_they_say(num_blocks):
    """Samples of a block share an effect on labels and scores, as neighbours in a genome do."""

    def simulate(random, blocks):
        index = np.repeat(np.arange(blocks), 10)
        effect = 0.7 * random.normal(size=(blocks, 6))[index]
        labels = (random.random(effect.shape) < 1 / (1 + np.exp(3 - effect))).astype(np.int8)
        scores = (random.normal(size=effect.shape) + 1.2 * labels + effect / 2).astype(np.float32)
        return labels, scores, Blocks(index, "tens")

    labels, scores, _ = simulate(np.random.default_rng(0), 50_000)
    everywhere = rank_targets(labels, scores)
    truth = {"auroc": everywhere.auroc.mean(), "average_precision": everywhere.average_precision.mean()}
    held = {name: [] for name in truth}
    random = np.random.default_rng(1)
    for seed in range(400):
        labels, scores, blocks = simulate(random, num_blocks)
        metrics = measure(labels, scores, [Target(f"t{i}") for i in range(6)], np.ones(6, dtype=int), 1)
        if not metrics.scored.all():
            continue
        draw = draw_blocks(blocks, 6, replicates=300, seed=seed)
        found = resample_ranking(labels, scores, draw)
        for name, value in truth.items():
            drawn = mean_over(metrics.scored, getattr(found, name))
            low, high = interval(getattr(metrics, name).mean(), drawn, num_blocks)
            held[name].append(low <= value <= high)
    for name, each in held.items():
        assert 0.88 < np.mean(each) < 0.99, name
