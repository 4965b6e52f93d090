"""From tokens to vectors: one-hot, or learned.

Both take tokens `(batch, length)` or soft one-hot letters `(batch, length, letters)` (for gradients, mutagenesis and
design), and give the same result for both. An unknown residue is the mean of the letters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.alphabets import get_alphabet
from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import zero_padding


def _lookup(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of `(letters, channels)` for tokens, or their mixture for soft letters."""
    if x.is_floating_point():
        return x @ rows
    table = torch.cat([rows, rows.mean(dim=0, keepdim=True)])
    return F.embedding(x.int(), table)


@register_block
class OneHotEmbedding(Block):
    """Tokens `(batch, length)` to `(batch, length, letters)` of zeros and a one; an unknown residue is `1 / letters`.

    Args:
        alphabet: "dna" or "protein".
    """

    def __init__(self, alphabet: str = "dna") -> None:
        super().__init__()
        self.out_channels = len(get_alphabet(alphabet).letters)
        self.letters: Tensor
        self.register_buffer("letters", torch.eye(self.out_channels), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        vectors = x if x.is_floating_point() else _lookup(x, self.letters)
        return zero_padding(vectors, mask), mask


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
        return zero_padding(self.norm(_lookup(x, self.weight)), mask), mask
