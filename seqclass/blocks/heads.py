"""Heads: from a sequence of vectors to raw logits, `(batch, targets)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import MaskedBatchNorm
from seqclass.blocks.pooling import Pool


@register_block
class DenseHead(Block):
    """Pooling, then dense, batch-norm, ReLU, dropout, linear: `(batch, length, in_channels)` to `(batch, num_targets)`.

    Args:
        in_channels: Channels that reach the head.
        num_targets: Number of logits.
        pool: How positions become one vector.
        hidden: Units of the dense layer.
        dropout: Share of hidden units dropped while training.
        prior: Probability that a fresh head predicts, so that rare targets do not start with a large loss
            (Lin et al. 2017, arXiv:1708.02002, section 4.1).
    """

    def __init__(
        self,
        in_channels: int,
        num_targets: int,
        pool: Pool,
        hidden: int = 512,
        dropout: float = 0.3,
        prior: float = 0.02,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_targets = num_targets
        self.pool = pool
        self.dense = nn.Linear(pool.multiple * in_channels, hidden, bias=False)
        self.norm = MaskedBatchNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, num_targets)
        self.set_prior(torch.full((num_targets,), prior))

    def set_prior(self, prevalence: Tensor) -> None:
        """Makes the fresh head predict about `prevalence` `(num_targets,)`: the output bias becomes its logit."""
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(prevalence.float(), eps=1e-5))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.dropout(torch.relu(self.norm(self.dense(self.pool(x, mask)))))
        logits: Tensor = self.out(hidden)
        return logits
