"""What a smaller model costs and brings: accuracy, size and latency beside those of the model it comes from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from seqclass.bundle import Bundle
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Indices, Store
from seqclass.errors import EvaluationError
from seqclass.evaluation.evaluate import judged_samples
from seqclass.evaluation.multilabel import measure
from seqclass.evaluation.single_label import measure_classes
from seqclass.predict import check_fits, evaluating, judge, score_samples

MARGIN_METRIC = 0.005
"""By how much the metric may fall for a smaller model to be worth having."""

MARGIN_GAIN = 0.05
"""How much smaller or faster it has to be, as a share."""

MOST_SAMPLES = 2000
"""More than these, of a split, are thinned out evenly."""

_BATCH, _ROUNDS = 16, 15


@dataclass(frozen=True)
class Measured:
    """One model, measured.

    Args:
        name: What it is.
        metric: The metric's name.
        value: The metric on the samples.
        size: Bytes on disk.
        latency: Milliseconds a sequence, the median over batches.
        moved: The largest change of a probability against the first model that was measured.
    """

    name: str
    metric: str
    value: float
    size: int
    latency: float
    moved: float


def samples_of(bundle: Bundle, store: Store, split: str = "test") -> Indices:
    """The samples that models are measured on: each locus of a split once, thinned out evenly to `MOST_SAMPLES`.

    Raises:
        StoreError: The store does not fit the bundle.
        EvaluationError: The split is empty.
        UnknownNameError: There is no such split.
    """
    check_fits(bundle, store)
    samples = judged_samples(store, split)
    return samples[np.unique(np.linspace(0, len(samples) - 1, min(len(samples), MOST_SAMPLES)).astype(np.int64))]


def measure_models(models: Sequence[tuple[str, Bundle]], store: Store, samples: Indices) -> list[Measured]:
    """Measures models of the same targets on the same samples; the first is what others are held against.

    The metric is the accuracy of a bundle's first exclusive group, or the mean average precision of its yes-or-no
    targets. Latency is that of a batch of 16 of the samples on the CPU, the models taking turns so that what else the
    machine does slows all of them.

    Args:
        models: Names and bundles, each loaded from its folder or file.
        store: With their targets.
        samples: As from `samples_of`.

    Raises:
        StoreError: The store does not fit.
        EvaluationError: The labels allow no metric.
    """
    scores = [score_samples(bundle, store, samples) for _, bundle in models]
    latencies = _latencies([bundle for _, bundle in models], store, samples)
    return [
        Measured(
            name,
            *main_metric(bundle, store, samples, ours),
            _size(bundle.path),
            latency,
            float(np.abs(ours - scores[0]).max()),
        )
        for (name, bundle), ours, latency in zip(models, scores, latencies, strict=True)
    ]


def main_metric(bundle: Bundle, store: Store, samples: Indices, scores: NDArray[np.float32]) -> tuple[str, float]:
    """The name and value of the one figure that a model is judged by.

    Raises:
        EvaluationError: No label is known, or no target has both positives and negatives.
    """
    labels = store.known_labels(samples)
    if bundle.exclusive:
        group = bundle.exclusive[0]
        return f"accuracy of {group}", float(measure_classes(labels, scores, bundle.targets, group)["accuracy"])
    positives = np.asarray(bundle.train_positives, dtype=np.int64)
    mean = measure(labels, scores, bundle.targets, positives, min_positives=1).summary()["average_precision"]["mean"]
    if mean is None:
        raise EvaluationError(
            "no target has both positives and negatives among the samples",
            remedy="Choose another --split",
            file=store.path,
        )
    return "mean average precision", float(mean)


def _latencies(bundles: Sequence[Bundle], store: Store, samples: Indices) -> list[float]:
    """Milliseconds a sequence of each, on the CPU."""
    batch = next(iter(StoreLoader(store, samples[:_BATCH], _BATCH, batch_residues=1 << 30)))
    spent: list[list[float]] = [[] for _ in bundles]
    cpu = torch.device("cpu")
    for turn in range(_ROUNDS + 1):
        for times, bundle in zip(spent, bundles, strict=True):
            with evaluating(bundle.model, cpu), torch.inference_mode():
                begin = time.perf_counter()
                judge(bundle, batch.inputs, batch.mask)
                if turn:  # the first is for warming up
                    times.append(time.perf_counter() - begin)
    return [1000 * float(np.median(times)) / len(batch.inputs) for times in spent]


def _size(path: Path | None) -> int:
    if path is None:
        return 0
    return sum(each.stat().st_size for each in path.iterdir()) if path.is_dir() else path.stat().st_size


def table(measured: Sequence[Measured], samples: str) -> Table:
    """The figures as a table, a row a model.

    Args:
        measured: The model that others come from first.
        samples: What they were measured on, for the title.
    """
    shown = Table(title=samples, title_justify="left")
    for number, title in enumerate(("", measured[0].metric, "size", "per sequence", "largest change")):
        shown.add_column(title, justify="right" if number else "left")
    for each in measured:
        shown.add_row(
            each.name, f"{each.value:.4f}", f"{each.size / 1e6:.2f} MB", f"{each.latency:.3f} ms", f"{each.moved:.1e}"
        )
    return shown


def verdict(measured: Sequence[Measured]) -> str:
    """One sentence: whether the last is worth having, beside all before it.

    It is recommended only if its metric is at most `MARGIN_METRIC` below the best of them, it is no slower and no
    larger than any by more than `MARGIN_GAIN`, and by that much faster or smaller than each.
    """
    *others, last = measured
    best = max(each.value for each in others)
    fastest, smallest = min(each.latency for each in others), min(each.size for each in others)
    beside = "what it comes from" if len(others) == 1 else "the best of the others"
    margins = f"margins: {MARGIN_METRIC} of the metric, {MARGIN_GAIN:.0%} of time and size"
    against = []
    if best - last.value > MARGIN_METRIC:
        against.append(f"{last.metric} falls by {best - last.value:.4f}")
    if last.latency > fastest * (1 + MARGIN_GAIN):
        against.append(f"it takes {last.latency / fastest:.2f} times as long")
    if last.size > smallest * (1 + MARGIN_GAIN):
        against.append(f"it is {last.size / smallest:.2f} times as large")
    gains = []
    if last.latency < fastest * (1 - MARGIN_GAIN):
        gains.append(f"{fastest / last.latency:.2f} times as fast")
    if last.size < smallest * (1 - MARGIN_GAIN):
        gains.append(f"{smallest / last.size:.2f} times smaller")
    if against or not gains:
        why = " and ".join(against) or "it is neither faster nor smaller"
        return f"Not recommended: beside {beside}, {why} ({margins})."
    return (
        f"Recommended: {last.name} is {' and '.join(gains)} beside {beside}, and {last.metric} "
        f"{'falls' if last.value < best else 'rises'} by {abs(best - last.value):.4f} ({margins})."
    )
