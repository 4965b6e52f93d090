"""From a sequence of vectors to one vector: `(batch, length, channels)` to `(batch, features)`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import zero_padding
from seqclass.errors import AssemblyError


class Pool(Block):
    """Base of the poolings.

    Attributes:
        length: The number of positions it needs, or None for any.
        in_channels: The number of channels it needs, or None for any.
        multiple: The pooled vector has `multiple * channels` features.
    """

    length: int | None = None
    in_channels: int | None = None
    multiple: int = 1


def hide_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` `(batch, length, channels)` with minus infinity at padding: no maximum finds it, no softmax weighs it."""
    return x if mask is None else x.masked_fill(~mask.unsqueeze(-1), float("-inf"))


@register_block
class Flatten(Pool):
    """All positions side by side: `(batch, length * channels)`. The model takes one length only.

    Args:
        length: Number of positions.

    Raises:
        AssemblyError: There are none.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        if length < 1:
            raise AssemblyError(f"a head that flattens {length} positions", remedy="Give longer sequences")
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

    Raises:
        AssemblyError: The centre has no positions.
    """

    multiple = 2

    def __init__(self, centre: int | None) -> None:
        super().__init__()
        if centre is not None and centre < 1:
            raise AssemblyError(f"a centre of {centre} positions", remedy="Let there be at least 1, or None for all")
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
        return torch.cat([mean, hide_padding(x, mask).amax(dim=1)], dim=1)


@register_block
class MaxPool(Pool):
    """The maximum of each channel over real positions: `(batch, channels)`, any length."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return hide_padding(x, mask).amax(dim=1)


@register_block
class MeanPool(Pool):
    """The sum over real positions, divided by a power of their number: `(batch, channels)`, any length.

    Args:
        power: Of the length: 1 for the mean, 0 for the sum, between them for evidence that grows with the length, but
            less than in proportion.
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # Half precision holds neither a long sum nor every length.
        total = zero_padding(x, mask).sum(dim=1, dtype=torch.promote_types(x.dtype, torch.float32))
        if mask is None:
            divisor: float = x.shape[1] ** self.power
            return (total / divisor).to(x.dtype)
        lengths = mask.sum(dim=1, keepdim=True).clamp_min(1).to(total.dtype)
        return (total / torch.pow(lengths, self.power)).to(x.dtype)


@register_block
class AttentionPool(Pool):
    """Mean over real positions, weighted by how well each fits a learned query: `(batch, channels)`, any length.

        weight(i) = softmax over i of (query . x_i) / sqrt(channels)

    A fresh query is zero: the weights start equal. Lin et al. 2017 (arXiv:1703.03130), with one hop.

    Args:
        channels: Channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_channels = channels
        self.query = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = (x @ self.query.to(x.dtype)).unsqueeze(-1) / math.sqrt(x.shape[2])
        weights = hide_padding(scores, mask).softmax(dim=1).to(x.dtype)
        # Weight and residue meet in one matrix product, which writes no weighted copy of the sequence.
        return (weights.transpose(1, 2) @ x).squeeze(1)
