"""A SageMaker job's folders and variables become a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.errors import TrainingError
from seqclass.training.sagemaker import fit_sagemaker

HYPERPARAMETERS = {
    "model": "wrn",
    "model.channels": 8,
    "model.widths": [8],
    "model.strides": [2],
    "model.expansion": 2,
    "model.hidden": 8,
    "trainer.max_epochs": 1,
    "trainer.precision": "32-true",
    "baselines": False,
}


@pytest.fixture
def job(make_store: Callable[..., Store], tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The folder of a job on one machine, as SageMaker lays it out, and its variables."""
    root = tmp_path / "ml"
    channel = root / "input" / "data" / "training"
    channel.mkdir(parents=True)
    shutil.move(make_store(window=32).path, channel / "store.h5")
    environment = {
        "SM_CHANNEL_TRAINING": str(channel),
        "SM_CHANNELS": '["training"]',
        "SM_HPS": json.dumps(HYPERPARAMETERS),
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
        "SM_NUM_GPUS": "0",
        "SM_MODEL_DIR": str(root / "model"),
        "SM_OUTPUT_DATA_DIR": str(root / "output" / "data"),
    }
    return root, environment


def test_a_job_leaves_a_bundle_a_report_and_checkpoints(
    job: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, environment = job
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    main(["fit", f"--sagemaker={root}"])
    assert Bundle.load(root / "model").provenance["recipe"]["learning_rate"] == 1e-3
    assert (root / "output" / "data" / "report" / "metrics.json").exists()
    assert (root / "checkpoints" / "run" / "checkpoints" / "last.ckpt").exists()
    assert not (root / "output" / "failure").exists()
    # A job that was interrupted is started again with its checkpoints: it goes on.
    environment["SM_HPS"] = json.dumps(HYPERPARAMETERS | {"trainer.max_epochs": 2})
    fit_sagemaker(root, environment)
    assert "going on after step" in capsys.readouterr().err
    assert Bundle.load(root / "model").provenance["epochs"] == 2


def test_options_of_the_command_line_win(job: tuple[Path, dict[str, str]]) -> None:
    root, environment = job
    fit_sagemaker(root, environment, ["--recipe.learning_rate=0.002", "--evaluate=false"])
    assert Bundle.load(root / "model").provenance["recipe"]["learning_rate"] == 0.002


def test_machines_are_told_of_each_other(job: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    root, environment = job
    told: list[str] = []
    monkeypatch.setattr(
        "seqclass.training.sagemaker.run_experiment", lambda *_, arguments, **__: told.extend(arguments) or {}
    )
    monkeypatch.setattr("seqclass.training.sagemaker.is_first_process", lambda: False)
    environment |= {"SM_HOSTS": '["algo-2", "algo-1"]', "SM_CURRENT_HOST": "algo-2", "SM_NUM_GPUS": "8"}
    fit_sagemaker(root, environment)
    assert {"--trainer.devices=8", "--trainer.num_nodes=2", "--trainer.strategy=ddp"} <= set(told)
    assert (environment["MASTER_ADDR"], environment["NODE_RANK"]) == ("algo-1", "1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SM_HPS": "{}"}, "no hyper-parameter says which model"),
        ({"SM_HPS": "[1]"}, r"SM_HPS is \[1\]"),
        ({"SM_HPS": "{"}, "SM_HPS is not JSON"),
        ({"SM_CHANNEL_TRAINING": "/nowhere"}, r"there are 0 stores \(\*.h5\) in /nowhere"),
        ({"SM_CURRENT_HOST": "algo-9"}, "SM_CURRENT_HOST is 'algo-9', and SM_HOSTS names algo-1"),
        ({"SM_HPS": json.dumps(HYPERPARAMETERS | {"model.channnels": 8})}, "channnels"),
    ],
)
def test_what_is_wrong_with_a_job_is_written_where_sagemaker_looks(
    job: tuple[Path, dict[str, str]], changes: dict[str, str], message: str
) -> None:
    root, environment = job
    with pytest.raises(TrainingError, match=message) as raised:
        fit_sagemaker(root, environment | changes)
    assert (root / "output" / "failure").read_text() == f"{raised.value}\n"
