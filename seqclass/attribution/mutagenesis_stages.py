"""A model's convolutional trunk as a table of stages: what a single substitution can change, and what it cannot.

A substitution changes only those outputs of a layer whose receptive field holds it. Each stage knows how to recompute
just these from what it gave for the unchanged sequence. A convolution is linear, so that only the difference of its
input passes through its weight. Squeeze-excitation, recurrence and attention are global: behind the first of them every
position changes, and nothing can be kept. After Nair et al. 2022, fastISM (Bioinformatics 38, 2397).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from seqclass.blocks.convolution import convolve, strided_length


class Window(NamedTuple):
    """What some mutants of a sequence have in place of its activations.

    Attributes:
        start: The first position that may differ; what lies before it, and behind the last, is the sequence's own.
        values: `(mutants, width, channels)`, at positions `[start, start + width)`.
    """

    start: int
    values: Tensor

    @property
    def end(self) -> int:
        return self.start + self.values.shape[1]


class Trace(NamedTuple):
    """A sequence's activations before and after a stage, `(1, positions, channels)`, and inside it."""

    before: Tensor
    after: Tensor
    inside: tuple[list[Trace], ...] = ()


class Reach(NamedTuple):
    """How residues and positions relate: each position sees `field` residues, and two lie `stride` residues apart."""

    field: int
    stride: int

    def through(self, taps: int, stride: int, dilation: int = 1) -> Reach:
        return Reach(self.field + (taps - 1) * dilation * self.stride, self.stride * stride)


class Stage:
    """Base of the stages."""

    @property
    def local(self) -> bool:
        """Whether a substitution changes a part of the positions only."""
        return True

    def trace(self, x: Tensor) -> Trace:
        """Runs on the whole sequence, `(1, positions, channels)`."""
        raise NotImplementedError

    def update(self, trace: Trace, window: Window) -> Window:
        """What the mutants have behind this stage, from what they have before it."""
        raise NotImplementedError

    def reach(self, before: Reach) -> Reach:
        return before

    def out_length(self, length: int) -> int:
        return length

    def macs(self, positions: int) -> int:
        """Multiplications for a sequence of which this stage gives so many positions."""
        return 0


@dataclass(frozen=True)
class Pointwise(Stage):
    """What treats each position by itself: activations, normalisation."""

    function: Callable[[Tensor], Tensor]

    def trace(self, x: Tensor) -> Trace:
        return Trace(x, self.function(x))

    def update(self, trace: Trace, window: Window) -> Window:
        return Window(window.start, self.function(window.values))


