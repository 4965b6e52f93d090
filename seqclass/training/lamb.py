"""LAMB: Adam whose step in each weight tensor is as long as the tensor asks for. You et al. 2020 (arXiv:1904.00962)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """Layer-wise adaptive moments, for large batches.

    The update is Adam's (bias-corrected) plus decayed weights; it is then scaled by the tensor's norm over its
    own. Tensors without weight decay (biases, norms) take it unscaled, as in the reference implementation.

    Args:
        params: As of any optimiser.
        lr: Learning rate.
        betas: Of the running means of the gradient and its square.
        eps: Added to the denominator.
        weight_decay: Decoupled.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight)
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        mean = state["mean"] / (1 - first ** state["step"])
        square = state["square"] / (1 - second ** state["step"])
        update = mean / (square.sqrt() + group["eps"])
        scale: Tensor | float = 1.0
        if group["weight_decay"]:
            update = update + group["weight_decay"] * weight
            norms = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(update)
            scale = torch.where((norms[0] > 0) & (norms[1] > 0), norms[0] / norms[1], 1.0)
        weight.sub_(group["lr"] * scale * update)
