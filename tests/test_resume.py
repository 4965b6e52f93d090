import json
import os
import pickle
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import ModelCheckpoint
from truth import Truth, proteins, whole, write_truth

from seqclass.data.augment import Augmentation
from seqclass.data.loader import Batch, StoreLoader
from seqclass.errors import TrainingError
from seqclass.training.data import StoreDataModule

STREAMED = 2_000  # bytes: a third of the residues


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    contigs = proteins(200)
    return write_truth(tmp_path_factory.mktemp("resume") / "proteins.h5", contigs, whole(contigs))


def make_loader(truth: Truth, **options: Any) -> StoreLoader:
    settings = {"batch_size": 4, "shuffle": True, "seed": 3, "memory": STREAMED}
    samples = np.arange(options.pop("num_samples", len(truth.store)))
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 16):
        return StoreLoader(truth.store, samples, **settings | options)


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left.samples, right.samples)
        assert torch.equal(left.inputs, right.inputs)
        assert (left.mask is None) == (right.mask is None)
        assert left.mask is None or torch.equal(left.mask, right.mask)
        assert torch.equal(left.packed, right.packed)
        assert left.weight == right.weight


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_loader_goes_on_where_another_one_stopped(data: st.DataObject, truth: Truth) -> None:
    ranks = data.draw(st.integers(1, 4))
    weights = np.arange(1.0, 201)
    options = {
        "memory": data.draw(st.sampled_from([STREAMED, 1 << 30])),
        "shuffle": data.draw(st.booleans()),
        "rank": data.draw(st.integers(0, ranks - 1)),
        "world_size": ranks,
        "augmentation": Augmentation(jitter=0, crop=data.draw(st.none() | st.integers(1, 40))),
        "seed": data.draw(st.integers(0, 5)),
    }
    if options["shuffle"] and data.draw(st.booleans()):
        options["weights"] = weights
    first = make_loader(truth, **options)
    epochs = [list(first) for _ in range(3)]
    stopped = make_loader(truth, **options)
    epoch, done = data.draw(st.integers(0, 1)), data.draw(st.integers(1, len(first)))
    for _ in range(epoch):
        list(stopped)
    rest = iter(stopped)
    for _ in range(done):
        next(rest)
    fresh = make_loader(truth, **options)
    fresh.load_state_dict(pickle.loads(pickle.dumps(stopped.state_dict())))
    if data.draw(st.booleans(), label="pickled"):
        fresh = pickle.loads(pickle.dumps(fresh))
    if done < len(first):
        assert_equal(list(fresh), epochs[epoch][done:])
    assert_equal(list(fresh), epochs[epoch + 1])


def test_what_workers_hold_ready_is_not_taken_for_trained_on(truth: Truth) -> None:
    epoch = list(make_loader(truth))
    stopped = make_loader(truth, num_workers=2)
    for done, batch in enumerate(stopped, start=1):
        if done == 5:
            assert_equal([batch], [epoch[4]])
            break
    state = stopped.state_dict()
    assert (state["epoch"], state["batches"]) == (0, 5)
    fresh = make_loader(truth, num_workers=1)
    fresh.load_state_dict(state)
    assert_equal(list(fresh), epoch[5:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"world_size": 2},
            r"begun with world size 1, .* with world size 2\. Go on with world size 1, or from the end",
        ),
        ({"seed": 4}, r"begun with seed 3, .* with seed 4\. Go on with seed 3"),
        ({"num_samples": 199}, r"begun with samples 200, .* with samples 199"),
        ({"batch_size": 3}, r"begun with batches \d+, "),
        ({"memory": 1500}, r"begun with memory 2,000, .* with memory 1,500\. Go on with memory 2,000"),
        ({"weights": np.arange(200.0)}, "begun with other samples or weights"),
    ],
)
def test_another_order_is_refused_within_an_epoch_and_welcome_at_its_end(
    truth: Truth, change: dict[str, Any], message: str
) -> None:
    stopped = make_loader(truth)
    batches = iter(stopped)
    next(batches)
    changed = make_loader(truth, **change)
    with pytest.raises(TrainingError, match=message):
        changed.load_state_dict(stopped.state_dict())
    for _ in batches:
        pass
    changed.load_state_dict(stopped.state_dict())
    expected = make_loader(truth, **change)
    expected.set_epoch(1)
    assert_equal(list(changed), list(expected))


def test_another_budget_is_no_other_order_where_all_is_held_anyway(truth: Truth) -> None:
    stopped = make_loader(truth, memory=1 << 20)
    next(iter(stopped))
    fresh = make_loader(truth, memory=1 << 30)
    fresh.load_state_dict(stopped.state_dict())
    assert_equal(list(fresh), list(make_loader(truth, memory=1 << 30))[1:])


