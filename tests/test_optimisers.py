"""Optimisers and schedules against plain formulas; depth, clipping and averages against what they must not touch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seqclass.blocks.masking import MaskedBatchNorm
from seqclass.bundle import Bundle
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Store
from seqclass.errors import TrainingError
from seqclass.models import create_model, wrn
from seqclass.training import run_experiment
from seqclass.training.averaging import Averaging, WeightAverage, estimate_statistics
from seqclass.training.clipping import clip_adaptively
from seqclass.training.lamb import Lamb
from seqclass.training.optimisers import Optimiser, build_optimiser
from seqclass.training.schedules import Schedule
from seqclass.training.stages import stages

TINY = ["--model.channels=8", "--model.widths=[8]", "--model.strides=[2]", "--model.expansion=2", "--model.hidden=8"]
QUICK = ["--data.batch_size=32", "--trainer.max_epochs=2", "--trainer.precision=32-true", "--baselines=false"]


def tiny() -> Any:
    options = {"channels": 8, "widths": (8, 8), "strides": (2, 2), "expansion": 2, "hidden": 8, "length": 32}
    return create_model("wrn", num_targets=2, **options)


def fit(store: Store, out: Path, *options: str) -> Bundle:
    run_experiment(
        wrn, name="test", arguments=["fit", f"--data.store={store.path}", f"--out={out}", *TINY, *QUICK, *options]
    )
    return Bundle.load(out / "bundle")


def test_lamb_follows_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    other = weight.detach().numpy().copy()
    optimiser = Lamb([weight], lr=0.1, weight_decay=0.02)
    mean, square = np.zeros_like(other), np.zeros_like(other)
    for step in range(1, 6):
        gradient = torch.randn(3, 4, dtype=torch.float64)
        weight.grad = gradient
        optimiser.step()
        g = gradient.numpy()
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        update = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-6) + 0.02 * other
        other = other - 0.1 * np.linalg.norm(other) / np.linalg.norm(update) * update
    np.testing.assert_allclose(weight.detach().numpy(), other, rtol=1e-10)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "rmsprop", "lamb"])
def test_every_optimiser_lowers_a_loss(kind: str) -> None:
    model = nn.Linear(5, 1)
    x = torch.randn(64, 5)
    y = x @ torch.arange(5.0).unsqueeze(1)
    optimiser = build_optimiser(Optimiser(kind), model, 0.02)
    losses = []
    for _ in range(100):
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@given(
    kind=st.sampled_from(["constant", "cosine", "linear", "exponential", "triangular"]),
    total=st.integers(20, 500),
    warmup=st.integers(0, 60),
)
def test_a_schedule_stays_within_its_bounds_and_reaches_the_top(kind: Any, total: int, warmup: int) -> None:
    schedule = Schedule(kind, warmup)
    rates = [schedule.factor(step, total) for step in range(total + 1)]
    first = min(warmup, total // 10)
    assert rates[first] == pytest.approx(1)
    assert max(rates) <= 1 + 1e-12
    assert rates[:first] == pytest.approx([(step + 1) / (first + 1) for step in range(first)])
    lowest = {"constant": 1, "exponential": 0.01, "triangular": 0.1}.get(kind, 0)
    assert min(rates[first:]) >= lowest - 1e-12
    if kind in ("cosine", "linear", "exponential"):
        assert rates[total] == pytest.approx(lowest, abs=1e-12)
        assert all(one >= two - 1e-12 for one, two in zip(rates[first:], rates[first + 1 :], strict=False))


def test_an_exponential_falls_by_the_same_factor_each_step() -> None:
    rates = [Schedule("exponential", 0, 0.05).factor(step, 40) for step in range(41)]
    np.testing.assert_allclose(np.divide(rates[1:], rates[:-1]), 0.05 ** (1 / 40))


def test_triangles_have_their_length() -> None:
    rates = [Schedule("triangular", 0, 0.2, cycle_steps=10).factor(step, 100) for step in range(100)]
    np.testing.assert_allclose(rates[:10], rates[50:60])
    assert np.argmin(rates[:10]) == 5
    assert min(rates) == pytest.approx(0.2)


def test_stages_run_from_the_letters_to_the_head() -> None:
    model = create_model(
        "wrn_transformer_xl",
        num_targets=2,
        channels=8,
        widths=(8, 8),
        strides=(2, 2),
        expansion=2,
        layers=2,
        heads=1,
        head_size=4,
        inner=4,
        hidden=4,
        length=32,
    )
    names = [[name for name, _ in stage] for stage in stages(model)]
    assert sum(map(len, names)) == len(list(model.parameters()))
    leads = [
        {".".join(name.split(".")[: 3 if "blocks" in name or "layers" in name else 1]) for name in s} for s in names
    ]
    order = [next(iter(sorted(lead, key=len, reverse=True))) for lead in leads]
    assert order == ["embedding", "stem.blocks.0", "stem.blocks.1", "encoder.layers.0", "encoder.layers.1", "head"]


def test_rates_fall_with_depth() -> None:
    model = tiny()
    groups = build_optimiser(Optimiser(layer_decay=0.5), model, 0.8).param_groups
    rate = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    for depth, stage in enumerate(reversed(stages(model))):
        assert {rate[id(weight)] for _, weight in stage} == {0.8 * 0.5**depth}


def test_frozen_weights_are_left_to_their_fate() -> None:
    model = tiny()
    model.embedding.requires_grad_(False)
    ours = {id(weight) for group in build_optimiser(Optimiser(), model, 0.1).param_groups for weight in group["params"]}
    assert ours == {id(weight) for weight in model.parameters() if weight.requires_grad}
    model.requires_grad_(False)
    with pytest.raises(TrainingError, match="all weights of the model are frozen"):
        build_optimiser(Optimiser(), model, 0.1)


def test_stages_thaw_one_after_the_other(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(window=32)
    # 180 training samples are six steps: the stem's one block thaws after the fourth, the letters never.
    steps = ["--recipe.optimiser.unfreeze_steps=4", "--trainer.max_epochs=1", "--evaluate=false", "--seed=3"]
    after = fit(store, tmp_path / "some", *steps).model.state_dict()
    still = fit(store, tmp_path / "none", *steps[1:], "--recipe.optimiser.unfreeze_steps=1000").model.state_dict()
    fresh = fit(store, tmp_path / "rate", *steps[1:], "--recipe.learning_rate=0").model.state_dict()
    moved = {name for name in fresh if "running" not in name and not torch.equal(after[name], fresh[name])}
    assert {name.split(".")[0] for name in moved} == {"stem", "head"}
    head = {name for name in fresh if "running" not in name and not torch.equal(still[name], fresh[name])}
    assert {name.split(".")[0] for name in head} == {"head"}


def test_adaptive_clipping_bounds_every_unit_and_keeps_its_direction() -> None:
    weight, bias = nn.Parameter(torch.randn(6, 3, 2)), nn.Parameter(torch.zeros(6))
    weight.grad, bias.grad = 10 * torch.randn(6, 3, 2), torch.full((6,), 1e-6)
    weight.grad[0] *= 1e-6
    before = weight.grad.clone()
    clip_adaptively([weight, bias, nn.Parameter(torch.ones(2))], 0.01)
    bound = 0.01 * weight.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(weight.grad[1:].flatten(1).norm(dim=1), bound[1:])
    assert torch.equal(weight.grad[0], before[0])
    cosine = nn.functional.cosine_similarity(weight.grad.flatten(1), before.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(6))
    assert torch.equal(bias.grad, torch.full((6,), 1e-6))


def test_a_moving_average_is_the_sum_that_it_should_be() -> None:
    model = nn.Linear(2, 2)
    average = WeightAverage(model, Averaging(decay=0.5))
    expected = average.model.weight.clone()
    for step in range(1, 9):
        with torch.no_grad():
            model.weight.normal_()
        decay = min(0.5, step / (9 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        average.update(model, step, 8)
    torch.testing.assert_close(average.model.weight, expected)


def test_an_even_average_is_the_mean_over_the_end() -> None:
    model = nn.Linear(2, 2)
    average = WeightAverage(model, Averaging(last_share=0.25))
    seen = []
    for step in range(1, 21):
        with torch.no_grad():
            model.weight.normal_()
        seen.append(model.weight.detach().clone())
        average.update(model, step, 20)
        if step <= 15:
            assert torch.equal(average.model.weight, model.weight)
    torch.testing.assert_close(average.model.weight, torch.stack(seen[15:]).mean(dim=0))


def test_statistics_are_those_of_the_batches(make_store: Callable[..., Store]) -> None:
    store = make_store(window=32)
    model = tiny().eval()
    loader = StoreLoader(store, store.samples("train"), 30)
    estimate_statistics(model, loader, torch.device("cpu"))
    assert not any(part.training for part in model.modules())
    norm = next(part for part in model.modules() if isinstance(part, MaskedBatchNorm))
    assert norm.momentum == 0.1
    seen: list[torch.Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, 1)))
    with torch.no_grad():
        for batch in loader:
            model(batch.inputs)
    hook.remove()
    means = torch.stack([values.mean(dim=0) for values in seen])
    torch.testing.assert_close(norm.running_mean, means.mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", ["--recipe.averaging.decay=0.9", "--recipe.averaging.last_share=0.5"])
def test_the_average_is_what_is_kept(make_store: Callable[..., Store], tmp_path: Path, option: str) -> None:
    store = make_store(window=32)
    options = ["--evaluate=false", "--trainer.max_epochs=3"]
    averaged = fit(store, tmp_path / "averaged", *options, option)
    kept = torch.load(tmp_path / "averaged" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in averaged.model.state_dict().items():
        assert torch.equal(value, kept[f"average.model.{name}"])
    assert any(
        not torch.equal(kept[f"model.{name}"], kept[f"average.model.{name}"]) for name in averaged.model.state_dict()
    )


@pytest.mark.parametrize(
    "option",
    [
        "--recipe.optimiser.kind=lamb",
        "--recipe.optimiser.kind=sgd",
        "--recipe.schedule.kind=triangular",
        "--recipe.loss.kind=focal",
        "--recipe.loss.balance=effective-number",
        "--recipe.adaptive_clip=0.01",
        "--trainer.accumulate_grad_batches=2",
    ],
)
def test_a_recipe_trains(make_store: Callable[..., Store], tmp_path: Path, option: str) -> None:
    bundle = fit(make_store(window=32), tmp_path / "run", option, "--evaluate=false")
    assert math.isfinite(bundle.provenance["valid_average_precision"])
    name, value = option.removeprefix("--").split("=")
    if name.startswith("recipe"):
        kept: Any = bundle.provenance
        for part in name.split("."):
            kept = kept[part]
        assert str(kept) == value


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--recipe.averaging.decay=1", "weights averaged with decay 1"),
        ("--recipe.adaptive_clip=0", "gradients clipped at 0"),
        ("--recipe.optimiser.momentum=2", "momentum 2"),
        ("--recipe.schedule.lowest=3", "falls to 3"),
        ("--recipe.optimiser.kind=apex-lamb", "Use --recipe.optimiser.kind lamb, which needs no Apex"),
        ("--recipe.apex_amp=O1", "Use --trainer.precision bf16-mixed or 16-mixed, which needs no Apex"),
        ("--recipe.apex_norms=true", "Use --recipe.apex_norms false, which needs no Apex"),
    ],
)
def test_impossible_recipes_are_refused(
    make_store: Callable[..., Store], tmp_path: Path, option: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        fit(make_store(window=32), tmp_path / "run", option)


@pytest.fixture
def apex(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A package with Apex's interface, which counts how often it is asked."""
    calls = {"scale_loss": 0, "initialize": 0, "FusedLAMB": 0, "FusedLayerNorm": 0}
    package, optimizers, normalization, amp = (
        ModuleType(name) for name in ("apex", "optimizers", "normalization", "amp")
    )

    class FusedLAMB(Lamb):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            calls["FusedLAMB"] += 1
            super().__init__(*arguments, **options)

    class FusedLayerNorm(nn.LayerNorm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls["FusedLayerNorm"] += 1
            return super().forward(x)

    def initialize(model: nn.Module, optimisers: Any, opt_level: str) -> tuple[nn.Module, Any]:
        calls["initialize"] += opt_level == "O1"
        return model, optimisers

    class ScaleLoss:
        def __init__(self, loss: torch.Tensor, optimisers: Any) -> None:
            self.loss, self.optimisers = loss, optimisers if isinstance(optimisers, list) else [optimisers]

        def __enter__(self) -> torch.Tensor:
            calls["scale_loss"] += 1
            return self.loss * 64

        def __exit__(self, *_: object) -> None:
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    for weight in group["params"]:
                        if weight.grad is not None:
                            weight.grad /= 64

    def master_params(optimiser: torch.optim.Optimizer) -> Any:
        return (weight for group in optimiser.param_groups for weight in group["params"])

    vars(optimizers)["FusedLAMB"], vars(normalization)["FusedLayerNorm"] = FusedLAMB, FusedLayerNorm
    vars(amp).update(
        initialize=initialize,
        scale_loss=ScaleLoss,
        master_params=master_params,
        state_dict=dict,
        load_state_dict=lambda _: None,
    )
    vars(package)["__path__"] = []
    for name, module in (("", package), (".optimizers", optimizers), (".normalization", normalization), (".amp", amp)):
        monkeypatch.setitem(sys.modules, f"apex{name}", module)
    return calls


def test_apex_is_used_by_name(make_store: Callable[..., Store], tmp_path: Path, apex: dict[str, int]) -> None:
    """With a stand-in of the same interface: the scale of the loss comes out of the gradients again."""
    store = make_store(window=32)
    options = ["--evaluate=false", "--trainer.gradient_clip_val=null"]
    fused = ["--recipe.optimiser.kind=apex-lamb", "--recipe.apex_norms=true", "--recipe.apex_amp=O1"]
    ours = fit(store, tmp_path / "ours", *options, "--recipe.optimiser.kind=lamb")
    theirs = fit(store, tmp_path / "theirs", *options, *fused)
    assert apex["FusedLAMB"] == apex["initialize"] == 1
    assert apex["scale_loss"] == theirs.provenance["steps"] > 0
    assert apex["FusedLayerNorm"] > 0
    for name, value in ours.model.state_dict().items():
        torch.testing.assert_close(theirs.model.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert not any(type(part).__name__ == "FusedLayerNorm" for part in theirs.model.modules())
