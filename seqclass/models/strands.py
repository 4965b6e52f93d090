"""Both strands of DNA: a binding site is the same site read from either side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqclass.alphabets import DNA


def reverse_complement(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """The other strand, read 5' to 3'.

    Args:
        tokens: `(batch, length)` integers, or `(batch, length, 4)` soft letters.
        mask: `(batch, length)`, True at real residues, which come first; padding stays behind them.
    """
    if tokens.is_floating_point():
        flipped = tokens.flip(1, 2)
    else:
        flipped = (tokens.flip(1) ^ 3).clamp_max(DNA.unknown_token)
    return flipped if mask is None else to_front(flipped, mask)


def to_front(flipped: Tensor, mask: Tensor) -> Tensor:
    """Moves the real positions of a flipped `(batch, length, ...)` tensor back before its padding."""
    length = mask.shape[1]
    place = torch.arange(length, device=mask.device) + length - mask.sum(dim=1, keepdim=True)
    place = torch.where(place < length, place, place - length)
    place = place.view(*place.shape, *[1] * (flipped.dim() - 2)).expand_as(flipped)
    return flipped.gather(1, place)


def strand_mean(
    model: nn.Module,
    tokens: Tensor,
    mask: Tensor | None = None,
    activation: Callable[[Tensor], Tensor] = torch.sigmoid,
) -> Tensor:
    """Mean of the probabilities of the two strands, `(batch, targets)`; exactly the same for either strand.

    Args:
        model: From tokens and a mask to logits.
        tokens: `(batch, length)` integers, or `(batch, length, 4)` soft letters.
        mask: `(batch, length)`, True at real residues.
        activation: From logits to probabilities.
    """
    forward = activation(model(tokens, mask).float())
    reverse = activation(model(reverse_complement(tokens, mask), mask).float())
    return (forward + reverse) / 2
