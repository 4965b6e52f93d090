"""Magnitude pruning: within each layer the smallest weights become zero. Han et al. 2015 (arXiv:1506.02626).

Zeros alone make a model neither smaller nor faster: files and matrix products hold them like other numbers. It tells
how many weights a model can spare, and is where sparse kernels or further training would start from.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from seqclass.blocks import Embedding
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError

AMOUNT = 0.3


def prune_magnitude(bundle: Bundle, amount: float = AMOUNT) -> Bundle:
    """The same bundle with a share of each layer's weights at zero; the one that is given stays as it is.

    Weights are the matrices and kernels of the model; embeddings, biases and norms are left alone. Its calibration is
    that of the whole model, fitted before. It has no training summary: its embeddings are others.

    Args:
        bundle: The model.
        amount: Share of the weights, from 0 to less than 1.

    Raises:
        AssemblyError: The amount is out of range.
    """
    if not 0 <= amount < 1:
        raise AssemblyError(f"pruning an amount of {amount}", remedy="Choose at least 0 and less than 1, such as .3")
    model = copy.deepcopy(bundle.model)
    spared = {id(each) for part in model.modules() if _is_embedding(part) for each in part.parameters(recurse=False)}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "weight" in name.split(".")[-1] and id(weight) not in spared:
                count = int(amount * weight.numel())
                if count:
                    weight.view(-1)[weight.abs().flatten().topk(count, largest=False).indices] = 0
    provenance = bundle.provenance | {"pruned": {"by": "magnitude", "amount": amount}}
    return replace(bundle, model=model, provenance=provenance, summary=None, path=None)


def _is_embedding(part: torch.nn.Module) -> bool:
    return isinstance(part, Embedding | torch.nn.Embedding)


def zero_share(bundle: Bundle) -> float:
    """The share of all parameters that are zero."""
    parameters = list(bundle.model.parameters())
    zeros = sum(int((each == 0).sum()) for each in parameters)
    return zeros / max(1, sum(each.numel() for each in parameters))
