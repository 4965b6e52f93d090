"""Guided backpropagation: gradients that pass a ReLU only where both its input and they themselves are positive.

Springenberg et al. 2015 (arXiv:1412.6806). The maps are sharp, and not faithful to the model: they change little when
its weights are randomised (Adebayo et al. 2018, arXiv:1810.03292).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqclass.attribution.substitution import Substituting
from seqclass.errors import AssemblyError
from seqclass.models import Classifier


def guided_gradient(model: Classifier, x: Tensor, mask: Tensor | None, column: int) -> Tensor:
    """The guided gradient of a logit, of the shape of the input `x` `(batch, length, letters or numbers)`.

    Raises:
        AssemblyError: The model has no ReLU.
    """
    x = x.detach().requires_grad_()
    with Substituting({"relu": _guided_relu}) as substituted:
        logits = model(x, mask)
    if not substituted.met:
        raise AssemblyError(
            "guided backpropagation is a rule for ReLUs, of which the model has none",
            remedy="Choose saliency or integrated-gradients",
        )
    (gradient,) = torch.autograd.grad(logits[:, column].sum(), x)
    return gradient


def _guided_relu(x: Tensor, inplace: bool = False) -> Tensor:
    y = torch.relu(x)
    if y.requires_grad:
        on_gradient: Callable[..., Any] = y.register_hook
        on_gradient(torch.relu)
    return y
