"""From a sequence of vectors to one vector: `(batch, length, channels)` to `(batch, features)`."""

from __future__ import annotations

import torch
from torch import Tensor

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import zero_padding
from seqclass.errors import AssemblyError


class Pool(Block):
    """Base of the poolings.

    Attributes:
        length: The number of positions it needs, or None for any.
        multiple: The pooled vector has `multiple * channels` features.
    """

    length: int | None = None
    multiple: int


@register_block
class Flatten(Pool):
    """All positions side by side: `(batch, length * channels)`. The model takes one length only.

    Args:
        length: Number of positions.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = self.multiple = length

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if x.shape[1] != self.length:
            raise AssemblyError(
                f"{x.shape[1]} positions reach a head that flattens {self.length}",
                remedy="Give sequences of the model's length, or build the model with a pooling head",
            )
        return zero_padding(x, mask).flatten(1)


@register_block
class CentreMax(Pool):
    """Mean over the central positions beside the maximum over all: `(batch, 2 * channels)`, any length.

    What a genome window's label describes lies in its central bin; what helps to tell it may lie anywhere.

    Args:
        centre: Number of central positions, counted on real residues; None for all.
    """

    multiple = 2

    def __init__(self, centre: int | None) -> None:
        super().__init__()
        self.centre = centre

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, _ = x.shape
        size = length if self.centre is None else self.centre
        if mask is None:
            first = max(0, (length - size + 1) // 2)
            return torch.cat([x[:, first : first + size].mean(dim=1), x.amax(dim=1)], dim=1)
        lengths = mask.sum(dim=1, keepdim=True)
        begin = ((lengths - size + 1) // 2).clamp_min(0)
        place = torch.arange(length, device=x.device).expand(batch, length)
        central = ((place >= begin) & (place < begin + size) & mask).unsqueeze(-1).to(x.dtype)
        mean = (x * central).sum(dim=1) / central.sum(dim=1).clamp_min(1)
        return torch.cat([mean, x.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(dim=1)], dim=1)
