"""Gradients of a logit at the input, and their mean over noise or over paths from a reference.

    gradient                d logit / d x                            Simonyan et al. 2014 (arXiv:1312.6034)
    smoothed gradient       its mean over noisy copies of x          Smilkov et al. 2017 (arXiv:1706.03825)
    gradient along a path   its mean over x' + a (x - x'), a in 0..1; times x - x':
        integrated gradients    a at the nodes of a quadrature       Sundararajan et al. 2017 (arXiv:1703.01365)
        expected gradients      a drawn at random (GradientSHAP)     Erion et al. 2021 (arXiv:1906.10670)

All inputs are `(batch, length, letters or numbers)` floats, all masks `(batch, length)` or None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from seqclass.models import Classifier

_RESIDUES = 1 << 16


def gradient(model: Classifier, x: Tensor, mask: Tensor | None, column: int) -> Tensor:
    """The gradient of a logit, of the shape of `x`."""
    x = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(model(x, mask)[:, column].sum(), x)
    return found


def mean_gradient(
    model: Classifier, points: Iterable[tuple[Tensor, Tensor]], mask: Tensor | None, column: int
) -> Tensor:
    """The weighted mean of the gradients at several points.

    Args:
        model: In evaluation mode.
        points: Inputs `(points, batch, length, letters or numbers)`, some at a time, and their weights `(points,
            batch)`, which sum to 1 over all points.
        mask: `(batch, length)`, or None.
        column: Of the logits.
    """
    total: Tensor | None = None
    for some, weights in points:
        flat = None if mask is None else mask.repeat(len(some), 1)
        found = gradient(model, some.flatten(0, 1), flat, column).view_as(some)
        part = torch.einsum("nblk,nb->blk", found, weights)
        total = part if total is None else total + part
    assert total is not None
    return total


def path(x: Tensor, reference: Tensor, nodes: Tensor, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Points on the straight line from a reference to a sequence, for `mean_gradient`.

    Args:
        x: The sequences.
        reference: Of the same shape.
        nodes: `(points, batch)`, where on the line: 0 at the reference, 1 at the sequence.
        weights: `(points, batch)`, which sum to 1.
    """
    for some, shares in _few(x, nodes, weights):
        yield reference + some[:, :, None, None] * (x - reference), shares


def noisy(x: Tensor, noise: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Noisy copies of sequences, for `mean_gradient`.

    Args:
        x: The sequences.
        noise: `(copies, batch, length, letters or numbers)`.
    """
    weights = x.new_full(noise.shape[:2], 1 / len(noise))
    for some, shares in _few(x, noise, weights):
        yield x + some, shares


def _few(x: Tensor, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both split into parts of which a model takes one at a time."""
    step = max(1, _RESIDUES // (x.shape[0] * x.shape[1]))
    return zip(torch.split(first, step), torch.split(second, step), strict=True)


def corrected(gradient: Tensor) -> Tensor:
    """The gradient of one-hot letters without its part that points off the simplex: minus its mean over letters.

    Letters always add up to one, so nothing was learned about that direction. Majdandzic et al. 2023 (Genome Biol. 24,
    109).
    """
    return gradient - gradient.mean(dim=-1, keepdim=True)
