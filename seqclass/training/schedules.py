"""How the learning rate goes up and down: a warm-up, then a curve, stepped once an optimiser step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from seqclass.errors import TrainingError

_LOWEST = {"constant": 0.0, "cosine": 0.0, "linear": 0.0, "exponential": 0.01, "triangular": 0.1}


@dataclass
class Schedule:
    """The learning rate as a share of the largest.

    Args:
        kind: What follows the warm-up: "constant", "cosine" (Loshchilov and Hutter 2017, arXiv:1608.03983, without
            restarts), "linear", "exponential", or "triangular": up and down again and again (Smith 2017,
            arXiv:1506.01186).
        warmup_steps: Optimiser steps of linear increase; at most a tenth of all steps.
        lowest: Share of the largest rate that the curve falls to. Default: 0 of a cosine or a line, .01 of an
            exponential, .1 of triangles.
        cycle_steps: Of triangles, optimiser steps up and down. Default: a fifth of those after the warm-up.

    Raises:
        TrainingError: A number is out of range.
    """

    kind: Literal["constant", "cosine", "linear", "exponential", "triangular"] = "cosine"
    warmup_steps: int = 500
    lowest: float | None = None
    cycle_steps: int | None = None

    def __post_init__(self) -> None:
        lowest = self._lowest
        if not 0 <= lowest <= 1 or (self.kind == "exponential" and not lowest):
            raise TrainingError(
                f"a learning rate that falls to {lowest} of the largest ({self.kind})",
                remedy="Let lowest be between 0 and 1, and of an exponential above 0",
            )
        if self.warmup_steps < 0 or (self.cycle_steps is not None and self.cycle_steps < 2):
            raise TrainingError(
                f"a warm-up of {self.warmup_steps} steps and cycles of {self.cycle_steps}",
                remedy="Let the warm-up have at least 0, and a cycle at least 2",
            )

    @property
    def _lowest(self) -> float:
        return _LOWEST[self.kind] if self.lowest is None else self.lowest

    def factor(self, step: int, total: int) -> float:
        """The share of the largest learning rate at optimiser step `step`, 0-based, of `total`."""
        warmup = min(self.warmup_steps, total // 10)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done, left = step - warmup, max(1, total - warmup)
        return self._lowest + (1 - self._lowest) * self._curve(done, left)

    def _curve(self, done: int, left: int) -> float:
        """From 1 down to 0, while `done` goes from 0 to `left`."""
        share = min(1.0, done / left)
        if self.kind == "constant":
            return 1.0
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * share))
        if self.kind == "linear":
            return 1 - share
        if self.kind == "exponential":
            return float((self._lowest**share - self._lowest) / (1 - self._lowest)) if self._lowest < 1 else 1.0
        cycle = self.cycle_steps or max(2, left // 5)
        return abs(1 - 2 * (done % cycle) / cycle)
