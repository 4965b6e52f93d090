import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from seqclass.metrics import brier_score, brier_skill, reliability
from seqclass.metrics.reliability import pool


@pytest.fixture
def calibrated():
    random = np.random.default_rng(0)
    probabilities = random.random(4000) ** 3
    return (random.random(4000) < probabilities).astype(np.int8), probabilities.astype(np.float32)


def test_the_brier_score_equals_scikit_learn_for_two_classes_and_for_more(calibrated):
    labels, probabilities = calibrated
    assert brier_score(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities), rel=1e-6)
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.ones(5), 200)
    truth = random.integers(0, 5, 200)
    expected = np.mean([((row - np.eye(5)[true]) ** 2).sum() for row, true in zip(shares, truth, strict=True)])
    assert brier_score(np.eye(5, dtype=np.int8)[truth], shares) == pytest.approx(expected)


def test_skill_is_1_for_the_truth_0_for_the_prevalence_and_below_for_its_opposite(calibrated):
    labels, _ = calibrated
    assert brier_skill(labels, labels.astype(np.float32)) == 1
    assert brier_skill(labels, np.full(len(labels), labels.mean())) == pytest.approx(0, abs=1e-12)
    assert brier_skill(labels, 1.0 - labels) < 0
    assert np.isnan(brier_skill(np.zeros(10, dtype=np.int8), np.full(10, 0.5)))
    classes = np.eye(3, dtype=np.int8)[np.array([0, 0, 1, 2])]
    assert brier_skill(classes, np.tile(classes.mean(axis=0), (4, 1))) == pytest.approx(0, abs=1e-12)


def test_bins_have_equal_mass_and_the_means_of_their_samples(calibrated):
    labels, probabilities = calibrated
    bins = reliability(labels, probabilities)
    assert bins.samples.tolist() == [400] * 10
    order = np.argsort(probabilities)
    np.testing.assert_allclose(bins.predicted, probabilities[order].reshape(10, 400).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(bins.observed, labels[order].reshape(10, 400).mean(axis=1))


def test_calibrated_probabilities_have_a_small_error_and_shifted_ones_that_of_the_shift(calibrated):
    labels, probabilities = calibrated
    assert reliability(labels, probabilities).calibration_error < 0.02
    assert reliability(labels, np.full(len(labels), 0.9)).calibration_error == pytest.approx(0.9 - labels.mean())


def test_equal_probabilities_share_a_bin_whatever_the_order_of_samples():
    random = np.random.default_rng(2)
    probabilities = random.choice([0.0, 0.1, 0.5], 1000, p=[0.7, 0.2, 0.1])
    labels = random.integers(0, 2, 1000)
    bins = reliability(labels, probabilities)
    assert bins.predicted.tolist() == pytest.approx([0.0, 0.1, 0.5])
    assert bins.samples.tolist() == [np.count_nonzero(probabilities == value) for value in (0.0, 0.1, 0.5)]
    again = random.permutation(1000)
    for one, other in zip(bins, reliability(labels[again], probabilities[again]), strict=True):
        np.testing.assert_allclose(one, other)


def test_pooling_keeps_samples_and_what_came_true(calibrated):
    labels, probabilities = calibrated
    parts = [reliability(labels[begin::4], probabilities[begin::4]) for begin in range(4)]
    pooled = pool(parts)
    assert pooled.samples.sum() == len(labels)
    assert (np.diff(pooled.predicted) > 0).all()
    assert pooled.predicted @ pooled.samples == pytest.approx(probabilities.sum(), rel=1e-5)
    assert pooled.observed @ pooled.samples == pytest.approx(labels.sum())
    assert pooled.calibration_error == pytest.approx(reliability(labels, probabilities).calibration_error, abs=0.01)


def test_no_samples_have_no_bins_and_no_error():
    nothing = reliability(np.zeros(0, dtype=np.int8), np.zeros(0))
    assert len(nothing.samples) == 0
    assert np.isnan(nothing.calibration_error)
