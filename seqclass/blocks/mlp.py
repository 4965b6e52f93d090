"""A head of plain dense layers: pooling, then (linear, ReLU, dropout) as often as wanted, then linear."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from seqclass.blocks.base import register_block
from seqclass.blocks.heads import Head
from seqclass.blocks.masking import check_dropout
from seqclass.blocks.pooling import Pool
from seqclass.errors import AssemblyError


@register_block
class MLPHead(Head):
    """Pooling and dense layers without normalisation: `(batch, length, in_channels)` to `(batch, num_targets)`.

    Args:
        in_channels: Channels that reach the head.
        num_targets: Number of logits.
        pool: How positions become one vector.
        hidden: Units of each dense layer.
        dropout: Share of the units of each dense layer dropped while training.
        prior: Probability that a fresh head predicts.

    Raises:
        AssemblyError: There is no dense layer, or one has no units; or the dropout is no share.
    """

    def __init__(
        self,
        in_channels: int,
        num_targets: int,
        pool: Pool,
        hidden: Sequence[int],
        dropout: float = 0.0,
        prior: float = 0.02,
    ) -> None:
        super().__init__(in_channels, num_targets, pool)
        if not hidden or min(hidden) < 1:
            raise AssemblyError(
                f"dense layers of {list(hidden)} units", remedy="Give at least one layer, and each at least 1 unit"
            )
        check_dropout(dropout)
        sizes = [pool.multiple * in_channels, *hidden]
        self.dense = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        # Methods that follow contributions backwards need each non-linearity as a module of its own.
        self.activations = nn.ModuleList(nn.ReLU() for _ in hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden[-1], num_targets)
        self.set_prior(torch.full((num_targets,), prior))

    def hidden(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the last dense layer gives, `(batch, hidden[-1])`."""
        x = self.pool(x, mask)
        for dense, activation in zip(self.dense, self.activations, strict=True):
            x = self.dropout(activation(dense(x)))
        return x

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self.out(self.hidden(x, mask))
        return logits
