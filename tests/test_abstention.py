import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from seqclass.evaluation.abstention import measure_abstention
from seqclass.metrics import MISSING

# Of four classes, train never had the last two.
TRAIN = np.array([30, 5, 0, 0])


def job(samples=400, seed=0):
    """True classes, -1 for a missing one, and probabilities that are higher where the class is known."""
    random = np.random.default_rng(seed)
    truth = random.integers(-1, 4, samples)
    logits = random.normal(size=(samples, 4))
    logits[np.arange(samples), truth] += np.where((truth == 0) | (truth == 1), 3, 0)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(truth[:, None] < 0, MISSING, np.arange(4) == truth[:, None]).astype(np.int8)
    return truth, labels, scores.astype(np.float32)


@pytest.mark.parametrize("unlabelled_is_unknown", [False, True])
def test_figures_are_those_counted_one_by_one(unlabelled_is_unknown):
    truth, labels, scores = job()
    found = measure_abstention(labels, scores, TRAIN, 0.6, unlabelled_is_unknown=unlabelled_is_unknown)
    known = [row for row, name in enumerate(truth) if name in (0, 1)]
    unknown = [row for row, name in enumerate(truth) if name in ((-1, 2, 3) if unlabelled_is_unknown else (2, 3))]
    kept = [row for row in known if max(scores[row]) >= np.float32(0.6)]
    assert (found["known"], found["unknown"]) == (len(known), len(unknown))
    assert found["kept"] == pytest.approx(len(kept) / len(known))
    right = np.mean([scores[row].argmax() == truth[row] for row in kept])
    assert found["accuracy_of_kept"] == pytest.approx(right)
    assert found["accuracy"] == pytest.approx(np.mean([scores[row].argmax() == truth[row] for row in known]))
    assert found["abstained"] == pytest.approx(np.mean([max(scores[row]) < 0.6 for row in unknown]))
    highest = scores[known + unknown].max(axis=1)
    assert found["auroc"] == pytest.approx(roc_auc_score([1] * len(known) + [0] * len(unknown), highest))
    assert found["auroc"] > 0.7


@given(st.lists(st.integers(-1, 3), max_size=12), st.floats(0, 1.1))
def test_what_there_are_no_samples_for_is_left_open(truth, below):
    truth = np.array(truth, dtype=np.int64)
    labels = np.where(truth[:, None] < 0, MISSING, np.arange(4) == truth[:, None]).astype(np.int8)
    scores = np.random.default_rng(0).dirichlet(np.ones(4), len(truth)).astype(np.float32)
    found = measure_abstention(labels, scores, TRAIN, below)
    json.dumps(found, allow_nan=False)
    known, unknown = np.isin(truth, (0, 1)).any(), np.isin(truth, (2, 3)).any()
    assert (found["kept"] is None) == (not known)
    assert (found["abstained"] is None) == (not unknown)
    assert (found["auroc"] is None) == (not (known and unknown))
    if below > 1:
        assert found["accuracy_of_kept"] is None
