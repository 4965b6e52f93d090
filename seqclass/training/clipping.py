"""Gradient clipping: no step is too large, by itself (Pascanu et al. 2013, arXiv:1211.5063) or beside its weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

# Weights near zero would otherwise never leave it.
_LEAST_NORM = 1e-3


def clip_to_norm(wrapped: nn.Module | None, model: nn.Module, most: float) -> None:
    """Shortens all gradients together to a norm of at most `most`.

    Args:
        wrapped: What Lightning's strategy trains: the task, or a wrapper of it that knows all processes' shards.
        model: Whose weights these are.
        most: Such as 1.
    """
    if isinstance(wrapped, FullyShardedDataParallel):
        wrapped.clip_grad_norm_(most)
    else:
        torch.nn.utils.clip_grad_norm_(model.parameters(), most)


@torch.no_grad()
def clip_adaptively(parameters: Iterable[Tensor], share: float) -> None:
    """Shortens the gradient of each unit to at most `share` of its weights' norm. Brock et al. 2021 (arXiv:2102.06171).

    A unit is a row of a matrix, a filter of a convolution, or a vector as a whole.

    Args:
        parameters: Those without a gradient are left out. The paper leaves out the last layer.
        share: Such as .01.
    """
    for weight in parameters:
        if weight.grad is not None:
            most = share * _norms(weight).clamp_min(_LEAST_NORM)
            weight.grad.mul_((most / _norms(weight.grad).clamp_min(1e-12)).clamp_max(1.0))


def _norms(values: Tensor) -> Tensor:
    dims = list(range(1, values.dim())) or None
    norms: Tensor = torch.linalg.vector_norm(values, dim=dims, keepdim=True)
    return norms
