"""From a sequence of vectors to one vector: `(batch, length, channels)` to `(batch, features)`."""

from __future__ import annotations

import torch
from torch import Tensor

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import masked_mean, zero_padding
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
class CentrePool(Pool):
    """Mean and maximum over the central positions, and mean over all: `(batch, 3 * channels)`, any length.

    What a genome window's label describes lies in its central bin: a motif there shows in the maximum, wherever it is,
    and not if it lies outside. What surrounds the bin is summed up in the mean over all.

    Args:
        centre: Number of central positions, counted on real residues.
    """

    multiple = 3

    def __init__(self, centre: int) -> None:
        super().__init__()
        self.centre = centre

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, _ = x.shape
        if mask is None:
            first = max(0, (length - self.centre + 1) // 2)
            central = x[:, first : first + self.centre]
            return torch.cat([central.mean(dim=1), central.amax(dim=1), x.mean(dim=1)], dim=1)
        begin = ((mask.sum(dim=1, keepdim=True) - self.centre + 1) // 2).clamp_min(0)
        place = torch.arange(length, device=x.device).expand(batch, length)
        inside = (place >= begin) & (place < begin + self.centre) & mask
        largest = x.masked_fill(~inside.unsqueeze(-1), float("-inf")).amax(dim=1)
        return torch.cat([masked_mean(x, inside), largest, masked_mean(x, mask)], dim=1)
