import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import measure, per_target_table
from seqclass.targets import Target

TARGETS = [
    Target("Reb1", "TF"),
    Target("Abf1", "TF"),
    Target("H3K4me3", "histone"),
    Target("rare", "TF"),
    Target("all"),
]


@pytest.fixture
def measured():
    random = np.random.default_rng(0)
    labels = (random.random((400, 5)) < (0.1, 0.2, 0.3, 0.1, 0.1)).astype(np.uint8)
    labels[:, 3] = 0
    labels[:9, 3] = 1
    labels[:, 4] = 1
    labels[200:, :] = 0
    labels[:, 4] = 1
    scores = (random.standard_normal((400, 5)) + labels).astype(np.float32)
    return labels, scores, measure(labels, scores, TARGETS, np.array([100, 300, 50, 2, 9]))


def test_means_are_over_targets_with_enough_positives_and_a_negative(measured):
    _, _, metrics = measured
    summary = metrics.summary()
    assert metrics.left_out == ["rare", "all"]
    assert summary["targets"] == 3
    ap = metrics.average_precision
    assert summary["average_precision"]["mean"] == pytest.approx((ap[0] + ap[1] + ap[2]) / 3)
    assert summary["average_precision"]["median"] == pytest.approx(sorted(ap[:3])[1])
    assert summary["auroc"]["weighted_mean"] == pytest.approx(metrics.auroc[:3] @ [100, 300, 50] / 450)


def test_groups_have_their_own_means(measured):
    _, _, metrics = measured
    groups = metrics.summary()["groups"]
    assert list(groups) == ["TF", "histone", ""]
    assert groups["TF"]["targets"] == 2
    assert groups["TF"]["auroc"]["mean"] == pytest.approx(metrics.auroc[:2].mean())
    assert groups["histone"]["auroc"]["mean"] == pytest.approx(metrics.auroc[2])
    assert groups[""]["auroc"] == {"mean": None, "median": None, "weighted_mean": None}


def test_a_single_group_is_not_repeated():
    labels = np.eye(4, dtype=np.uint8)[:, :2]
    summary = measure(labels, labels.astype(np.float32), [Target("a"), Target("b")], np.array([1, 1]), 1).summary()
    assert "groups" not in summary


def test_auroc_within_labelled_samples_ignores_the_unlabelled(measured):
    labels, scores, _ = measured
    labels, scores = labels[:, :3], scores[:, :3]
    metrics = measure(labels, scores, TARGETS[:3], np.ones(3, dtype=int))
    rows = labels.any(axis=1)
    assert 0 < rows.sum() < len(rows)
    for column in range(3):
        expected = roc_auc_score(labels[rows, column], scores[rows, column])
        assert metrics.auroc_labelled[column] == pytest.approx(expected, abs=1e-12)


def test_a_summary_is_valid_json_where_metrics_are_undefined():
    labels = np.array([[1], [0]], dtype=np.uint8)
    metrics = measure(labels, labels.astype(np.float32), [Target("only")], np.array([0]), min_positives=1)
    summary = json.loads(json.dumps(metrics.summary(), allow_nan=False))
    assert summary["auroc"] == {"mean": 1.0, "median": 1.0, "weighted_mean": None}
    assert summary["auroc_labelled"]["mean"] is None


def test_the_table_has_a_line_a_target_and_empty_fields_where_undefined(measured):
    labels, _, metrics = measured
    chance = measure(labels, np.zeros(labels.shape), TARGETS, metrics.train_positives)
    lines = [line.split("\t") for line in per_target_table(metrics, {"chance": chance}).splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert [row["name"] for row in rows] == [target.name for target in TARGETS]
    assert [int(row["positives"]) for row in rows] == labels.sum(axis=0).tolist()
    assert float(rows[0]["auroc"]) == pytest.approx(metrics.auroc[0], abs=1e-6)
    assert rows[0]["auroc:chance"] == "0.5"
    assert float(rows[1]["average_precision:chance"]) == pytest.approx(metrics.prevalence[1], abs=1e-6)
    assert rows[4]["auroc"] == ""


def test_shapes_that_do_not_fit_and_no_samples_are_refused():
    with pytest.raises(EvaluationError, match="2 targets have labels of shape"):
        measure(np.zeros((4, 3), dtype=np.uint8), np.zeros((4, 3)), TARGETS[:2], np.zeros(2, dtype=int))
    with pytest.raises(EvaluationError, match="no samples"):
        measure(np.zeros((0, 2), dtype=np.uint8), np.zeros((0, 2)), TARGETS[:2], np.zeros(2, dtype=int))
