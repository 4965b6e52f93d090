"""Light attention: a convolution decides how much each residue counts in each channel.

Stärk et al. 2021 (Bioinform. Adv. 1, vbab035), for embeddings of protein language models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqclass.blocks.base import register_block
from seqclass.blocks.convolution import Convolution
from seqclass.blocks.masking import check_dropout, zero_padding
from seqclass.blocks.pooling import Pool, hide_padding
from seqclass.blocks.protcnn import DilatedConvolution


@register_block
class LightAttention(Pool):
    """Softmax-weighted sum of values beside their maximum: `(batch, length, channels)` to `(batch, 2 * channels)`.

    Values and weights are each a convolution of the input; the softmax runs over the real residues of each channel.

    Args:
        channels: Channels of the embeddings.
        kernel_size: Of both convolutions; odd.
        dropout: Share of values dropped while training.

    Raises:
        AssemblyError: A number is not positive, the kernel size is even, or the dropout is no share.
    """

    multiple = 2

    def __init__(self, channels: int = 1024, kernel_size: int = 9, dropout: float = 0.25) -> None:
        super().__init__()
        check_dropout(dropout)
        self.in_channels = channels
        self.values = DilatedConvolution(channels, channels, kernel_size)
        # A bias would move all scores of a channel alike, which the softmax does not see.
        self.attention = Convolution(channels, channels, kernel_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = zero_padding(x, mask)
        values = self.dropout(self.values(x))
        weights = hide_padding(self.attention(x), mask).softmax(dim=1)
        return torch.cat([(values * weights).sum(dim=1), hide_padding(values, mask).amax(dim=1)], dim=1)
