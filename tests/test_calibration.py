"""Calibration: fitted as others fit it, true to planted distortions, applied to what is predicted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from class_stores import make_classes, random_proteins
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss

from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli.main import main
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam
from seqclass.data.store import Store
from seqclass.ensemble import join_bundles
from seqclass.errors import BundleError, EvaluationError
from seqclass.evaluation.calibration import KEPT, NO_THRESHOLD, best_f1_threshold, calibrate, fit_calibration
from seqclass.evaluation.evaluate import evaluate
from seqclass.evaluation.platt import Gaussian, fit_platt
from seqclass.metrics import MISSING, auroc, rank_targets
from seqclass.models import kmer_logreg
from seqclass.predict import ABSTAINED, called, predict, score_samples, write_predictions
from seqclass.saved import seal
from seqclass.targets import Target
from seqclass.training import run_experiment

Floats = NDArray[np.float64]
FLAT = Gaussian(np.zeros(2), 1e10 * np.eye(2))
TWO = Calibration([2.0, 0.5, 1.5], [0.7, -1.0, 3.0], [0.4, 0.6, 0.5], {}, {})


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def draw(random: np.random.Generator, logits: Floats) -> NDArray[np.int8]:
    return (random.random(logits.shape) < expit(logits)).astype(np.int8)


def distorted_targets(
    random: np.random.Generator, num_targets: int, num_samples: int, prevalence: Floats
) -> tuple[Floats, Floats]:
    """True logits, and what a model says that is too sure of itself and was trained with `pos_weight`, as `(t, n)`."""
    true = logit(prevalence)[:, None] + 2 * random.normal(size=(num_targets, num_samples))
    slope = np.exp(random.normal(-0.5, 0.15, (num_targets, 1)))
    intercept = random.normal(-1.5, 0.3, (num_targets, 1))
    return true, (true - intercept) / slope


def cross_entropy(true: Floats, stated: Floats) -> Floats:
    """The log loss of each target that is to be expected of fresh samples, exactly."""
    expected: Floats = (expit(true) * np.logaddexp(0, -stated) + expit(-true) * np.logaddexp(0, stated)).mean(axis=1)
    return expected


def exclusive_scores(random: np.random.Generator, sharpness: float) -> tuple[NDArray[np.int8], Floats]:
    """One-hot labels drawn from a softmax over five classes, and the probabilities of one so much sharper."""
    true = 2 * random.normal(size=(4000, 5))
    chosen = (random.random((4000, 1)) > softmax(true, axis=1).cumsum(axis=1)).sum(axis=1).clip(max=4)
    return np.eye(5, dtype=np.int8)[chosen], softmax(sharpness * true, axis=1)


# Yes-or-no targets


def test_without_shrinkage_platt_scaling_is_logistic_regression_on_logits(random: np.random.Generator) -> None:
    true, logits = distorted_targets(random, 5, 2000, np.array([0.5, 0.2, 0.1, 0.05, 0.8]))
    labels = draw(random, true)
    for ours, z, y in zip(fit_platt(logits, labels, FLAT), logits, labels, strict=True):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:, None], y)
        np.testing.assert_allclose([np.exp(ours[0]), ours[1]], [model.coef_[0, 0], model.intercept_[0]], rtol=1e-4)


def test_with_a_known_prior_it_is_the_mode_that_a_general_optimiser_finds(random: np.random.Generator) -> None:
    prior = Gaussian(np.array([-0.3, 1.0]), np.array([[0.2, 0.1], [0.1, 0.5]]))
    true, logits = distorted_targets(random, 4, 60, np.array([0.5, 0.1, 0.02, 0.01]))
    labels = draw(random, true)
    labels[3] = 0

    def minus_log_posterior(at: Floats, z: Floats, y: NDArray[np.int8]) -> float:
        away = at - prior.mean
        stated = np.exp(at[0]) * z + at[1]
        losses = np.logaddexp(0, np.where(y == 1, -stated, stated))
        return float(losses.sum() + away @ np.linalg.inv(prior.covariance) @ away / 2)

    for ours, z, y in zip(fit_platt(logits, labels, prior), logits, labels, strict=True):
        found = minimize(minus_log_posterior, prior.mean, args=(z, y), method="Nelder-Mead", options={"xatol": 1e-8})
        np.testing.assert_allclose(ours, found.x, atol=1e-3)


def test_a_missing_label_is_as_if_the_sample_were_not_there(random: np.random.Generator) -> None:
    true, logits = distorted_targets(random, 3, 400, np.full(3, 0.2))
    labels = draw(random, true)
    kept = fit_platt(logits[:, :300], labels[:, :300])
    labels[:, 300:] = MISSING
    np.testing.assert_allclose(fit_platt(logits, labels), kept, atol=1e-9)


def test_rare_targets_learn_from_the_others(random: np.random.Generator) -> None:
    true, logits = distorted_targets(random, 80, 1500, np.repeat([0.1, 0.0003], 40))
    labels = draw(random, true)
    assert labels[40:].sum(axis=1).mean() < 5

    def surplus(fitted: Floats) -> Floats:
        stated = np.exp(fitted[:, :1]) * logits + fitted[:, 1:]
        each = cross_entropy(true, stated) - cross_entropy(true, true)
        return np.array([each[:40].mean(), each[40:].mean()])

    ours, raw = surplus(fit_platt(logits, labels)), surplus(np.zeros((80, 2)))
    alone = surplus(fit_platt(logits, labels, FLAT))
    all_knowing = surplus(fit_platt(logits, labels, Gaussian(np.array([-0.5, -1.5]), np.diag([0.15, 0.3]) ** 2)))
    assert (ours < 0.2 * raw).all()
    assert (ours < alone).all()
    assert ours[1] < 0.3 * alone[1]
    assert (ours < 1.5 * all_knowing).all()


def test_a_target_without_positives_is_calibrated_as_the_others_are(random: np.random.Generator) -> None:
    true, logits = distorted_targets(random, 41, 1500, np.append(np.full(40, 0.1), 0.0005))
    labels = draw(random, true)
    labels[-1] = 0
    fitted = fit_platt(logits, labels)
    others = fitted[:-1]
    np.testing.assert_array_less(np.abs(fitted[-1] - others.mean(axis=0)), 4 * others.std(axis=0))
    unknown = fit_platt(logits, np.where(np.arange(41)[:, None] == 40, MISSING, labels))[-1]
    np.testing.assert_allclose(unknown, others.mean(axis=0), atol=0.05)


@pytest.mark.parametrize("label", [0, 1])
def test_labels_that_are_all_alike_leave_sane_numbers(label: int) -> None:
    scores = np.linspace(0.01, 0.99, 100, dtype=np.float32)[:, None]
    fitted = fit_calibration(np.full((100, 1), label, np.int8), scores, [0], {}).calibration
    assert 0.1 < fitted.slope[0] < 10
    assert 0 < (2 * label - 1) * fitted.intercept[0] < 15
    assert fitted.threshold == [NO_THRESHOLD]


@pytest.mark.parametrize("right", [False, True])
def test_answers_of_0_and_1_do_not_upset_the_fit(random: np.random.Generator, right: bool) -> None:
    labels = (random.random((200, 5)) < [0, 0.01, 0.5, 0.99, 1]).astype(np.int8)
    scores = np.where((labels == 1) == right, 1, 0).astype(np.float32)
    fitted = fit_calibration(labels, scores, range(5), {})
    assert np.isfinite([*fitted.calibration.slope, *fitted.calibration.intercept]).all()
    assert min(fitted.calibration.slope) > 0
    assert fitted.change["targets"]["log_loss"]["calibrated"] < 0.3


@pytest.mark.slow
def test_as_many_targets_and_samples_as_deepsea_validates_on_take_seconds(random: np.random.Generator) -> None:
    prevalence = np.exp(random.uniform(np.log(5e-4), np.log(0.1), 919))
    true, logits = distorted_targets(random, 919, 8000, prevalence)
    labels, scores = draw(random, true).T, expit(logits).astype(np.float32).T
    begin = time.perf_counter()
    fitted = fit_calibration(labels, scores, range(919), {})
    assert time.perf_counter() - begin < 60
    assert fitted.change["targets"]["expected_calibration_error"]["calibrated"] < 0.005
    assert fitted.change["targets"]["expected_calibration_error"]["raw"] > 0.02


# Exclusive groups


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_the_temperature_is_the_sharpness_that_was_planted(random: np.random.Generator, sharpness: float) -> None:
    labels, scores = exclusive_scores(random, sharpness)
    (ours,) = fit_calibration(labels, scores, [], {"kind": range(5)}).calibration.temperature.values()

    def loss(temperature: Floats) -> float:
        return -float(log_softmax(np.log(scores) / temperature, axis=1)[labels == 1].mean())

    assert ours == pytest.approx(sharpness, rel=0.1)
    assert ours == pytest.approx(float(minimize(loss, [1.0], bounds=[(0.01, 100)]).x[0]), rel=5e-3)


def test_classes_all_told_right_leave_a_sane_temperature(random: np.random.Generator) -> None:
    _, scores = exclusive_scores(random, 1.0)
    labels = np.eye(5, dtype=np.int8)[scores.argmax(axis=1)]
    fitted = fit_calibration(labels, scores, [], {"kind": range(5)})
    assert 1e-3 < fitted.calibration.temperature["kind"] < 1
    after = fitted.calibration.apply(torch.from_numpy(scores), [], {"kind": range(5)})
    assert after.isfinite().all()


def test_so_many_of_the_validation_samples_are_kept_as_stated(random: np.random.Generator) -> None:
    labels, scores = exclusive_scores(random, 3.0)
    fitted = fit_calibration(labels, scores, [], {"kind": range(5)}).calibration
    after = fitted.apply(torch.from_numpy(scores), [], {"kind": range(5)}).numpy()
    assert (after.max(axis=1) >= fitted.abstain_below["kind"]).mean() == pytest.approx(KEPT, abs=1e-3)


# Both


@st.composite
def questions(draw: st.DrawFn) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Labels and scores of three yes-or-no targets and a group of four classes; some labels missing."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    sharp, shift, prevalence = draw(st.floats(0, 8)), draw(st.floats(-8, 8)), draw(st.floats(0, 1))
    num_samples = draw(st.integers(60, 200))
    labels = (random.random((num_samples, 7)) < prevalence).astype(np.int8)
    labels[:, 3:] = np.eye(4, dtype=np.int8)[random.integers(0, 4, num_samples)]
    labels[random.random(num_samples) < draw(st.sampled_from([0.0, 0.1])), 3:] = MISSING
    labels[:, :3][random.random((num_samples, 3)) < draw(st.sampled_from([0.0, 0.1, 1.0]))] = MISSING
    labels[:60, 3:] = np.eye(4, dtype=np.int8)[random.integers(0, 4, 60)]
    logits = sharp * (random.normal(size=(num_samples, 7)) + labels * draw(st.floats(-2, 2))) + shift
    scores = np.hstack([expit(logits[:, :3]), softmax(logits[:, 3:], axis=1)])
    return labels, scores.astype(np.float32)


GROUPS = {"kind": [3, 4, 5, 6]}


@settings(deadline=None, max_examples=60)
@given(questions())
def test_the_log_loss_on_validation_is_never_higher_than_before(
    question: tuple[NDArray[np.int8], NDArray[np.float32]],
) -> None:
    labels, scores = question
    fitted = fit_calibration(labels, scores, [0, 1, 2], GROUPS).calibration
    after = fitted.apply(torch.from_numpy(scores.astype(np.float64)), [0, 1, 2], GROUPS).numpy()
    known = labels[:, :3] != MISSING
    if known.any():
        before, now = (np.clip(each[:, :3][known], 1e-37, 1 - 2**-25) for each in (scores.astype(np.float64), after))
        told = labels[:, :3][known]
        assert log_loss(told, now, labels=[0, 1]) <= log_loss(told, before, labels=[0, 1]) + 1e-6
    right = labels[:, 3:] == 1
    before, now = (np.log(np.maximum(each[:, 3:][right], 1e-37)) for each in (scores.astype(np.float64), after))
    assert now.mean() >= before.mean() - 1e-6
    assert np.isfinite([fitted.slope, fitted.intercept, fitted.threshold]).all()
    assert min(fitted.slope) > 0


@settings(deadline=None, max_examples=60)
@given(questions(), st.floats(0.2, 1.5), st.floats(-3, 3), st.floats(0.5, 5))
def test_rankings_stay_as_they_are(
    question: tuple[NDArray[np.int8], NDArray[np.float32]], slope: float, intercept: float, temperature: float
) -> None:
    labels, scores = question
    scores = np.clip(scores.round(3), 1e-3, 1 - 1e-3)
    calibration = Calibration([slope] * 3, [intercept] * 3, [0.5] * 3, {"kind": temperature}, {"kind": 0.0})
    after = calibration.apply(torch.from_numpy(scores), [0, 1, 2], GROUPS).numpy()
    before, now = rank_targets(labels[:, :3], scores[:, :3]), rank_targets(labels[:, :3], after[:, :3])
    for one, two in zip(before, now, strict=True):
        np.testing.assert_array_equal(one, two)
    ranks = [np.argsort(each[:, 3:], axis=1, kind="stable") for each in (scores, after)]
    np.testing.assert_array_equal(*ranks)
    np.testing.assert_allclose(after[:, 3:].sum(axis=1), 1, rtol=1e-6)


def test_calibrated_probabilities_are_those_of_the_closed_forms() -> None:
    calibration = Calibration([2.0], [-1.0], [0.5], {"kind": 0.5}, {"kind": 0.0})
    given = torch.tensor([[0.2, 0.9, 0.1], [0.5, 0.25, 0.75]], dtype=torch.float64)
    after = calibration.apply(given, [0], {"kind": [1, 2]}).numpy()
    np.testing.assert_allclose(after[:, 0], [1 / (1 + np.e * 16), 1 / (1 + np.e)])
    np.testing.assert_allclose(after[:, 1:], [[81 / 82, 1 / 82], [1 / 10, 9 / 10]])


def test_certain_answers_stay_finite_and_the_highest() -> None:
    calibration = Calibration([0.5], [-2.0], [0.5], {"kind": 3.0}, {"kind": 0.0})
    given = torch.tensor([[0.0, 1.0, 0.0], [1e-6, 0.5, 0.5], [1 - 1e-6, 1e-6, 1 - 1e-6], [1.0, 0.0, 1.0]])
    after = calibration.apply(given, [0], {"kind": [1, 2]})
    assert after.dtype == torch.float32
    assert after.isfinite().all()
    assert (after[1:, 0] > after[:-1, 0]).all()
    assert torch.equal(after[:, 1:].argmax(dim=1)[[0, 2, 3]], torch.tensor([0, 1, 1]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, MISSING]), st.integers(0, 10)), min_size=1, max_size=30))
def test_no_threshold_has_a_higher_f1(pairs: list[tuple[int, int]]) -> None:
    labels, scores = np.array([label for label, _ in pairs]), np.array([score for _, score in pairs]) / 10
    ours = best_f1_threshold(labels, scores)
    labels, scores = labels[labels != MISSING], scores[labels != MISSING]
    if len(np.unique(labels)) < 2:
        assert ours == NO_THRESHOLD
        return
    best = max(f1_score(labels, scores >= threshold) for threshold in np.unique(scores))
    assert f1_score(labels, scores >= ours) == pytest.approx(best)
    assert not np.isin(ours, scores) or ours == 0, "a threshold on a score would turn with its last digit"


def test_too_few_or_impossible_scores_are_refused(random: np.random.Generator) -> None:
    labels, scores = random.integers(0, 2, (60, 2)).astype(np.int8), random.random((60, 2))
    with pytest.raises(EvaluationError, match=r"49 validation samples with labels, where .* at least 50"):
        fit_calibration(labels[:49], scores[:49], [0, 1], {})
    unlabelled = np.where(np.arange(60)[:, None] < 11, MISSING, labels)
    with pytest.raises(EvaluationError, match="49 validation samples with labels"):
        fit_calibration(unlabelled, scores, [0, 1], {})
    for wrong in (np.nan, 1.5, -0.1):
        with pytest.raises(EvaluationError, match="NaN or not from 0 to 1"):
            fit_calibration(labels, np.where(np.arange(60)[:, None] == 7, wrong, scores), [0, 1], {})


# In a bundle


def test_it_comes_back_with_the_bundle(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = replace(make_bundle(), calibration=TWO)
    bundle.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert again.calibration == TWO
    named = [("s", "ACGT" * 16)]
    (one,), (two,) = predict(bundle, named), predict(again, named)
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


def test_a_bundle_from_before_calibrations_answers_raw(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = replace(make_bundle(), calibration=TWO)
    bundle.save(tmp_path / "bundle")
    config = tmp_path / "bundle" / "config.json"
    read = json.loads(config.read_text())
    del read["calibration"]
    config.write_text(json.dumps(read))
    seal(config.parent)
    old = Bundle.load(tmp_path / "bundle")
    assert old.calibration is None
    (raw,), (one,) = predict(bundle, [("s", "ACGT" * 16)], calibrated=False), predict(old, [("s", "ACGT" * 16)])
    np.testing.assert_array_equal(one.probabilities, raw.probabilities)
    assert one.calls is None
    with pytest.raises(BundleError, match="has no calibration"):
        called(old, one.probabilities[None])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "the calibration has version 2, newer than version 1"),
        ({"version": None}, "the calibration is not one"),
        ({"slope": [1.0, 0.0, 1.0]}, "'slope' is not a number for each of 3 targets"),
        ({"intercept": [1.0]}, "'intercept' is not a number for each of 3 targets"),
        ({"threshold": [0.5, "high", 0.5]}, "'threshold' is not a number for each of 3 targets"),
        ({"temperature": {"kind": 1.0}}, "'temperature' is not a number for each exclusive group"),
        ({"abstain_below": []}, "'abstain_below' is not a number for each exclusive group"),
    ],
)
def test_a_damaged_or_newer_calibration_is_refused(
    make_bundle: Callable[..., Bundle], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    replace(make_bundle(), calibration=TWO).save(tmp_path / "bundle")
    config = tmp_path / "bundle" / "config.json"
    read = json.loads(config.read_text())
    read["calibration"] |= change
    config.write_text(json.dumps(read))
    seal(config.parent)
    with pytest.raises(BundleError, match=told):
        Bundle.load(tmp_path / "bundle")


def test_the_mean_of_both_strands_is_what_is_calibrated(make_bundle: Callable[..., Bundle]) -> None:
    bundle = replace(make_bundle(), calibration=TWO)
    named = [(f"s{number}", "".join(np.random.default_rng(number).choice(list("ACGT"), 64))) for number in range(20)]
    turned = [(name, letters.translate(str.maketrans("ACGT", "TGCA"))[::-1]) for name, letters in named]
    with torch.no_grad():
        both = [
            torch.sigmoid(bundle.model(torch.tensor([["ACGT".index(letter) for letter in one] for _, one in each])))
            for each in (named, turned)
        ]
    mean = (sum(both) / 2).double().numpy()
    expected = expit(np.array(TWO.slope) * logit(mean) + np.array(TWO.intercept))
    found = list(predict(bundle, named))
    np.testing.assert_allclose(np.stack([one.probabilities for one in found]), expected, atol=1e-5)
    for one in found:
        assert one.calls == [f"t{column}" for column in range(3) if one.probabilities[column] >= TWO.threshold[column]]
    raw = np.stack([one.probabilities for one in predict(bundle, named, calibrated=False)])
    np.testing.assert_allclose(raw, mean, atol=1e-5)


def test_the_table_says_what_is_called(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    bundle.targets = [Target("t0", "kind"), Target("flag"), Target("t2", "kind")]
    bundle.exclusive = ["kind"]
    (tmp_path / "in.fa").write_text(">s\n" + "ACGT" * 16 + "\n")
    rows = {}
    for name, threshold, least in (("all", 0.0, 0.0), ("none", 1.1, 1.1)):
        bundle.calibration = Calibration([1.0], [0.0], [threshold], {"kind": 1.0}, {"kind": least})
        write_predictions(bundle, tmp_path / "in.fa", tmp_path / name)
        header, row = ((tmp_path / name).read_text()).splitlines()
        assert header == "id\tstart\tend\tt0\tflag\tt2\tcalls\tabstained\ttruncated\twindowed\tmodel"
        rows[name] = row.split("\t")
    highest = "t0" if float(rows["all"][3]) > float(rows["all"][5]) else "t2"
    assert rows["all"][6:8] == [f"{highest};flag", "no"]
    assert rows["none"][6:8] == [ABSTAINED, "yes"]
    write_predictions(bundle, tmp_path / "in.fa", tmp_path / "raw", calibrated=False)
    assert (tmp_path / "raw").read_text().splitlines()[0] == "id\tstart\tend\tt0\tflag\tt2\ttruncated\twindowed\tmodel"


def test_a_bundle_is_calibrated_on_validation_alone(
    make_bundle: Callable[..., Bundle], make_store: Callable[..., Store]
) -> None:
    bundle, store = make_bundle(), make_store(600)
    fitted = calibrate(bundle, store)
    assert bundle.calibration is None
    samples = store.distinct(store.samples("valid"))
    raw = score_samples(bundle, store, samples)
    expected = fit_calibration(store.known_labels(samples), raw, [0, 1, 2], {})
    assert fitted.calibration == expected.calibration
    assert fitted.provenance["calibration"] == json.loads(json.dumps(expected.change))
    assert calibrate(fitted, store).calibration == fitted.calibration, "what it was before plays no part"
    with pytest.raises(EvaluationError, match="where a calibration needs at least 50"):
        calibrate(bundle, make_store(100, name="small.h5"))


def test_evaluation_is_of_calibrated_probabilities_and_ranks_as_before(
    make_bundle: Callable[..., Bundle], make_store: Callable[..., Store], tmp_path: Path
) -> None:
    store, raw = make_store(600), make_bundle()
    fitted = calibrate(raw, store)
    samples = store.distinct(store.samples("test"))
    before = score_samples(raw, store, samples)
    after = score_samples(fitted, store, samples)
    expected = expit(np.array(fitted.calibration.slope) * logit(before.astype(float)) + fitted.calibration.intercept)
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert np.abs(after - before).max() > 0.01
    tables = []
    for name, bundle in (("raw", raw), ("fitted", fitted)):
        metrics = evaluate(bundle, store, tmp_path / name, baselines=False, min_positives=1)
        tables.append(
            [[row[name]["model"] for name in ("auroc", "average_precision")] for row in metrics["per_target"]]
        )
    np.testing.assert_allclose(*tables, atol=1e-6)


def test_an_ensemble_leaves_its_members_calibrations_and_gets_its_own(
    make_bundle: Callable[..., Bundle], make_store: Callable[..., Store]
) -> None:
    store = make_store(600)
    one, two = calibrate(make_bundle(), store), calibrate(make_bundle(), store)
    joint = join_bundles([one, two])
    samples = store.distinct(store.samples("valid"))
    each = [score_samples(bundle, store, samples, calibrated=False) for bundle in (one, two)]
    mean = np.mean(each, axis=0)
    assert joint.calibration is None
    np.testing.assert_allclose(score_samples(joint, store, samples), mean, atol=1e-6)
    expected = fit_calibration(store.known_labels(samples), mean, [0, 1, 2], {}).calibration
    ours = calibrate(joint, store).calibration
    np.testing.assert_allclose(ours.slope, expected.slope, rtol=1e-3)
    np.testing.assert_allclose(ours.intercept, expected.intercept, atol=1e-3)


def test_the_command_calibrates_and_predicts_raw_on_request(
    make_bundle: Callable[..., Bundle],
    make_store: Callable[..., Store],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, raw = make_store(600), make_bundle()
    raw.save(tmp_path / "raw")
    command = ["calibrate", str(tmp_path / "raw"), str(store.path), "--out", str(tmp_path / "fitted")]
    main(command)
    assert "validation samples: log loss" in capsys.readouterr().err
    fitted = Bundle.load(tmp_path / "fitted")
    assert fitted.calibration == calibrate(raw, store).calibration
    with pytest.raises(SystemExit):
        main(command)
    assert "--force" in capsys.readouterr().err
    (tmp_path / "in.fa").write_text(">s\n" + "ACGT" * 16 + "\n")
    for options, bundle in (([], fitted), (["--raw"], raw)):
        out = tmp_path / f"out{len(options)}.tsv"
        main(["predict", str(tmp_path / "fitted"), str(tmp_path / "in.fa"), "--out", str(out), *options])
        (expected,) = predict(bundle, [("s", "ACGT" * 16)])
        header, row = (line.split("\t") for line in out.read_text().splitlines())
        assert ("calls" in header) == (bundle is fitted)
        np.testing.assert_allclose(np.array(row[3:6], dtype=float), expected.probabilities, rtol=1e-4)


# After a fit


def fit(store: Store, out: Path) -> Bundle:
    options = ["--model.k=2", "--recipe.learning_rate=0.1", "--trainer.max_epochs=10", "--evaluate=false"]
    run_experiment(kmer_logreg, name="test", arguments=["fit", f"--data.store={store.path}", f"--out={out}", *options])
    return Bundle.load(out / "bundle")


def test_families_left_out_of_training_are_abstained_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    families = simulate_pfam(tmp_path / "raw", families=25, members=60) / "random_split"
    left_out = tuple(f"PF{number:05}" for number in range(16, 26))
    unknown: list[tuple[str, str]] = []
    for shard in families.rglob("data-*"):
        header, *rows = shard.read_text().splitlines()
        out = [row.split(",") for row in rows if row.split(",")[2].startswith(left_out)]
        unknown += [(row[1], row[4]) for row in out]
        shard.write_text("\n".join([header, *(row for row in rows if row.split(",") not in out)]) + "\n")
    store = import_pfam(families, tmp_path / "families.h5")
    bundle = fit(store, tmp_path / "run")
    change = bundle.provenance["calibration"]["groups"]["family"]["log_loss"]
    assert change["calibrated"] <= change["raw"]
    assert "calibrated on 90 validation samples: family: log loss" in capsys.readouterr().err

    samples = store.samples("test")
    known = score_samples(bundle, store, samples)
    unknown_predictions = list(predict(bundle, unknown))
    highest = [known.max(axis=1), np.array([each.probabilities.max() for each in unknown_predictions])]
    is_known = np.repeat([1, 0], [len(each) for each in highest])
    assert len(samples) == 90
    assert len(unknown) == 600
    assert auroc(is_known, np.concatenate(highest)) > 0.85
    kept = np.mean([calls != [ABSTAINED] for calls in called(bundle, known)])
    abstained = np.mean([each.calls == [ABSTAINED] for each in unknown_predictions])
    assert kept > KEPT - 0.05
    assert abstained > 0.25
    truth = np.array([target.name for target in bundle.targets])[store.labels(samples).argmax(axis=1)]
    assert np.mean([calls == [name] for calls, name in zip(called(bundle, known), truth, strict=True)]) > 0.8


def test_a_fit_with_too_few_validation_samples_says_so(
    tmp_path: Path, random: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = ["train"] * 30 + ["valid"] * 10
    store = make_classes(tmp_path / "few.h5", random_proteins(random, [30] * 40), [0, 1] * 20, splits)
    bundle = fit(store, tmp_path / "run")
    told = "10 validation samples with labels, where a calibration needs at least 50"
    assert f"not calibrated: {told}" in capsys.readouterr().err
    assert bundle.calibration is None
    assert bundle.provenance["calibration"] == {"none": told}
