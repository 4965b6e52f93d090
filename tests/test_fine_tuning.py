"""Recipes for pretrained encoders: what is frozen stays to the bit, what learns does so at its own rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from class_stores import make_classes, random_proteins
from torch import nn

from seqclass.data.store import Store
from seqclass.errors import TrainingError
from seqclass.models import esm2, protenn
from seqclass.training import run_experiment
from seqclass.training.optimisers import Optimiser, build_optimiser

pytest.importorskip("transformers")

SIZES = {"layers": 2, "width": 16, "heads": 2, "inner": 24, "positions": 40}
SMALL = [f"--model.{name}={value}" for name, value in SIZES.items()]
SMALL += ["--data.batch_size=16", "--trainer.max_epochs=1", "--trainer.precision=32-true", "--evaluate=false"]
SMALL += ["--recipe.schedule.warmup_steps=0"]


def proteins(path: Path, longest: int = 30) -> Store:
    random = np.random.default_rng(0)
    sequences = random_proteins(random, [*random.integers(10, 30, 63), longest])
    return make_classes(path, sequences, [0, 1] * 32, ["train"] * 48 + ["valid"] * 16)


def fit(store: Store, out: Path, *options: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The model's weights before and after an epoch of training."""
    arguments = ["fit", f"--data.store={store.path}", f"--out={out}", *SMALL, *options]
    run_experiment(esm2, name="test", arguments=[*arguments, "--recipe.learning_rate=0.01"])
    still = [*arguments[:2], f"--out={out}-still", *SMALL, *options, "--recipe.learning_rate=0"]
    run_experiment(esm2, name="test", arguments=still)
    before, after = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (out.with_name(f"{out.name}-still"), out)
    )
    return before, after


@pytest.mark.parametrize(
    ("options", "learns"),
    [
        (["--model.frozen_layers=2"], ("head.",)),
        (["--model.frozen_layers=1"], ("head.", ".layer.1.", "emb_layer_norm_after")),
        (["--model.lora_rank=2"], ("head.", "lora_")),
        (
            ["--model.lora_rank=2", "--model.frozen_layers=1"],
            ("head.", ".layer.1.attention.self.query.lora_", ".layer.1.attention.self.value.lora_"),
        ),
    ],
    ids=["frozen", "first layers frozen", "lora", "lora above frozen layers"],
)
def test_training_moves_what_the_recipe_names_and_nothing_else(
    tmp_path: Path, options: list[str], learns: tuple[str, ...]
) -> None:
    before, after = fit(proteins(tmp_path / "store.h5"), tmp_path / "run", *options)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    named = {name for name in after if any(part in name for part in learns)}
    # What attention adds to all scores of a query alike changes nothing, so its gradient may be nil.
    assert moved <= named
    assert {name for name in named if not name.endswith("key.bias")} <= moved


def test_the_backbone_learns_at_a_share_of_the_heads_rate() -> None:
    torch.manual_seed(0)
    model = esm2(2, **SIZES)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimiser = build_optimiser(Optimiser("sgd", 0.0, 0.0, backbone_rate=0.1), model, 0.5)
    for value in model.parameters():
        value.grad = torch.ones_like(value)
    optimiser.step()
    for name, value in model.named_parameters():
        expected = before[name] - (0.5 if name.startswith("head.") else 0.05)
        torch.testing.assert_close(value, expected)
    assert {group["depth"] for group in optimiser.param_groups} == {0, 1}


def test_a_rate_of_its_own_goes_with_rates_by_depth() -> None:
    model = esm2(2, **SIZES)
    options = Optimiser("sgd", backbone_rate=0.1, layer_decay=0.5)
    plain = build_optimiser(Optimiser("sgd", layer_decay=0.5), model, 1.0)
    rates = [group["lr"] for group in build_optimiser(options, model, 1.0).param_groups]
    expected = [group["lr"] * (1 if group["depth"] == 0 else 0.1) for group in plain.param_groups]
    assert rates == pytest.approx(expected)
    assert len(set(rates)) > 2


def test_a_rate_for_a_backbone_that_is_none_is_refused() -> None:
    model = protenn(2, members=1, channels=8, bottleneck=8)
    with pytest.raises(TrainingError, match="nothing comes before"):
        build_optimiser(Optimiser(backbone_rate=0.1), model, 1.0)
    with pytest.raises(TrainingError, match=r"backbone_rate 0\.0"):
        Optimiser(backbone_rate=0.0)
    frozen = esm2(2, **SIZES, frozen_layers=2)
    (group, *_) = build_optimiser(Optimiser(backbone_rate=0.1), frozen, 1.0).param_groups
    assert isinstance(frozen.head, nn.Module)
    assert any(group["params"][0] is value for value in frozen.head.parameters())


def test_a_protein_longer_than_the_encoder_is_refused_before_training(tmp_path: Path) -> None:
    store = proteins(tmp_path / "store.h5", longest=37)
    arguments = ["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}", *SMALL]
    with pytest.raises(TrainingError, match="1 of 64 samples are longer than the 36 residues") as caught:
        run_experiment(esm2, name="test", arguments=arguments)
    assert "the longest has 37" in str(caught.value)
    assert "--max-length 36" in str(caught.value)
    folds = ["cross-validate", *(option for option in arguments[1:] if not option.startswith("--evaluate"))]
    with pytest.raises(TrainingError, match="longer than the 36 residues"):
        run_experiment(esm2, name="test", arguments=[*folds, "--folds=2"])
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]
