"""Two processes train as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.errors import TrainingError
from seqclass.models import wrn
from seqclass.training import run_experiment

OPTIONS = [
    *("--model.channels=8", "--model.widths=[8]", "--model.strides=[2]", "--model.expansion=2", "--model.hidden=8"),
    *(
        "--model.head_dropout=0",
        "--recipe.optimiser.kind=sgd",
        "--recipe.learning_rate=0.05",
        "--data.random_strand=false",
    ),
    *("--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.max_epochs=2", "--baselines=false"),
]
# PyTorch refuses to shard on the CPU unless told by name, cannot gather there what it is to move there, and Lightning
# does not ask it to. With these three set right, all else of FSDP is real.
SHARDED_ON_CPU = """
import functools
import torch
import torch.distributed.fsdp as fsdp
import pytorch_lightning as pl
from pytorch_lightning.strategies import FSDPStrategy
from seqclass.cli import main

class OnCPU(FSDPStrategy):
    root_device = torch.device("cpu")

wrap, whole = fsdp.FullyShardedDataParallel.__init__, fsdp.FullStateDictConfig
trainer = pl.Trainer.__init__
fsdp.FullyShardedDataParallel.__init__ = lambda self, *a, **k: wrap(self, *a, **k | {"device_id": torch.device("cpu")})
fsdp.FullStateDictConfig = lambda **_: whole(offload_to_cpu=False, rank0_only=False)

@functools.wraps(trainer)
def on_cpu(self, **options):
    trainer(self, **options | {"strategy": OnCPU()})

pl.Trainer.__init__ = on_cpu
main()
"""

TWO = ["--data.batch_size=10", "--trainer.devices=2", "--trainer.strategy=ddp"]


def fit(launcher: list[str], store: Store, folder: Path, name: str, *options: str) -> Path:
    command = [*launcher, "fit", "--model", "wrn", f"--data.store={store.path}", f"--out={name}", *OPTIONS, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    # One process speaks and writes, whoever started them.
    assert ended.stderr.count("TensorBoard:") == 1
    return folder / name


def curve(run: Path, tag: str) -> list[float]:
    events = EventAccumulator(str(run / "logs")).Reload()
    return [event.value for event in events.Scalars(tag)]


@pytest.mark.slow
def test_one_process_two_and_torchrun_give_the_same_curve_and_weights(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    store = make_store(window=32, num_samples=200)  # 120 training samples: six steps of 20
    here = [sys.executable, "-m", "seqclass"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "seqclass"]
    one = fit(here, store, tmp_path, "one", "--data.batch_size=20")
    two = fit(here, store, tmp_path, "two", *TWO)
    launched = fit(torchrun, store, tmp_path, "launched", *TWO)
    weights = Bundle.load(one / "bundle").model.state_dict()
    scores = json.loads((one / "report" / "metrics.json").read_text())["per_target"]
    for run in (two, launched):
        assert curve(run, "valid/loss") == pytest.approx(curve(one, "valid/loss"), abs=1e-5)
        for name, value in Bundle.load(run / "bundle").model.state_dict().items():
            torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-5, msg=name)
        others = json.loads((run / "report" / "metrics.json").read_text())["per_target"]
        for row, other in zip(scores, others, strict=True):
            assert other["auroc"]["model"] == pytest.approx(row["auroc"]["model"], abs=1e-3)


@pytest.mark.slow
def test_two_processes_that_shard_the_weights_train_as_one_does_and_leave_a_whole_bundle(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    store = make_store(window=32, num_samples=200)
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED_ON_CPU)
    # Both look at weights or gradients as a whole, which a process does not have; so strong that they decide the curve.
    strong = ["--trainer.gradient_clip_val=0.1", "--recipe.optimiser.weight_decay=0.5"]
    one = fit([sys.executable, "-m", "seqclass"], store, tmp_path, "one", "--data.batch_size=20", *strong)
    two = fit([sys.executable, str(script)], store, tmp_path, "two", *TWO, *strong)
    assert curve(two, "valid/loss") == pytest.approx(curve(one, "valid/loss"), abs=1e-5)
    weights = Bundle.load(one / "bundle").model.state_dict()
    for name, value in Bundle.load(two / "bundle").model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-5, msg=name)


def test_sharding_on_the_cpu_is_refused_in_one_sentence(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(window=32)
    arguments = ["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}", *OPTIONS, "--trainer.strategy=fsdp"]
    with pytest.raises(TrainingError, match=r"fsdp.* requires a GPU"):
        run_experiment(wrn, name="test", arguments=arguments)
    assert not (tmp_path / "run").exists()