@dataclass(frozen=True)
class Convolving(Stage):
    """A convolution: the difference of the input goes through the weight, tap by tap."""

    weight: Tensor
    bias: Tensor | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @cached_property
    def taps(self) -> Tensor:
        """`(taps, in, out)`."""
        # Each group of output channels sees its own input channels: all other weights are zero.
        groups, (out, inner, taps) = self.groups, self.weight.shape
        whole = self.weight.new_zeros(taps, groups, inner, groups, out // groups)
        each = torch.arange(groups, device=whole.device)
        whole[:, each, :, each] = self.weight.view(groups, -1, inner, taps).permute(0, 3, 2, 1)
        return whole.view(taps, groups * inner, out)

    def trace(self, x: Tensor) -> Trace:
        if self.groups == self.dilation == 1:
            after = convolve(x, self.weight, self.bias, stride=self.stride, padding=self.padding)
        else:
            image = torch.conv2d(
                x.transpose(1, 2).unsqueeze(2),
                self.weight.unsqueeze(2),
                self.bias,
                (1, self.stride),
                (0, self.padding),
                (1, self.dilation),
                self.groups,
            )
            after = image.squeeze(2).transpose(1, 2)
        return Trace(x, after.contiguous())

    def update(self, trace: Trace, window: Window) -> Window:
        last_tap = self.dilation * (len(self.taps) - 1)
        start = max(0, -((last_tap - window.start - self.padding) // self.stride))
        end = min(trace.after.shape[1], (window.end - 1 + self.padding) // self.stride + 1)
        values = trace.after[:, start : max(start, end)].repeat(len(window.values), 1, 1)
        difference = window.values - trace.before[:, window.start : window.end]
        for tap, weight in enumerate(self.taps):
            # Position j of the output sees position stride * j + shift of the input through this tap.
            shift = self.dilation * tap - self.padding
            first = max(start, -((shift - window.start) // self.stride))
            behind = min(end, (window.end - 1 - shift) // self.stride + 1)
            if first < behind:
                seen = slice(self.stride * first + shift - window.start, window.end - window.start, self.stride)
                values[:, first - start : behind - start] += difference[:, seen][:, : behind - first] @ weight
        return Window(start, values)

    def reach(self, before: Reach) -> Reach:
        return before.through(self.weight.shape[2], self.stride, self.dilation)

    def out_length(self, length: int) -> int:
        return strided_length(length + 2 * self.padding - self.dilation * (self.weight.shape[2] - 1), self.stride)

    def macs(self, positions: int) -> int:
        return self.weight.numel() * positions


@dataclass(frozen=True)
class MaxPooling(Stage):
    """The maximum of neighbours, without overlap; what is left over at the end is dropped."""

    size: int

    def trace(self, x: Tensor) -> Trace:
        whole = x[:, : self.out_length(x.shape[1]) * self.size]
        return Trace(x, whole.reshape(len(x), -1, self.size, x.shape[2]).amax(dim=2))

    def update(self, trace: Trace, window: Window) -> Window:
        start = window.start // self.size
        end = max(start, min(trace.after.shape[1], (window.end - 1) // self.size + 1))
        values = splice(trace.before, window, start * self.size, end * self.size)
        if start == end:
            return Window(start, values)
        return Window(start, values.view(len(values), end - start, self.size, -1).amax(dim=2))

    def reach(self, before: Reach) -> Reach:
        return before.through(self.size, self.size)

    def out_length(self, length: int) -> int:
        return length // self.size


@dataclass(frozen=True)
class Residual(Stage):
    """Branches side by side whose results are added; one without stages is the identity."""

    branches: Sequence[Sequence[Stage]]

    @property
    def local(self) -> bool:
        return all(stage.local for branch in self.branches for stage in branch)

    def trace(self, x: Tensor) -> Trace:
        inside = tuple(run(branch, x) for branch in self.branches)
        return Trace(x, _add([_last(x, traces) for traces in inside]), inside)

    def update(self, trace: Trace, window: Window) -> Window:
        windows = [follow(branch, inside, window) for branch, inside in zip(self.branches, trace.inside, strict=True)]
        start = min(each.start for each in windows)
        end = max(each.end for each in windows)
        parts = [
            splice(_last(trace.before, traces), each, start, end)
            for traces, each in zip(trace.inside, windows, strict=True)
        ]
        return Window(start, _add(parts))

    def reach(self, before: Reach) -> Reach:
        widest = before
        for branch in self.branches:
            here = before
            for stage in branch:
                here = stage.reach(here)
            widest = Reach(max(widest.field, here.field), here.stride)
        return widest

    def out_length(self, length: int) -> int:
        for stage in self.branches[0]:
            length = stage.out_length(length)
        return length


class Global(Stage):
    """Where every position comes to depend on every residue."""

    @property
    def local(self) -> bool:
        return False


def run(stages: Sequence[Stage], x: Tensor) -> list[Trace]:
    """Traces of a sequence, `(1, positions, channels)`, through stages that follow each other."""
    traces = []
    for stage in stages:
        traces.append(stage.trace(x))
        x = traces[-1].after
    return traces


def follow(stages: Sequence[Stage], traces: Sequence[Trace], window: Window) -> Window:
    """What mutants have behind these stages; a window of no width once nothing is left of what differed."""
    for stage, trace in zip(stages, traces, strict=True):
        window = stage.update(trace, window)
    return window


def splice(own: Tensor, window: Window, start: int, end: int) -> Tensor:
    """The mutants' activations at positions `[start, end)`, `(mutants, end - start, channels)`.

    Args:
        own: Those of the sequence, `(1, positions, channels)`.
        window: Where the mutants' may differ.
        start: First position.
        end: Behind the last position.
    """
    values = own[:, start:end].repeat(len(window.values), 1, 1)
    first, behind = max(start, window.start), min(end, window.end)
    if first < behind:
        values[:, first - start : behind - start] = window.values[:, first - window.start : behind - window.start]
    return values


def _last(x: Tensor, traces: Sequence[Trace]) -> Tensor:
    return traces[-1].after if traces else x


def _add(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
