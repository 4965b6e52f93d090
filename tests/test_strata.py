import json

import numpy as np
import pytest
from class_stores import make_classes, random_proteins
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, recall_score

from seqclass.errors import EvaluationError
from seqclass.evaluation.strata import accuracy_by, identity_strata, ranges, stratify


@pytest.fixture
def judged(tmp_path):
    """Two families of 12 and 2 in train; of six test samples two are long, and one has no label."""
    random = np.random.default_rng(0)
    lengths = [50] * 14 + [50, 50, 50, 50, 300, 300]
    classes = [0] * 12 + [1] * 2 + [0, 0, 0, 1, 1, -1]
    split = ["train"] * 14 + ["test"] * 6
    store = make_classes(tmp_path / "s.h5", random_proteins(random, lengths), classes, split, missing=True)
    said = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 0, 0]]
    return store, store.samples("test"), said


def test_every_figure_of_a_small_case_is_right(judged):
    store, test, said = judged
    figures = stratify(store, test, said, identity=np.array([0.9, 0.3, np.nan, 0.51, 0.5, 1]))["family"]
    assert (figures["samples"], figures["families"]) == (5, 2)
    assert figures["accuracy"] == pytest.approx(3 / 5)
    assert figures["error_rate"] == pytest.approx(2 / 5)
    assert figures["family_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    rows = {
        name: {row["stratum"]: (row["samples"], row["accuracy"]) for row in rows}
        for name, rows in figures["strata"].items()
    }
    assert rows == {
        "identity": {"none": (1, 0), "up to 50 %": (2, 0.5), "above 50 %": (2, 1)},
        "length": {"0-63": (4, 0.75), "256-511": (1, 0)},
        "family_size": {"1-9": (2, 0.5), "10-29": (3, pytest.approx(2 / 3))},
    }
    json.dumps(figures, allow_nan=False)


def test_samples_of_one_length_are_not_told_apart_by_it(judged):
    store, test, said = judged
    assert list(stratify(store, test[:4], said[:4])["family"]["strata"]) == ["family_size"]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 5000)), min_size=1, max_size=60))
def test_strata_share_out_all_samples_and_agree_with_scikit_learn(samples):
    truth, guess, length = np.array(samples).T
    bounds = (0, 10, 100, 1000)
    figures = accuracy_by(truth == guess, truth, {"size": ranges(length, bounds)})
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    recall = recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)
    assert figures["family_accuracy"] == pytest.approx(recall)
    rows = figures["strata"]["size"]
    assert sum(row["samples"] for row in rows) == len(samples)
    mean = sum(row["samples"] * row["accuracy"] for row in rows) / len(samples)
    assert mean == pytest.approx(figures["accuracy"])


def test_ranges_begin_at_their_bounds():
    names, of = ranges(np.array([0, 1, 9, 10, 99, 100, 10**9]), (0, 1, 10, 100))
    assert [names[number] for number in of] == ["0", "1-9", "1-9", "10-99", "10-99", "100 and more", "100 and more"]


def test_half_identical_is_not_above_half():
    assert identity_strata(np.array([np.nan, 0.0, 0.5, 0.500001, 1.0])).of.tolist() == [0, 1, 1, 2, 2]


def test_scores_of_other_samples_are_refused(judged):
    store, test, said = judged
    with pytest.raises(EvaluationError, match="6 samples of 2 targets"):
        stratify(store, test, said[:5])
    with pytest.raises(EvaluationError, match="identities"):
        stratify(store, test, said, identity=np.zeros(5))
