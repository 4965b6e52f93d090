"""Adaptive gradient clipping: no step is large beside the weights it changes. Brock et al. 2021 (arXiv:2102.06171)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Weights near zero would otherwise never leave it.
_LEAST_NORM = 1e-3


@torch.no_grad()
def clip_adaptively(parameters: Iterable[Tensor], share: float) -> None:
    """Shortens the gradient of each unit to at most `share` of the norm of the unit's weights.

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
