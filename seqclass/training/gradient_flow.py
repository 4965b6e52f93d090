"""How large weights and gradients are, layer by layer: two figures, and histograms.

The figures show mean and largest magnitudes, as R. Zhang's `plot_grad_flow` does
(https://discuss.pytorch.org/t/check-gradient-flow-in-network/15063). Where gradients vanish on their way to the first
layers, or explode, it is seen there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import count
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.training.allowance import Allowance
from seqclass.training.loggers import board, is_logged

# More layers than this share a bar with their neighbours, or their names could not be read.
_MOST_BARS = 80

# Histograms are of so many numbers of each layer, taken at even distances.
_SAMPLED, _BINS = 4096, 64


class Magnitudes(NamedTuple):
    """Absolute values of tensors, by layer.

    Attributes:
        names: `layers` of them.
        mean: `(layers,)`.
        largest: `(layers,)`.
        sizes: `(layers,)`, how many numbers each has.
    """

    names: list[str]
    mean: NDArray[np.float64]
    largest: NDArray[np.float64]
    sizes: NDArray[np.float64]


def layers(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trained weights by the name of their layer, from the input to the output; biases are left out."""
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not name.endswith("bias")
    }


@torch.no_grad()
def magnitudes(tensors: Mapping[str, Tensor]) -> Magnitudes:
    """Mean and largest magnitude of each tensor, in a few kernels for all of them."""
    values = [tensor.detach() for tensor in tensors.values()]
    sizes = np.array([tensor.numel() for tensor in values], dtype=np.float64)
    norms = (torch._foreach_norm(values, order, dtype=torch.float32) for order in (1, math.inf))
    totals, largest = (torch.stack(list(norm)).cpu().numpy().astype(np.float64) for norm in norms)
    return Magnitudes(list(tensors), totals / sizes, largest, sizes)


def merge(found: Magnitudes, most: int = _MOST_BARS) -> Magnitudes:
    """As it is, or where there are more than `most` layers, those together whose names begin alike."""
    parts = [name.split(".") for name in found.names]
    depth = max(map(len, parts))
    while len(found.names) > most and depth > 1 and len({tuple(part[:depth]) for part in parts}) > most:
        depth -= 1
    names = [".".join(part[:depth]) for part in parts]
    merged = list(dict.fromkeys(names))
    if len(found.names) <= most or len(merged) == len(names):
        return found
    rows = np.array([merged.index(name) for name in names])
    sizes = np.bincount(rows, found.sizes).astype(np.float64)
    largest = np.zeros(len(merged))
    np.maximum.at(largest, rows, found.largest)
    return Magnitudes(merged, np.bincount(rows, found.mean * found.sizes) / sizes, largest, sizes)


def draw_magnitudes(found: Magnitudes, title: str) -> Figure:
    """Horizontal bars of mean and largest magnitude by layer, the input at the top, on a logarithmic axis.

    The name of a layer in which all is zero is red.
    """
    found = merge(found)
    rows = np.arange(len(found.names))
    names = [_shortened(name) for name in found.names]
    # Margins follow from the text, in inches: a layout that measures it takes several times as long to draw.
    left, top, bottom, bars = 0.25 + 0.06 * max(map(len, names)), 0.35, 0.55, 0.17 * len(rows)
    width, height = left + 5.2, top + bars + bottom
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, 5 / width, bars / height))
    axes.barh(rows, found.largest, height=0.8, color="#56B4E9", label="largest")
    axes.barh(rows, found.mean, height=0.8, color="#0072B2", label="mean")
    axes.set_yticks(rows, names, fontsize=7, family="monospace")
    for name, value in zip(axes.get_yticklabels(), found.largest, strict=True):
        name.set_parse_math(False)
        name.set_color("black" if value else "#D55E00")
    positive = found.mean[found.mean > 0]
    if len(positive):
        axes.set_xscale("log")
        axes.set_xlim(positive.min() / 3, found.largest.max() * 3)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set(title=title, xlabel="magnitude")
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="lower left", ncols=2, frameon=False, fontsize=8)
    return figure


def _shortened(name: str, longest: int = 60) -> str:
    return name if len(name) <= longest else "…" + name[1 - longest :]


class GradientFlow(pl.Callback):
    """Draws `gradient_flow` and `weight_magnitude`, and histograms `gradients/LAYER` and `weights/LAYER`.

    Gradients are those before clipping, weights those before the step. Under strategies that shard weights, they are
    of this process's shards.

    Args:
        every: Optimiser steps between two drawings; the first is made at the first step that is logged. 0 for none.
        allowance: Of time; a drawing that would exceed it waits for the next turn.
    """

    def __init__(self, every: int, allowance: Allowance) -> None:
        self.every = every
        self._allowance = allowance
        self._has_drawn = False

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        writer = board(trainer)
        if writer is None or not self.every:
            return
        step = trainer.global_step
        is_first = not self._has_drawn and is_logged(trainer, step)
        if not (is_first or (step + 1) % self.every == 0) or not self._allowance.allows("gradient flow"):
            return
        with self._allowance.spend("gradient flow"):
            named = layers(module.get_submodule("model"))
            with_gradient = {name: weight for name, weight in named.items() if weight.grad is not None}
            for kind, title, tensors in (
                ("gradients", "gradient_flow", {n: w.grad for n, w in with_gradient.items() if w.grad is not None}),
                ("weights", "weight_magnitude", dict[str, Tensor](named)),
            ):
                found = magnitudes(tensors)
                # Steps whose gradients overflow are left out in 16-mixed, and say nothing.
                if not np.isfinite(found.largest).all():
                    return
                figure = draw_magnitudes(found, f"{title.replace('_', ' ').capitalize()} at step {step}")
                writer.add_figure(title, figure, global_step=step, close=False)
                for name, values in _sampled(tensors).items():
                    writer.add_histogram(f"{kind}/{name}", values, global_step=step, bins=_BINS)
            self._has_drawn = True


@torch.no_grad()
def _sampled(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Some numbers of each tensor, moved all at once."""
    parts = [tensor.detach().flatten()[:: max(1, tensor.numel() // _SAMPLED)] for tensor in tensors.values()]
    values = torch.cat([part.float() for part in parts]).cpu().numpy()
    ends = np.cumsum([len(part) for part in parts])
    return {name: values[end - len(parts[i]) : end] for i, name, end in zip(count(), tensors, ends, strict=False)}
