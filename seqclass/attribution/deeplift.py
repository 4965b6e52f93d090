"""DeepLIFT: how much of the difference from a reference each input is to blame for.

Shrikumar et al. 2017 (arXiv:1704.02685), with the rescale rule. Sequence and reference pass through the model side by
side, and each operation that is not linear gets a slope that explains exactly how its output differs between the two:

    y = f(x), for each element     (f(x) - f(x')) / (x - x')
    y = max(x)                     (y - y') / (x_i - x'_i) at i, where the larger of y and y' stands
    y = a * b, also of matrices    (b + b') / 2 for a, and (a + a') / 2 for b

Softmax, layer normalisation and attention are made of these. So contributions add up to the difference of the logits
for every model here except those with an LSTM, which stays one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqclass.attribution.substitution import Substitute, Substituting, attention_of
from seqclass.models import Classifier

# Nearer than this, two numbers are one, and the slope between them is the derivative.
_SAME = 1e-6
_HIDDEN = -1e30


def deeplift(model: Classifier, x: Tensor, reference: Tensor, mask: Tensor | None, column: int) -> Tensor:
    """Contributions of each number of the input to the logit's difference from the reference's.

    Args:
        model: In evaluation mode, none of its parameters requiring gradients.
        x: `(batch, length, letters or numbers)` floats.
        reference: Of the same shape.
        mask: `(batch, length)`, or None.
        column: Of the logits.

    Returns:
        As `x`.
    """
    both = torch.cat([x, reference]).requires_grad_()
    with Substituting(_RULES):
        logits = model(both, None if mask is None else mask.repeat(2, 1))
    (slope,) = torch.autograd.grad(logits[: len(x), column].sum(), both)
    return slope[: len(x)] * (x - reference)


def _depends(*values: Any) -> bool:
    """Whether all of them depend on the input."""
    return all(isinstance(value, Tensor) and value.requires_grad for value in values)


def _change(x: Tensor) -> Tensor:
    """Zero, with the gradient of `x`."""
    return x - x.detach()


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of a detached stack, the sequences' part and the references'."""
    ours, theirs = x.detach().chunk(2)
    return ours, theirs


def _mean(x: Tensor) -> Tensor:
    """The mean of sequence and reference, for each of both."""
    ours, theirs = _halves(x)
    return ((ours + theirs) / 2).repeat(2, *[1] * (x.dim() - 1))


def _elementwise(function: Callable[..., Tensor]) -> Substitute:
    def rule(x: Tensor, *options: Any, **named: Any) -> Tensor:
        named.pop("inplace", None)
        if not _depends(x):
            return function(x, *options, **named)
        point = x.detach().requires_grad_()
        y = function(point, *options, **named)
        (derivative,) = torch.autograd.grad(y.sum(), point)
        (ours, theirs), (after, before) = _halves(x), _halves(y)
        apart = ours - theirs
        same = apart.abs() < _SAME
        slope = torch.where(same, derivative.chunk(2)[0], (after - before) / torch.where(same, 1, apart))
        return y.detach() + torch.cat([slope, slope]) * _change(x)

    return rule


_exp, _reciprocal, _rsqrt, _square = (
    _elementwise(function) for function in (torch.exp, torch.reciprocal, torch.rsqrt, torch.square)
)


def _mul(a: Any, b: Any) -> Any:
    if not _depends(a, b):
        return torch.mul(a, b)
    return (a * b).detach() + _mean(b) * _change(a) + _mean(a) * _change(b)


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    if not _depends(a, b):
        return a @ b
    return (a @ b).detach() + _change(a) @ _mean(b) + _mean(a) @ _change(b)


def _div(a: Any, b: Any, **named: Any) -> Any:
    return _mul(a, _reciprocal(b)) if _depends(b) else torch.div(a, b, **named)


def _largest(y: Tensor, place: Tensor, x: Tensor, dim: int) -> Tensor:
    """Of maxima `y` that stand at `place` along a dimension of `x`, with the slopes of the rule."""
    (after, before), (here, there) = _halves(y), place.chunk(2)
    winner = torch.where(after >= before, here, there).repeat(2, *[1] * (place.dim() - 1))
    chosen = x.gather(dim, winner)
    ours, theirs = _halves(chosen)
    same = (ours - theirs).abs() < _SAME
    slope = torch.where(same, 1, (after - before) / torch.where(same, 1, ours - theirs))
    return y.detach() + torch.cat([slope, slope]) * _change(chosen)


def _amax(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    if not _depends(x):
        return x.amax(dim, keepdim)
    y, place = x.detach().max(dim, keepdim=True)
    largest = _largest(y, place, x, dim)
    return largest if keepdim else largest.squeeze(dim)


def _amin(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    least: Tensor = -_amax(-x, dim, keepdim)
    return least


def _max_pool2d(x: Tensor, *options: Any, **named: Any) -> Tensor:
    named.pop("return_indices", None)
    if not _depends(x):
        pooled: Tensor = F.max_pool2d(x, *options, **named)
        return pooled
    y, place = F.max_pool2d(x.detach(), *options, **named, return_indices=True)
    return _largest(y.flatten(2), place.flatten(2), x.flatten(2), 2).view_as(y)


def _softmax(x: Tensor, dim: int = -1, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    if not _depends(x):
        return torch.softmax(x, dim)
    # What is hidden is minus infinity, whose difference from itself is no number.
    x = torch.where(x > _HIDDEN, x, _HIDDEN)
    ours, theirs = _halves(x.amax(dim, keepdim=True))
    powers = _exp(x - ours.maximum(theirs).repeat(2, *[1] * (x.dim() - 1)))
    shares: Tensor = _mul(powers, _reciprocal(powers.sum(dim, keepdim=True)))
    return shares


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    over = tuple(range(-len(shape), 0))
    centred = x - x.mean(over, keepdim=True)
    y: Tensor = _mul(centred, _rsqrt(_square(centred).mean(over, keepdim=True) + eps))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


_ELEMENTWISE = {
    **{name: getattr(torch, name) for name in ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "reciprocal")},
    **{name: getattr(torch, name) for name in ("square", "pow", "erf", "logit", "clamp", "clamp_min", "clamp_max")},
    **{name: getattr(F, name) for name in ("gelu", "silu", "elu", "selu", "mish", "leaky_relu", "relu6", "softplus")},
}
_RULES: dict[str, Substitute] = {
    **{name: _elementwise(function) for name, function in _ELEMENTWISE.items()},
    "mul": _mul,
    "multiply": _mul,
    "matmul": _matmul,
    "bmm": _matmul,
    "div": _div,
    "true_divide": _div,
    "__rdiv__": lambda b, a: _div(a, b),
    "amax": _amax,
    "amin": _amin,
    "max_pool2d": _max_pool2d,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "scaled_dot_product_attention": attention_of(_matmul, _softmax),
}
