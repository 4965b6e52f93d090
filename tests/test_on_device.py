import numpy as np
import pytest
import torch

from seqclass.errors import EvaluationError
from seqclass.metrics import on_device, rank_targets
from seqclass.metrics.on_device import rank_tensors

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def job(dtype):
    random = np.random.default_rng(0)
    labels = random.integers(-1, 2, (2000, 21)).astype(np.int8)
    labels[:, 3], labels[:, 4], labels[:, 5] = 0, 1, -1
    scores = (random.standard_normal((2000, 21)) + labels).round(1).astype(dtype)
    scores[:3, 0], scores[3:6, 0], scores[6:9, 0] = np.inf, -np.inf, -0.0
    return labels, scores


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_tensors_rank_as_arrays_do_with_ties_and_missing_labels(monkeypatch, device, dtype):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    # Several blocks of targets, and a last one that is smaller.
    monkeypatch.setattr(on_device, "_SCORES_AT_ONCE", 4 * 2000)
    labels, scores = job(dtype)
    within = np.random.default_rng(1).random(len(labels)) < 0.4
    here = [torch.from_numpy(each).to(device) for each in (labels, scores)]
    for rows in (None, within):
        chosen = None if rows is None else torch.from_numpy(rows).to(device)
        for one, other in zip(rank_tensors(*here, chosen), rank_targets(labels, scores, rows), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)


def test_what_arrays_may_not_hold_is_refused_in_tensors_with_its_place():
    labels, scores = torch.zeros(4, 3, dtype=torch.int8), torch.zeros(4, 3)
    scores[2, 1] = torch.nan
    with pytest.raises(EvaluationError, match=r"target 1, sample 2.*NaN"):
        rank_tensors(labels, scores)
    labels[3, 2] = 2
    with pytest.raises(EvaluationError, match=r"target 2, sample 3.*none of 0, 1 and -1"):
        rank_tensors(labels, torch.zeros(4, 3))
    with pytest.raises(EvaluationError, match="shape"):
        rank_tensors(labels, torch.zeros(4, 2))


def test_no_samples_and_no_targets_have_no_metrics():
    assert np.isnan(rank_tensors(torch.zeros(0, 2, dtype=torch.int8), torch.zeros(0, 2)).auroc).all()
    assert len(rank_tensors(torch.zeros(5, 0, dtype=torch.int8), torch.zeros(5, 0)).auroc) == 0
