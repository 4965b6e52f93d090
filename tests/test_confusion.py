import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from seqclass.metrics import BinaryCounts, ClassCounts, top_k_accuracy

CLASSES = 4


@given(st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_figures_of_classes_equal_scikit_learn_where_classes_are_missing_too(pairs):
    truth, calls = np.array(pairs).T
    counts = ClassCounts.of(truth, calls, CLASSES)
    every = {"labels": range(CLASSES), "average": None, "zero_division": 0}
    np.testing.assert_allclose(counts.recall, reference.recall_score(truth, calls, **every))
    np.testing.assert_allclose(counts.precision, reference.precision_score(truth, calls, **every))
    np.testing.assert_allclose(counts.f1, reference.f1_score(truth, calls, **every))
    assert counts.accuracy == pytest.approx(reference.accuracy_score(truth, calls))
    assert counts.accuracy == pytest.approx(reference.f1_score(truth, calls, average="micro"))
    assert counts.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(truth, calls))
    assert counts.macro_f1 == pytest.approx(reference.f1_score(truth, calls, average="macro", zero_division=0))
    assert counts.weighted_f1 == pytest.approx(reference.f1_score(truth, calls, average="weighted", zero_division=0))
    assert counts.mcc == pytest.approx(reference.matthews_corrcoef(truth, calls), abs=1e-12)


def test_counts_of_many_replicates_have_the_figures_of_each():
    random = np.random.default_rng(0)
    each = [ClassCounts.of(*random.integers(0, CLASSES, (2, 30)), CLASSES) for _ in range(5)]
    together = ClassCounts(
        *(np.stack([getattr(one, name) for one in each], axis=1) for name in ("support", "called", "hits"))
    )
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc"):
        np.testing.assert_allclose(getattr(together, name), [getattr(one, name) for one in each])


@pytest.fixture
def yes_or_no():
    random = np.random.default_rng(1)
    labels, scores = random.integers(-1, 2, (300, 6)), random.integers(0, 5, (300, 6)) / 4
    labels[:, 4], labels[:, 5] = 0, 1
    return labels, scores, np.array([0.25, 0.5, 0.75, 2.0, 0.5, 0.5])


def test_calls_at_thresholds_equal_scikit_learn_where_labels_are_missing_too(yes_or_no):
    labels, scores, thresholds = yes_or_no
    counts = BinaryCounts.of(labels, scores, thresholds)
    for target in range(labels.shape[1]):
        known = labels[:, target] >= 0
        pair = labels[known, target], (scores[known, target] >= thresholds[target]).astype(int)
        assert counts.precision[target] == pytest.approx(reference.precision_score(*pair, zero_division=0))
        assert counts.recall[target] == pytest.approx(reference.recall_score(*pair, zero_division=0))
        assert counts.f1[target] == pytest.approx(reference.f1_score(*pair, zero_division=0))
        assert counts.accuracy[target] == pytest.approx(reference.accuracy_score(*pair))
        assert counts.mcc[target] == pytest.approx(reference.matthews_corrcoef(*pair))
        if target < 4:
            assert counts.balanced_accuracy[target] == pytest.approx(reference.balanced_accuracy_score(*pair))


def test_micro_averages_pool_the_calls_of_the_chosen_targets(yes_or_no):
    labels, scores, thresholds = yes_or_no
    chosen = np.array([True, False, True, True, False, False])
    known = labels[:, chosen] >= 0
    pair = labels[:, chosen][known], (scores >= thresholds)[:, chosen][known].astype(int)
    micro = BinaryCounts.of(labels, scores, thresholds).micro(chosen)
    assert micro["precision"] == pytest.approx(reference.precision_score(*pair))
    assert micro["recall"] == pytest.approx(reference.recall_score(*pair))
    assert micro["f1"] == pytest.approx(reference.f1_score(*pair))


def test_a_single_precision_score_at_its_threshold_is_called():
    score = np.float32(0.1)
    assert BinaryCounts.of(np.array([[1]]), np.array([[score]]), np.array([0.1])).hits.tolist() == [1]


def test_top_k_equals_scikit_learn_and_the_first_of_equal_scores_counts():
    random = np.random.default_rng(2)
    truth, scores = random.integers(0, 7, 500), random.random((500, 7))
    for k in (1, 3, 6):
        expected = reference.top_k_accuracy_score(truth, scores, k=k, labels=range(7))
        assert top_k_accuracy(truth, scores, k) == pytest.approx(expected)
    tied = random.integers(0, 3, (500, 7)).astype(np.float32)
    assert top_k_accuracy(truth, tied, 1) == pytest.approx((tied.argmax(axis=1) == truth).mean())
    assert top_k_accuracy(truth, tied, 7) == 1
    order = np.argsort(-tied, axis=1, kind="stable")
    assert top_k_accuracy(truth, tied, 3) == pytest.approx((order[:, :3] == truth[:, None]).any(axis=1).mean())
