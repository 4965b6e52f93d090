"""Folds as divisions of the samples, and the command that trains and judges a model a fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from class_stores import make_classes, random_proteins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from seqclass.alphabets import PROTEIN
from seqclass.bundle import Bundle
from seqclass.data.folds import make_folds
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.errors import SeqclassError, SourceError, TrainingError
from seqclass.evaluation.compare import compare_runs
from seqclass.evaluation.predictions import load_predictions
from seqclass.models import protcnn_small
from seqclass.predict import score_samples
from seqclass.targets import Target
from seqclass.training import run_experiment

SMALL = ["--model.channels=8", "--model.bottleneck=8", "--model.kernel_size=3", "--model.dilations=[1]"]
SMALL += ["--data.batch_size=32", "--trainer.max_epochs=1", "--trainer.precision=32-true", "--baselines=false"]
MOTIFS = ("WWCWC", "HMHMH", "YFYFY")


def families(path: Path, count: int = 150, test: int = 30) -> Store:
    """Three classes that a motif tells; the last samples are the test split."""
    random = np.random.default_rng(0)
    classes = np.arange(count) % len(MOTIFS)
    plain = random_proteins(random, random.integers(20, 30, count))
    sequences = [text[:5] + MOTIFS[each] + text[10:] for text, each in zip(plain, classes, strict=True)]
    split = ["train", "valid"] * ((count - test) // 2) + ["test"] * test
    return make_classes(path, sequences, classes.tolist(), split)


def grouped(path: Path, groups: list[int], split: list[int] | None = None) -> Store:
    """A protein a sample, with a yes-or-no target and the groups given."""
    random = np.random.default_rng(1)
    count = len(groups)
    with write_store(path, PROTEIN, force=True) as writer:
        for number, sequence in enumerate(random_proteins(random, [20] * count)):
            writer.add_contigs([f"s{number}"], PROTEIN.encode(sequence))
        writer.set_targets([Target("yes")])
        writer.add_labels(writer.layout.pack(np.arange(count)[:, None] % 2))
        numbers = np.arange(count, dtype=np.int32)
        lengths = np.full(count, 20, dtype=np.int32)
        views = Views(numbers, np.zeros(count, dtype=np.int64), lengths, np.ones(count, dtype=np.int8))
        parts = np.zeros(count, dtype=np.uint8) if split is None else np.array(split, dtype=np.uint8)
        names = [f"g{number}" for number in range(max(groups) + 1)]
        writer.set_samples(views, parts, (np.array(groups), names))
        writer.finish({})
    return Store(path)


def run(store: Store, out: Path, *options: str) -> dict[str, object]:
    arguments = ["cross-validate", f"--data.store={store.path}", f"--out={out}", *SMALL, *options]
    return run_experiment(protcnn_small, name="test", arguments=arguments)


@given(
    groups=st.lists(st.integers(0, 9), min_size=20, max_size=60),
    number=st.integers(3, 5),
    seed=st.integers(0, 3),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_group_is_in_two_parts_of_a_fold(tmp_path: Path, groups: list[int], number: int, seed: int) -> None:
    groups = [*range(6), *groups]
    folds = make_folds(grouped(tmp_path / "store.h5", groups), number, "group", seed=seed)
    assert set(folds.of) == set(range(number))
    held_out = []
    for store in folds:
        parts = [{groups[sample] for sample in store.samples(name)} for name in ("train", "valid", "test")]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(set(groups))
        held_out += store.samples("test").tolist()
    assert sorted(held_out) == list(range(len(groups)))


@given(counts=st.lists(st.integers(4, 23), min_size=2, max_size=5), seed=st.integers(0, 3))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stratified_folds_differ_by_at_most_one_sample_of_each_class(
    tmp_path: Path, counts: list[int], seed: int
) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    path = tmp_path / "store.h5"
    path.unlink(missing_ok=True)
    sequences = random_proteins(np.random.default_rng(0), [8] * len(classes))
    store = make_classes(path, sequences, classes.tolist(), ["train"] * len(classes))
    of = make_folds(store, 4, "stratified", seed=seed).of
    for each in range(len(counts)):
        assert np.ptp(np.bincount(of[classes == each], minlength=4)) <= 1
    assert np.ptp(np.bincount(of, minlength=4)) <= 1


def test_copies_of_a_sequence_are_in_one_fold_by_cluster(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    sequences = [text for text in random_proteins(random, [40] * 20) for _ in range(3)]
    store = make_classes(tmp_path / "store.h5", sequences, [0, 1] * 30, ["train"] * 60)
    folds = make_folds(store, 5, "cluster")
    assert len(set(zip(sequences, folds.of.tolist(), strict=True))) == 20
    assert np.bincount(folds.of).tolist() == [12] * 5


def test_the_test_split_is_in_no_fold_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    store = grouped(tmp_path / "store.h5", list(range(12)), [0, 1, 2] * 4)
    before = store.path.read_bytes()
    folds = make_folds(store, 4, "group")
    assert (folds.of == -1).tolist() == [False, False, True] * 4
    for divided in folds:
        seen = np.concatenate([divided.samples(name) for name in ("train", "valid", "test")])
        assert sorted(seen) == sorted(np.flatnonzero(folds.of >= 0))
        assert divided.checksum() != store.checksum()
    assert store.path.read_bytes() == before


def test_a_class_with_fewer_members_than_folds_is_named(tmp_path: Path) -> None:
    sequences = random_proteins(np.random.default_rng(0), [8] * 13)
    store = make_classes(tmp_path / "store.h5", sequences, [0] * 10 + [1] * 3, ["train"] * 13)
    with pytest.raises(SourceError, match=r"1 of 2 classes have fewer members .* 5 folds: c1 \(3\)"):
        make_folds(store, 5, "stratified")
    assert make_folds(store, 3, "stratified").number == 3


def test_a_rare_answer_to_one_question_is_a_class_too(tmp_path: Path) -> None:
    store = grouped(tmp_path / "store.h5", list(range(7)))
    with pytest.raises(SourceError, match=r"1 of 2 classes .* yes \(3\)"):
        make_folds(store, 4, "stratified")


def test_folds_that_cannot_be_are_refused(tmp_path: Path) -> None:
    store = grouped(tmp_path / "store.h5", [0, 0, 1, 1, 2, 2])
    with pytest.raises(SourceError, match="there are 3 groups outside the test split, where 5 folds need one each"):
        make_folds(store, 5, "group")
    with pytest.raises(SourceError, match="fewer than two groups"):
        make_folds(store, 2, "group")
    with pytest.raises(SourceError, match="1 folds"):
        make_folds(store, 1, "group")
    families(tmp_path / "families.h5")
    with pytest.raises(SourceError, match="not known which samples belong together"):
        make_folds(Store(tmp_path / "families.h5"), 5, "group")
    with pytest.raises(SeqclassError, match="way to make folds"):
        make_folds(store, 3, "moon")
    empty = grouped(tmp_path / "empty.h5", [0, 1], [2, 2])
    with pytest.raises(SourceError, match="no samples outside the test split"):
        make_folds(empty, 2, "group")


def test_each_sample_is_judged_once_by_the_model_that_did_not_see_it(tmp_path: Path) -> None:
    store, out = families(tmp_path / "store.h5"), tmp_path / "run"
    metrics = run(store, out, "--folds=3", "--trainer.max_epochs=2")
    found = load_predictions(out)
    rows = [line.split("\t") for line in (out / "folds.tsv").read_text().splitlines()[1:]]
    outside = np.flatnonzero(store.split != 2)
    assert [name.rsplit(":", 1)[0] for name in found.ids] == store.names(outside)
    assert sorted(name for name, _ in rows) == sorted(found.ids)
    folds = dict(rows)
    of = np.array([int(folds[name]) for name in found.ids])
    accuracies = []
    for fold in range(3):
        mine = np.flatnonzero(of == fold)
        bundle = Bundle.load(out / f"fold_{fold}" / "bundle")
        np.testing.assert_allclose(score_samples(bundle, store, outside[mine]), found.scores[mine], atol=1e-6)
        truth = store.classes(outside[mine])[:, 0]
        accuracies.append(accuracy_score(truth, found.scores[mine].argmax(axis=1)))
        assert bundle.provenance["data"]["split"]["fold"] == fold
        assert sum(bundle.train_positives) < len(outside) - len(mine)
    figure = metrics["provenance"]["cross_validation"]["figures"]["model"]["family: accuracy"]
    assert figure["folds"] == pytest.approx(accuracies)
    assert figure["mean"] == pytest.approx(np.mean(accuracies))
    assert figure["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))
    truth = store.classes(outside)[:, 0]
    assert metrics["accuracy"]["family"]["model"]["accuracy"] == accuracy_score(truth, found.scores.argmax(axis=1))
    assert (out / "report" / "index.html").exists()
    assert compare_runs([out, out / "report"])["samples"] == len(outside)


def test_a_stopped_cross_validation_goes_on_at_the_fold_that_is_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = families(tmp_path / "store.h5", 90), tmp_path / "run"
    whole = run(store, tmp_path / "whole", "--folds=3")
    begun = []

    def stops(bundle: Bundle, *rest: object) -> object:
        begun.append(bundle)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return score_samples(bundle, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("seqclass.training.cross_validation.score_samples", stops)
        with pytest.raises(KeyboardInterrupt):
            run(store, out, "--folds=3")
    done = out / "fold_0" / "checkpoints" / "last.ckpt"
    written = done.stat().st_mtime_ns
    capsys.readouterr()
    metrics = run(store, out, "--folds=3", "--resume")
    assert f"{out / 'fold_0'} is done" in capsys.readouterr().err
    assert done.stat().st_mtime_ns == written
    assert metrics["accuracy"] == whole["accuracy"]
    with pytest.raises(TrainingError, match="folds 3 then, 2 now"):
        run(store, out, "--folds=2", "--resume")


def test_a_cross_validation_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    store = families(tmp_path / "store.h5", 60, 30)
    with pytest.raises(TrainingError, match="the seed is 4294967296"):
        run(store, tmp_path / "run", "--folds=3", "--seed=4294967296")
    with pytest.raises(SourceError, match="classes have fewer members"):
        run(store, tmp_path / "run", "--folds=20")
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]


def test_the_baselines_are_fitted_on_each_folds_training_samples(tmp_path: Path) -> None:
    store = families(tmp_path / "store.h5", 90)
    metrics = run(store, tmp_path / "run", "--folds=2", "--baselines=true")
    sizes = [each["train_samples"] for each in metrics["baselines"]["prevalence"]["settings"]["folds"]]
    assert sizes == [27, 27]
    assert set(metrics["provenance"]["cross_validation"]["figures"]) == {"model", *metrics["baselines"]}
