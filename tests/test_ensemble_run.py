"""`fit --ensemble`: members by seed, joined, calibrated and judged together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from class_stores import make_classes, random_proteins

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.errors import OutputExistsError, TrainingError
from seqclass.models import Ensemble, protcnn_small
from seqclass.predict import score_samples
from seqclass.training import run_experiment
from seqclass.training.fit import fit_run

SMALL = ["--model.channels=8", "--model.bottleneck=8", "--model.kernel_size=3", "--model.dilations=[1]"]
SMALL += ["--data.batch_size=32", "--trainer.max_epochs=1", "--trainer.precision=32-true", "--baselines=false"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    random = np.random.default_rng(0)
    classes = [0, 1] * 100
    sequences = [text + "WHWHW" * each for text, each in zip(random_proteins(random, [20] * 200), classes, strict=True)]
    split = np.resize(np.array(["train", "train", "valid", "valid", "test"]), 200)
    return make_classes(tmp_path_factory.mktemp("store") / "store.h5", sequences, classes, split)


def fit(store: Store, out: Path, *options: str) -> dict[str, object]:
    arguments = ["fit", f"--data.store={store.path}", f"--out={out}", *SMALL, *options]
    return run_experiment(protcnn_small, name="test", arguments=arguments)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_members_are_the_runs_of_their_seeds_and_the_bundle_is_their_calibrated_mean(
    store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    metrics = fit(store, out, "--ensemble=2", "--seed=4")
    assert sorted(path.name for path in (out / "members").iterdir()) == ["seed_4", "seed_5"]
    members = [Bundle.load(out / "members" / f"seed_{seed}" / "bundle") for seed in (4, 5)]
    fit(store, tmp_path / "alone", "--seed=5", "--evaluate=false")
    assert same_weights(members[1].model, Bundle.load(tmp_path / "alone" / "bundle").model)
    joint = Bundle.load(out / "bundle")
    assert isinstance(joint.model, Ensemble)
    samples = store.samples("test")
    each = [score_samples(member, store, samples, calibrated=False) for member in members]
    assert not np.allclose(*each)
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(score_samples(joint, store, samples, calibrated=False), mean, atol=1e-5)
    assert joint.calibration is not None
    assert joint.provenance["calibration"]["samples"] == len(store.samples("valid"))
    shares = np.log(mean) / joint.calibration.temperature["family"]
    expected = np.exp(shares) / np.exp(shares).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(score_samples(joint, store, samples), expected, atol=1e-4)
    accuracy = metrics["accuracy"]["family"]
    assert set(accuracy) == {"model", "seed_4", "seed_5"}
    assert all(len(figures["intervals"]["accuracy"]) == 2 for figures in accuracy.values())
    assert len(metrics["comparisons"]) == 2


def test_a_member_can_be_trained_again_from_its_own_configuration(store: Store, tmp_path: Path) -> None:
    fit(store, tmp_path / "run", "--ensemble=2", "--evaluate=false")
    member = tmp_path / "run" / "members" / "seed_1"
    arguments = ["fit", f"--config={member / 'config.yaml'}", f"--out={tmp_path / 'again'}"]
    run_experiment(protcnn_small, name="test", arguments=arguments)
    again = Bundle.load(tmp_path / "again" / "bundle")
    assert same_weights(Bundle.load(member / "bundle").model, again.model)


def test_a_stopped_ensemble_goes_on_at_the_member_that_is_not_trained_and_may_grow(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    fit(store, whole, "--ensemble=3", "--evaluate=false")
    begun = []

    def stops(*arguments: object) -> object:
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return fit_run(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("seqclass.training.ensemble_run.fit_run", stops)
        with pytest.raises(KeyboardInterrupt):
            fit(store, out, "--ensemble=2", "--evaluate=false")
    assert not (out / "bundle").exists()
    kept = out / "members" / "seed_0" / "checkpoints" / "best.ckpt"
    written = kept.stat().st_mtime_ns
    with pytest.raises(OutputExistsError):
        fit(store, out, "--ensemble=3", "--evaluate=false")
    with pytest.raises(TrainingError, match="consists of several"):
        fit(store, out, "--resume")
    fit(store, out, "--ensemble=3", "--evaluate=false", "--resume")
    assert kept.stat().st_mtime_ns == written
    assert same_weights(Bundle.load(out / "bundle").model, Bundle.load(whole / "bundle").model)
    with pytest.raises(TrainingError, match=r"began otherwise: .*learning_rate"):
        fit(store, out, "--ensemble=3", "--resume", "--recipe.learning_rate=0.1")


def test_what_cannot_be_an_ensemble_is_refused_and_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match="an ensemble of 1"):
        fit(store, out, "--ensemble=1")
    with pytest.raises(TrainingError, match="batch of 1"):
        fit(store, out, "--ensemble=2", "--data.batch_size=1")
    assert not list(tmp_path.iterdir())
    fit(store, out, "--evaluate=false")
    (out / "mine").touch()
    with pytest.raises(TrainingError, match="run of one model"):
        fit(store, out, "--ensemble=2", "--resume")
    with pytest.raises(TrainingError, match="batch of 1"):
        fit(store, out, "--ensemble=2", "--data.batch_size=1", "--force")
    assert (out / "mine").exists()
