import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score, roc_curve

from seqclass.errors import EvaluationError
from seqclass.metrics import auroc, average_precision, rank, rank_targets

# Few distinct values, so that ties abound; the extremes and both zeros among them.
SCORES = st.sampled_from([-np.inf, -3.0, -1e-45, -0.0, 0.0, 1e-45, 0.5, 3.0, np.inf])


def finite(scores):
    """Scikit-learn refuses infinities: the same order in finite numbers."""
    return np.clip(scores.astype(np.float64), -1e300, 1e300)


@given(
    st.integers(2, 40).flatmap(
        lambda n: st.tuples(arrays(np.uint8, n, elements=st.integers(0, 1)), arrays(np.float32, n, elements=SCORES))
    )
)
def test_equals_scikit_learn_with_ties_zeros_and_infinities(pair):
    labels, scores = pair
    if labels.min() == labels.max():
        assert np.isnan(auroc(labels, scores))
        assert np.isnan(average_precision(labels, scores))
    else:
        assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, finite(scores)), abs=1e-12)
        assert average_precision(labels, scores) == pytest.approx(
            average_precision_score(labels, finite(scores)), abs=1e-12
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_many_targets_equal_scikit_learn_one_by_one(dtype):
    random = np.random.default_rng(0)
    labels = (random.random((3000, 37)) < 0.01 + 0.9 * random.random(37) ** 3).astype(np.uint8)
    labels[:, 5], labels[:, 20] = 0, 1
    scores = (random.standard_normal((3000, 37)) + labels).astype(dtype)
    found = rank_targets(labels, scores)
    for column in range(37):
        if column in (5, 20):
            assert np.isnan(found.auroc[column])
            assert np.isnan(found.average_precision[column])
            continue
        pair = labels[:, column], scores[:, column].astype(np.float64)
        assert found.auroc[column] == pytest.approx(roc_auc_score(*pair), abs=1e-9)
        assert found.average_precision[column] == pytest.approx(average_precision_score(*pair), abs=1e-9)


def test_float64_scores_are_not_rounded_into_ties():
    labels, scores = np.array([0, 1]), np.array([1.0, 1.0 + 1e-15])
    assert auroc(labels, scores) == 1.0
    assert auroc(labels, scores.astype(np.float32)) == 0.5


def test_a_constant_score_has_auroc_one_half_and_precision_of_its_prevalence():
    labels = np.array([0, 1, 0, 0, 1])
    assert auroc(labels, np.full(5, 0.3)) == 0.5
    assert average_precision(labels, np.full(5, 0.3)) == pytest.approx(0.4)


def test_only_samples_within_are_ranked():
    random = np.random.default_rng(1)
    labels, scores = random.integers(0, 2, (500, 20)), random.random((500, 20))
    within = random.random(500) < 0.3
    np.testing.assert_array_equal(rank_targets(labels, scores, within), rank_targets(labels[within], scores[within]))


def test_curves_pass_through_the_points_of_scikit_learn():
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 400)
    scores = np.round(random.standard_normal(400) + labels, 1)
    curve = rank(labels, scores)
    ours_x, ours_y = curve.roc()
    x, y, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert np.trapezoid(ours_y, ours_x) == pytest.approx(np.trapezoid(y, x), abs=1e-12)
    corners = {(round(a, 9), round(b, 9)) for a, b in zip(ours_x, ours_y, strict=True)}
    assert corners <= {(round(a, 9), round(b, 9)) for a, b in zip(x, y, strict=True)}
    recall, precision = curve.precision_recall()
    their_precision, their_recall, _ = precision_recall_curve(labels, scores)
    theirs = {(round(a, 9), round(b, 9)) for a, b in zip(their_recall, their_precision, strict=True)}
    assert {(round(a, 9), round(b, 9)) for a, b in zip(recall, precision, strict=True)} <= theirs


def test_a_nan_score_is_refused_with_its_place():
    labels, scores = np.zeros((4, 3), dtype=np.uint8), np.zeros((4, 3), dtype=np.float32)
    scores[2, 1] = np.nan
    with pytest.raises(EvaluationError, match=r"target 1, sample 2.*NaN"):
        rank_targets(labels, scores)


@pytest.mark.parametrize("bad", [2, -2, 0.5, np.nan])
def test_labels_other_than_zero_and_one_are_refused_with_their_place(bad):
    labels = np.zeros((4, 3))
    labels[3, 2] = bad
    with pytest.raises(EvaluationError, match=r"target 2, sample 3.*0 or 1 is expected"):
        rank_targets(labels, np.zeros((4, 3)))


def test_shapes_that_differ_are_refused():
    with pytest.raises(EvaluationError, match="shape"):
        rank_targets(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(EvaluationError, match="shape"):
        auroc(np.zeros(4), np.zeros(5))


def test_a_missing_label_leaves_its_sample_out_for_that_target():
    generator = np.random.default_rng(3)
    labels, scores = generator.integers(-1, 2, (200, 5)), generator.normal(size=(200, 5)).round(1)
    metrics = rank_targets(labels, scores)
    for target in range(5):
        known = labels[:, target] >= 0
        assert metrics.auroc[target] == pytest.approx(roc_auc_score(labels[known, target], scores[known, target]))
        expected = average_precision_score(labels[known, target], scores[known, target])
        assert metrics.average_precision[target] == pytest.approx(expected)


@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(arrays(np.uint8, n, elements=st.integers(0, 1)), arrays(np.float32, n, elements=SCORES))
    )
)
def test_max_f1_is_the_best_of_all_thresholds_and_is_reached_at_its_own(pair):
    labels, scores = pair
    curve = rank(labels, scores)
    if labels.min() == labels.max():
        assert np.isnan(curve.max_f1)
        assert np.isnan(curve.max_f1_threshold)
        return
    of = {threshold: f1_score(labels, scores >= threshold) for threshold in scores}
    assert curve.max_f1 == pytest.approx(max(of.values()))
    assert of[curve.max_f1_threshold] == pytest.approx(curve.max_f1)
    assert rank_targets(labels[:, None], scores[:, None]).max_f1[0] == curve.max_f1
