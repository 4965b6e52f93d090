"""From tokens to vectors: one-hot, or learned.

Both take tokens `(batch, length)` or soft one-hot letters `(batch, length, letters)` (for gradients, mutagenesis and
design), and give the same result for both. An unknown residue is the mean of the letters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqclass.alphabets import get_alphabet
from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import zero_padding


def _select(tokens: Tensor, table: Tensor) -> Tensor:
    """Rows of a small `(letters + 1, channels)` table, as a matrix product: its gradient is many times faster."""
    choice = torch.eye(len(table), device=table.device, dtype=table.dtype)
    return choice[tokens.int()] @ table


@register_block
class OneHotEmbedding(Block):
    """Tokens `(batch, length)` to `(batch, length, letters)` of zeros and a one; an unknown residue is `1 / letters`.

    Args:
        alphabet: "dna" or "protein".
    """

    def __init__(self, alphabet: str = "dna") -> None:
        super().__init__()
        self.out_channels = len(get_alphabet(alphabet).letters)
        self.table: Tensor
        unknown = torch.full((1, self.out_channels), 1 / self.out_channels)
        self.register_buffer("table", torch.cat([torch.eye(self.out_channels), unknown]), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return zero_padding(x if x.is_floating_point() else self.table[x.int()], mask), mask


@register_block
class LearnedEmbedding(Block):
    """Tokens `(batch, length)` to learned vectors `(batch, length, channels)`, normalised over channels.

    Args:
        channels: Size of the vectors.
        alphabet: "dna" or "protein".
        norm: Whether a LayerNorm over channels follows.
    """

    def __init__(self, channels: int = 64, alphabet: str = "dna", norm: bool = True) -> None:
        super().__init__()
        self.out_channels = channels
        self.weight = nn.Parameter(torch.randn(len(get_alphabet(alphabet).letters), channels))
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if x.is_floating_point():
            vectors = self.norm(x @ self.weight)
        else:
            # There are only so many different tokens: normalise the table, not every position.
            vectors = _select(x, self.norm(torch.cat([self.weight, self.weight.mean(dim=0, keepdim=True)])))
        return zero_padding(vectors, mask), mask
