"""Smaller models: what is written, what it costs, and that nothing worse is recommended."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, EvaluationError
from seqclass.export.prune import prune_magnitude, zero_share
from seqclass.export.trade_off import MARGIN_METRIC, Measured, main_metric, samples_of, verdict
from seqclass.metrics import average_precision
from seqclass.onnx_file import load_onnx
from seqclass.predict import score_samples
from seqclass.targets import Target


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.9])
def test_pruning_zeroes_the_smallest_share_of_each_layer(make_bundle: Callable[..., Bundle], amount: float) -> None:
    bundle = make_bundle()
    before = {name: value.clone() for name, value in bundle.model.named_parameters()}
    pruned = prune_magnitude(bundle, amount)
    for name, value in pruned.model.named_parameters():
        gone, was = value == 0, before[name]
        torch.testing.assert_close(value[~gone], was[~gone], rtol=0, atol=0)
        if was.dim() < 2 or name.startswith("embedding") or not name.endswith("weight"):
            assert torch.equal(value, was), name
            continue
        assert int(gone.sum()) == int(amount * value.numel()), name
        if gone.any():
            assert was[gone].abs().max() <= was[~gone].abs().min()
    for name, value in bundle.model.named_parameters():
        assert torch.equal(value, before[name])
    assert pruned.provenance["pruned"] == {"by": "magnitude", "amount": amount}
    assert zero_share(pruned) >= zero_share(bundle)


@pytest.mark.parametrize("amount", [-0.1, 1.0, float("nan")])
def test_an_amount_that_is_no_share_is_refused(make_bundle: Callable[..., Bundle], amount: float) -> None:
    with pytest.raises(AssemblyError, match="at least 0 and less than 1"):
        prune_magnitude(make_bundle(), amount)


def measured(name: str, value: float = 0.8, size: int = 100, latency: float = 1.0) -> Measured:
    return Measured(name, "accuracy", value, size, latency, 0.0)


@pytest.mark.parametrize(
    ("smaller", "sentence"),
    [
        (measured("x", 0.8, 25, 0.5), "Recommended: x is 2.00 times as fast and 4.00 times smaller"),
        (measured("x", 0.8 - MARGIN_METRIC * 0.9, 25, 1.0), "Recommended: x is 4.00 times smaller"),
        (measured("x", 0.7, 25, 0.5), "Not recommended: .*accuracy falls by 0.1000"),
        (measured("x", 0.8, 25, 1.2), "Not recommended: .*1.20 times as long"),
        (measured("x", 0.8, 120, 0.5), "Not recommended: .*1.20 times as large"),
        (measured("x", 0.8, 99, 0.99), "Not recommended: .*neither faster nor smaller"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_slower_larger_or_worse_is_recommended(smaller: Measured, sentence: str) -> None:
    assert re.match(sentence, verdict([measured("bundle"), smaller]))
    # What was there before counts as well: an ONNX file that is as small and as fast makes it pointless.
    if sentence.startswith("Recommended"):
        beside = replace(smaller, name="ONNX", value=0.8)
        assert verdict([measured("bundle"), beside, smaller]).startswith("Not recommended")


def test_the_metric_is_that_of_the_bundle_s_questions(
    make_store: Callable[..., Store], make_bundle: Callable[..., Bundle]
) -> None:
    store, bundle = make_store(), make_bundle()
    samples = samples_of(bundle, store)
    scores = score_samples(bundle, store, samples)
    labels = store.labels(samples)
    expected = np.mean([average_precision(labels[:, target], scores[:, target]) for target in range(3)])
    name, value = main_metric(bundle, store, samples, scores)
    assert (name, value) == ("mean average precision", pytest.approx(expected))
    exclusive = replace(bundle, targets=[Target(f"t{i}", "g") for i in range(3)], exclusive=["g"])
    name, value = main_metric(exclusive, store, samples, scores)
    assert name == "accuracy of g"
    assert value == pytest.approx(np.mean(labels.argmax(axis=1) == scores.argmax(axis=1)))


def test_an_empty_split_is_refused(make_store: Callable[..., Store], make_bundle: Callable[..., Bundle]) -> None:
    store = make_store()
    store.split[:] = 0
    with pytest.raises(EvaluationError, match="'test' has no samples"):
        samples_of(make_bundle(), store)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_pruned_bundle_is_written_and_measured(
    make_store: Callable[..., Store],
    make_bundle: Callable[..., Bundle],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_bundle().save(tmp_path / "bundle")
    words = ["--prune", "magnitude", "--amount", ".5", "--store", str(make_store().path)]
    main(["export", str(tmp_path / "bundle"), *words, "--out", str(tmp_path / "pruned")])
    said = told(capsys)
    assert "neither smaller nor faster" in said
    assert "Not recommended" in said
    assert zero_share(Bundle.load(tmp_path / "pruned")) > 0.4


@pytest.mark.parametrize(("words", "version"), [(["--half"], "half"), (["--quantize", "int8"], "int8")])
def test_a_smaller_onnx_file_predicts_nearly_the_same(
    make_store: Callable[..., Store],
    make_bundle: Callable[..., Bundle],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    version: str,
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    bundle, store, out = make_bundle(hidden=64, channels=32, widths=(32, 64)), make_store(), tmp_path / "small.onnx"
    bundle.save(tmp_path / "bundle")
    main(["export", str(tmp_path / "bundle"), "--to", "onnx", *words, "--store", str(store.path), "--out", str(out)])
    said = told(capsys)
    assert "ecommended" in said.splitlines()[-1]
    exported = load_onnx(out)
    assert exported.version == f"{Bundle.load(tmp_path / 'bundle').version}-{version}"
    samples = store.samples("test")
    expected = score_samples(bundle, store, samples)
    found = score_samples(exported, store, samples)
    assert 0 < np.abs(found - expected).max() < (0.01 if version == "half" else 0.1)
    weights = sum(each.numel() for each in bundle.model.parameters()) * 4
    assert out.stat().st_size < weights


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--to", "onnx", "--half"], "--store STORE"),
        (["--to", "torch-export", "--half", "--store", "x"], "--to onnx"),
        (["--prune", "magnitude", "--to", "onnx", "--store", "x"], "second step"),
        (["--amount", ".5", "--to", "onnx"], "--amount goes with --prune"),
        ([], "which format"),
    ],
)
def test_requests_that_do_not_fit_together_are_refused(
    words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "bundle", "--out", "x", *words])
    assert ended.value.code == 2
    assert found in capsys.readouterr().err