class Recorder(pl.LightningModule):
    """Notes the samples that it is trained on, and dies at one step where told."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.dies_at = dies_at
        self.seen: list[list[int]] = []

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        if self.global_step == self.dies_at:
            raise KeyboardInterrupt
        self.seen.append(batch.samples.tolist())
        return self.weight.sum()

    def validation_step(self, batch: Batch, number: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(
    store: Path,
    folder: Path,
    every: int = 3,
    dies_at: int | None = None,
    resume: Path | None = None,
    ranks: int = 1,
    **options: Any,
) -> Recorder:
    """Trains for two epochs, with a checkpoint after so many steps each."""
    recorder = Recorder(dies_at)
    settings = {"batch_size": 8, "memory": STREAMED, "seed": 3}
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        callbacks=[ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1)],
    )
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 16):
        data = StoreDataModule(str(store), **settings | options)
        try:
            trainer.fit(recorder, data, ckpt_path=resume and str(resume), weights_only=True)
        except SystemExit:
            assert dies_at is not None
    return recorder


@pytest.mark.parametrize(
    ("workers", "start_method", "dies_at"), [(0, None, 11), (0, None, 47), (2, "fork", 47), (2, "spawn", 11)]
)
def test_lightning_goes_on_with_what_was_not_trained_on(
    truth: Truth, tmp_path: Path, workers: int, start_method: str | None, dies_at: int
) -> None:
    uninterrupted = fit(truth.store.path, tmp_path / "whole").seen
    per_epoch = len(uninterrupted) // 2
    assert 11 < per_epoch < 45
    for epoch in (uninterrupted[:per_epoch], uninterrupted[per_epoch:]):
        assert sorted(chain.from_iterable(epoch)) == list(range(200))
    options = {"num_workers": workers, "start_method": start_method}
    died = fit(truth.store.path, tmp_path / "died", dies_at=dies_at, **options)
    assert died.seen == uninterrupted[:dies_at]
    last = dies_at - dies_at % 3
    resumed = fit(truth.store.path, tmp_path / "resumed", resume=tmp_path / "died" / f"step={last}.ckpt", **options)
    assert resumed.seen == uninterrupted[last:]


def test_lightning_goes_on_from_the_last_step_of_an_epoch(truth: Truth, tmp_path: Path) -> None:
    uninterrupted = fit(truth.store.path, tmp_path / "whole").seen
    per_epoch = len(uninterrupted) // 2
    fit(truth.store.path, tmp_path / "died", every=per_epoch, dies_at=per_epoch + 2)
    resumed = fit(truth.store.path, tmp_path / "resumed", resume=tmp_path / "died" / f"step={per_epoch}.ckpt")
    assert resumed.seen == uninterrupted[per_epoch:]


def test_lightning_refuses_to_go_on_in_another_order(truth: Truth, tmp_path: Path) -> None:
    fit(truth.store.path, tmp_path / "died", dies_at=5)
    with pytest.raises(TrainingError, match="the epoch was begun with seed 3"):
        fit(truth.store.path, tmp_path / "resumed", resume=tmp_path / "died" / "step=3.ckpt", seed=4)


RANK = """
import json, sys
from pathlib import Path
from test_resume import fit

store, folder, resume = sys.argv[1:]
recorder = fit(Path(store), Path(folder), ranks=2, resume=Path(resume) if resume else None)
Path(folder, f"rank{recorder.global_rank}.json").write_text(json.dumps(recorder.seen))
"""


@pytest.mark.slow
def test_two_processes_go_on_together_and_one_alone_is_refused(truth: Truth, tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)

    def train(name: str, resume: Path | str = "") -> list[list[list[int]]]:
        command = [sys.executable, str(tmp_path / "rank.py"), *map(str, (truth.store.path, tmp_path / name, resume))]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert ended.returncode == 0, ended.stderr
        return [json.loads((tmp_path / name / f"rank{rank}.json").read_text()) for rank in range(2)]

    uninterrupted = train("whole")
    per_epoch = len(uninterrupted[0]) // 2
    for begin in (0, per_epoch):
        epoch = [rank[begin : begin + per_epoch] for rank in uninterrupted]
        assert sorted(chain.from_iterable(chain.from_iterable(epoch))) == list(range(200))
    checkpoint = tmp_path / "whole" / "step=6.ckpt"
    assert per_epoch > 6
    assert train("resumed", checkpoint) == [rank[6:] for rank in uninterrupted]
    with pytest.raises(TrainingError, match="the epoch was begun with world size 2"):
        fit(truth.store.path, tmp_path / "alone", resume=checkpoint)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_draws_nothing_from_the_global_generator(truth: Truth, num_workers: int) -> None:
    loader = make_loader(truth, num_workers=num_workers)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(loader)
    assert torch.equal(torch.rand(3), expected)
