"""A sweep finds what trains best, is shared by workers, goes on after a stop, and refuses a wrong space at once."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from PIL import Image

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.labels import pack_labels
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.errors import MissingPackageError, SeqclassError, StoreError, TrainingError, UnknownNameError
from seqclass.models import wrn
from seqclass.targets import Target
from seqclass.training import run_experiment
from seqclass.training.sweep import storage
from seqclass.training.sweep.plots import importances
from seqclass.training.task import ClassificationTask

OPTIONS = ["--model.channels=8", "--model.widths=[8]", "--model.strides=[2]", "--model.expansion=2", "--model.hidden=8"]
OPTIONS += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.max_epochs=2"]
OPTIONS += ["--data.batch_size=32", "--data.random_strand=false", "--recipe.schedule.warmup_steps=0"]

# Half of all trials learn nothing beyond how frequent the labels are.
LEARNS_OR_NOT = "recipe.learning_rate: {choice: [0.0, 0.05]}"
SPREAD = "recipe.learning_rate: {log-uniform: [1e-3, 1e-1]}"

# Processes are forked from one that has imported all of this and has no threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["seqclass.training", "torch.utils.tensorboard"])


def write_dna(path: Path, test_seed: int = 0) -> Store:
    """240 sequences of 32 bp; stretches of A and C give the two targets away. Test labels have a seed of their own."""
    generator = np.random.default_rng(0)
    number, length = 240, 32
    tokens = generator.integers(0, 4, (number, length)).astype(np.uint8)
    labels = generator.integers(0, 2, (number, 2))
    for target in (0, 1):
        tokens[labels[:, target] == 1, 4 + 16 * target : 10 + 16 * target] = target
    split = np.resize(np.array([0, 0, 0, 1, 2], dtype=np.uint8), number)
    labels[split == 2] = np.random.default_rng(test_seed).integers(0, 2, (int((split == 2).sum()), 2))
    with write_store(path, DNA, force=True) as writer:
        for row in range(number):
            writer.add_contigs([f"c{row}"], tokens[row])
        writer.set_targets([Target("a"), Target("c")])
        writer.add_labels(pack_labels(labels))
        writer.set_samples(
            Views(np.arange(number), np.zeros(number, int), np.full(number, length), np.ones(number, int)), split
        )
        writer.finish({"source": "test", "bin": length // 2, "notes": []})
    return Store(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_dna(tmp_path_factory.mktemp("dna") / "store.h5")


def sweep(store: Store, out: Path, space: str, *options: str) -> dict[str, Any]:
    file = out.with_name(f"{out.name}-space.yaml")
    file.write_text(space)
    arguments = ["sweep", f"--space={file}", f"--out={out}", f"--data.store={store.path}", *OPTIONS, *options]
    return run_experiment(wrn, name="test", arguments=arguments)


def trials(out: Path) -> list[dict[str, str]]:
    with (out / "trials.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def study(out: Path, name: str = "test") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage._storage(str(out / "study.journal")))


def without_training(*_: Any) -> Any:
    raise AssertionError("a trial began")


@pytest.fixture(scope="module")
def swept(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 14 trials."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    sweep(store, out, f"{LEARNS_OR_NOT}\nmodel.hidden: {{integer: [8, 16], step: 4}}", "--trials=14")
    return out


def test_the_best_configuration_runs_and_scores_what_its_trial_scored(swept: Path) -> None:
    best = max(study(swept).get_trials(states=(TrialState.COMPLETE,)), key=lambda trial: trial.value or 0)
    assert best.params["recipe.learning_rate"] == "0.05"
    run_experiment(wrn, name="best", arguments=["fit", f"--config={swept / 'best.yaml'}", "--evaluate=false"])
    bundle = Bundle.load(swept / "best" / "bundle")
    assert bundle.provenance["valid_average_precision"] == best.value
    assert bundle.provenance["recipe"]["learning_rate"] == 0.05


def test_trials_that_learn_nothing_are_pruned_after_their_first_validation_and_good_ones_are_not(swept: Path) -> None:
    rows = trials(swept)
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert pruned
    assert {row["recipe.learning_rate"] for row in pruned} == {"0.0"}
    assert {row["validations"] for row in pruned} == {"1"}
    assert {row["validations"] for row in rows if row["state"] == "completed"} == {"2"}
    assert {row["state"] for row in rows} == {"completed", "pruned"}


def test_importance_finds_the_option_that_matters(swept: Path) -> None:
    found = importances(study(swept))
    assert sum(found.values()) == pytest.approx(1)
    assert found["recipe.learning_rate"] > 0.8


def test_pictures_and_logs_of_each_trial_are_there(swept: Path) -> None:
    for picture in ("history.png", "importance.png"):
        assert min(Image.open(swept / picture).size) > 150
    assert len(list((swept / "trials").glob("*/logs/events.out.tfevents.*"))) == len(trials(swept)) == 14


def test_a_sweep_says_a_line_a_trial_and_a_table_in_the_end(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(store, tmp_path / "out", LEARNS_OR_NOT, "--trials=2", "--trainer.max_epochs=1")
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if "  trial " in line]
    assert [line.split()[:3] for line in lines] == [["1/2", "trial", "0"], ["2/2", "trial", "1"]]
    assert "epoch 1/1" not in shown.err
    assert "2 completed" in shown.out


def test_the_same_seed_gives_the_same_study_in_one_go_or_two(store: Store, tmp_path: Path) -> None:
    quick = ["--trainer.max_epochs=1"]
    sweep(store, tmp_path / "once", SPREAD, "--trials=4", *quick)
    for number in (2, 4):
        sweep(store, tmp_path / "twice", SPREAD, f"--trials={number}", *quick)
    once, twice = trials(tmp_path / "once"), trials(tmp_path / "twice")
    assert [row["recipe.learning_rate"] for row in once] == [row["recipe.learning_rate"] for row in twice]
    assert [row["value"] for row in once] == [row["value"] for row in twice]
    assert len({row["recipe.learning_rate"] for row in once}) == 4


def test_a_finished_study_trains_no_more(store: Store, tmp_path: Path) -> None:
    quick = ["--trials=1", "--trainer.max_epochs=1"]
    first = sweep(store, tmp_path / "out", LEARNS_OR_NOT, *quick)
    with patch.object(ClassificationTask, "training_step", without_training):
        assert sweep(store, tmp_path / "out", LEARNS_OR_NOT, *quick) == first


def test_the_test_split_changes_nothing(store: Store, tmp_path: Path) -> None:
    other = write_dna(tmp_path / "other.h5", test_seed=1)
    assert store.label_counts("test")[0].tolist() != other.label_counts("test")[0].tolist()
    quick = ["--trials=2", "--trainer.max_epochs=1"]
    for number, each in enumerate((store, other)):
        with patch("seqclass.training.fit.evaluate", without_training):
            sweep(each, tmp_path / str(number), LEARNS_OR_NOT, *quick)
    assert [row["value"] for row in trials(tmp_path / "0")] == [row["value"] for row in trials(tmp_path / "1")]


def test_a_trial_that_fails_is_told_of_and_the_study_goes_on(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = ClassificationTask.training_step

    def exploding(task: ClassificationTask, batch: Any, number: int) -> torch.Tensor:
        loss = step(task, batch, number)
        return loss * float("nan") if task.learning_rate == 0.05 else loss

    with patch.object(ClassificationTask, "training_step", exploding):
        sweep(store, tmp_path / "out", LEARNS_OR_NOT, "--trials=6", "--trainer.max_epochs=1")
    rows = trials(tmp_path / "out")
    assert len(rows) == 6
    ends = {row["recipe.learning_rate"]: row["state"] for row in rows}
    assert ends == {"0.05": "failed", "0.0": "completed"}
    assert all("the loss became nan" in row["reason"] for row in rows if row["state"] == "failed")
    assert "failed: " in capsys.readouterr().err


def test_a_model_that_cannot_be_built_is_a_failed_trial(store: Store, tmp_path: Path) -> None:
    space = "model.strides: {choice: [[2], [2, 2]]}"  # there is one width
    sweep(store, tmp_path / "out", space, "--trials=6", "--trainer.max_epochs=1")
    assert {(row["model.strides"], row["state"]) for row in trials(tmp_path / "out")} == {
        ("[2]", "completed"),
        ("[2, 2]", "failed"),
    }


def test_data_that_becomes_unreadable_ends_the_study_and_costs_no_trial(store: Store, tmp_path: Path) -> None:
    gone = tmp_path / "gone.h5"
    gone.write_bytes(store.path.read_bytes())
    with (
        patch("seqclass.training.sweep.study.train_trial", side_effect=StoreError("it is gone")),
        pytest.raises(StoreError, match="it is gone"),
    ):
        sweep(Store(gone), tmp_path / "out", LEARNS_OR_NOT, "--trials=2")
    sweep(
        Store(gone),
        tmp_path / "out",
        LEARNS_OR_NOT,
        "--trials=2",
    )
    assert [row["state"] for row in trials(tmp_path / "out")] == ["stopped", "completed", "completed"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_cleanly_and_the_trial_it_hit_is_made_again(
    store: Store, tmp_path: Path, signum: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    step = ClassificationTask.training_step
    taken = 0

    def stopping(task: ClassificationTask, batch: Any, number: int) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken == 8:  # there are five steps a trial
            os.kill(os.getpid(), signum)
        return step(task, batch, number)

    out = tmp_path / "out"
    options = ["--trials=3", "--trainer.max_epochs=1"]
    before = signal.getsignal(signum)
    with patch.object(ClassificationTask, "training_step", stopping), pytest.raises(SystemExit) as stop:
        sweep(store, out, SPREAD, *options)
    assert stop.value.code == 128 + signum
    assert signal.getsignal(signum) is before
    assert f"stopped by {signum.name}: 1 of 3 trials done. Go on with: " in capsys.readouterr().err
    assert (out / "best.yaml").exists()
    sweep(store, out, SPREAD, *options)
    rows = trials(out)
    assert [row["state"] for row in rows] == ["completed", "stopped", "completed", "completed"]
    assert rows[2]["recipe.learning_rate"] == rows[1]["recipe.learning_rate"]


def test_a_trial_whose_process_was_killed_is_made_again(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--trials=2", "--trainer.max_epochs=1"]
    sweep(store, out, LEARNS_OR_NOT, "--trials=1", "--trainer.max_epochs=1")
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    abandoned = study(out).ask()
    abandoned.suggest_categorical("recipe.learning_rate", ["0.0", "0.05"])
    abandoned.set_user_attr("worker", f"{dead.pid} on {os.uname().nodename}")
    sweep(store, out, LEARNS_OR_NOT, *options)
    rows = trials(out)
    assert [row["state"] for row in rows] == ["completed", "stopped", "completed"]
    assert rows[1]["recipe.learning_rate"] == rows[2]["recipe.learning_rate"]


def _work(store: str, out: str, together: Any) -> None:
    """A worker of its own process, which begins its first trial when the other one does."""
    torch.set_num_threads(1)
    waits = True

    def meet(*_: Any) -> None:
        nonlocal waits
        if waits:
            together.wait(120)
        waits = False

    with patch.object(ClassificationTask, "on_train_epoch_start", meet):
        sweep(Store(store), Path(out), SPREAD, "--trials=6", "--trainer.max_epochs=1")


def test_two_processes_share_one_study(store: Store, tmp_path: Path) -> None:
    together = PROCESSES.Barrier(2)
    arguments = str(store.path), str(tmp_path / "out"), together
    workers = [PROCESSES.Process(target=_work, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(200)
    assert [worker.exitcode for worker in workers] == [0, 0]
    made = study(tmp_path / "out").get_trials()
    assert 6 <= len(made) <= 7
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in made)
    assert {trial.user_attrs["worker"].split()[0] for trial in made} == {str(worker.pid) for worker in workers}
    assert len({trial.params["recipe.learning_rate"] for trial in made}) == len(made) == len(trials(tmp_path / "out"))


def test_a_study_can_be_kept_in_a_database_and_a_password_is_not_shown(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    sweep(store, tmp_path / "out", LEARNS_OR_NOT, "--trials=2", "--trainer.max_epochs=1", f"--storage={url}")
    kept = optuna.load_study(study_name="test", storage=url)
    assert [f"{trial.value!r}" for trial in kept.trials] == [row["value"] for row in trials(tmp_path / "out")]
    assert storage.shown("mysql+pymysql://me:secret@host/studies") == "mysql+pymysql://me:***@host/studies"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("recipe.learning_rate: {log-uniform: [-5, -2]}", r"values, not exponents.*write \[1e-05, 0.01\]"),
        ("recipe.learning_rate: {log-uniform: [2, 5]}", r"look like exponents.*write \[1e-5, 1e-2\]"),
        ("recipe.learning_rate: {log-uniform: [0, 0.1]}", "is not above 0"),
        ("model.hidden: {log-integer: [0, 64]}", "is not above 0"),
        ("recipe.learning_rate: {log-uniform: [0.1, 0.01]}", "first be below the second"),
        ("recipe.learning_rate: {log-uniform: [1e-5]}", "two numbers"),
        ("recipe.learning_rate: {uniform: [0.1, .nan]}", "two numbers"),
        ("recipe.learning_rate: {uniform: [0.1, yes]}", "two numbers"),
        ("recipe.learning_rate: {uniform: [-0.1, 0.1]}", "rate be at least 0"),
        ("recipe.learning_rate: {uniform: [0, 1], step: 0.3}", "multiple"),
        ("recipe.learning_rate: {log-uniform: [0.01, 0.1], step: 0.01}", "takes no step"),
        ("recipe.learning_rate: {lognormal: [0.01, 0.1]}", "no distribution 'lognormal'.*log-uniform"),
        ("recipe.learning_rate: {uniform: [0, 1], choice: [0, 1]}", "2 distributions"),
        ("recipe.learning_rate: 0.1", "found 0.1"),
        ("recipe.learning_rate: {choice: [fast, slow]}", "float.*fast"),
        ("recipe.learning_rate: {choice: [0.1, null]}", "float.*None"),
        ("recipe.learning_rate: {choice: [0.1]}", "two or more"),
        ("recipe.learning_rate: {choice: [0.1, 0.1]}", "listed twice"),
        ("recipe.optimiser.kind: {choice: [adamw, lion]}", "adamw.*lion"),
        ("model.hidden: {uniform: [8, 16]}", "int.*Got value"),
        ("model.hidden: {log-uniform: [8, 16]}", "int.*Got value"),
        ("model.hidden: {integer: [8.5, 16]}", "whole numbers"),
        ("model.hidden: {integer: [8, 16], step: 3}", "multiple"),
        ("data.batch_size: {integer: [1, 64]}", "at least 2"),
        ("data.mask: {uniform: [0, 2]}", "mask"),
        ("trainer.max_epochs: {choice: [many, few]}", "many"),
        ("recipe.learning_rat: {uniform: [0.1, 0.2]}", r"no option 'recipe.learning_rat'.*recipe\.learning_rate"),
        ("learning_rate: {uniform: [0.1, 0.2]}", r"no option 'learning_rate'.*recipe\.learning_rate"),
        ("recipe: {learning_rate: {uniform: [0.1, 0.2]}}", "option 'recipe' is ambiguous"),
        ("data.store: {choice: [a.h5, b.h5]}", "the same for all trials"),
        ("- recipe.learning_rate", "names no option"),
        ("recipe.learning_rate: {uniform: [0.1", "not YAML"),
        ("", "names no option"),
    ],
)
def test_a_wrong_space_is_refused_before_any_trial(store: Store, tmp_path: Path, line: str, told: str) -> None:
    with (
        patch("seqclass.training.sweep.study.train_trial", without_training),
        pytest.raises((TrainingError, UnknownNameError), match=f"(?s)out-space.yaml.*{told}") as refusal,
    ):
        sweep(store, tmp_path / "out", line)
    assert str(refusal.value).count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_whole_numbers_can_be_meant_as_values(store: Store, tmp_path: Path) -> None:
    space = "recipe.learning_rate: {log-uniform: [2.0, 5.0]}"
    found = sweep(store, tmp_path / "out", space, "--trials=1", "--trainer.max_epochs=1")
    assert 2 <= found["options"]["recipe.learning_rate"] <= 5


def test_a_study_goes_on_only_as_it_began(store: Store, tmp_path: Path) -> None:
    quick = ["--trials=1", "--trainer.max_epochs=1"]
    sweep(store, tmp_path / "out", LEARNS_OR_NOT, *quick)
    with pytest.raises(TrainingError, match=r"began otherwise: .*recipe.schedule.kind .*cosine.* then, .*linear.* now"):
        sweep(store, tmp_path / "out", LEARNS_OR_NOT, *quick, "--recipe.schedule.kind=linear")
    with pytest.raises(TrainingError, match=r"trainer.max_epochs 1 then, 2 now"):
        sweep(store, tmp_path / "out", LEARNS_OR_NOT, "--trials=1")
    with pytest.raises(TrainingError, match=r"space .* then"):
        sweep(store, tmp_path / "out", "recipe.learning_rate: {choice: [0.0, 0.01]}", *quick)


def test_what_is_no_study_is_not_written_to(store: Store, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a journal\nat all\n")
    for place in (text, tmp_path, "nosuch://host/name", f"sqlite:///{text}", "mysql+nosuch://host/name"):
        with pytest.raises(TrainingError, match="the study cannot be kept in"):
            sweep(store, tmp_path / "out", LEARNS_OR_NOT, f"--storage={place}")
    assert text.read_text() == "not a journal\nat all\n"
    with pytest.raises(TrainingError, match="not the folder of a sweep"):
        sweep(store, tmp_path, LEARNS_OR_NOT)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--trials=0"], "0 trials"),
        (["--trials=many"], "many"),
        (["--nonsense=3"], "nonsense"),
        (["--trainer.devices=2", "--trainer.strategy=ddp"], "2 processes"),
        (["--logger=wandb"], "tensorboard or csv"),
        (["--config=none.yaml"], "none.yaml"),
    ],
)
def test_wrong_options_are_one_sentence(store: Store, tmp_path: Path, options: list[str], told: str) -> None:
    with pytest.raises(SeqclassError, match=told):
        sweep(store, tmp_path / "out", LEARNS_OR_NOT, *options)
    assert not (tmp_path / "out").exists()


def test_without_optuna_one_sentence_says_how_to_get_it(store: Store, tmp_path: Path) -> None:
    with (
        patch("seqclass.training.sweep.command.find_spec", return_value=None),
        pytest.raises(MissingPackageError, match=r"seqclass\[sweep\]"),
    ):
        sweep(store, tmp_path / "out", LEARNS_OR_NOT)


def test_the_command_line_reads_its_base_from_a_configuration_of_fit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["fit", "--model=wrn", f"--data.store={store.path}", *OPTIONS, "--trainer.max_epochs=1", "--print_config"])
    Path("base.yaml").write_text(capsys.readouterr().out)
    Path("space.yaml").write_text(LEARNS_OR_NOT)
    main(["sweep", "--model=wrn", "--config=base.yaml", "--space=space.yaml", "--trials=1", "--storage=here.journal"])
    assert Path("here.journal").exists()
    assert (Path("runs") / "wrn-sweep" / "best.yaml").exists()
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--model=wrn", "--help"])
    assert ended.value.code == 0
    assert "--space" in capsys.readouterr().out
