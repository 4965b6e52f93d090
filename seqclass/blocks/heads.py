"""Heads: from a sequence of vectors to raw logits, `(batch, targets)`; and what to do for rare targets.

A fresh head predicts the prevalence of its targets. A trained one can be told to favour the rare: by the length of each
target's weight vector (`shorten_weights`, `rescale_weights`) or by its bias (`adjust_for_prevalence`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import MaskedBatchNorm, check_dropout
from seqclass.blocks.pooling import Pool
from seqclass.errors import AssemblyError


class NormalisedLinear(nn.Linear):
    """A linear layer whose weight vectors all have the same length, so that no target outbids another by its own.

        logit = |x| cos(x, weight) length + bias

    The length is that of a fresh layer's vectors, and training does not change it. Kim and Kim 2020 (arXiv:1912.01857).

    Args:
        in_features: Size of the input.
        out_features: Number of logits.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.lengths: Tensor
        length = torch.linalg.vector_norm(self.weight.detach(), dim=1).mean()
        self.register_buffer("lengths", length.repeat(out_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, F.normalize(self.weight, dim=1) * self.lengths.unsqueeze(1), self.bias)


class Head(Block):
    """Base of the heads: pooling, and a linear layer at the end.

    Attributes:
        in_channels: Channels that reach the head.
        num_targets: Number of logits.
        pool: How positions become one vector.
        out: The last layer, which has a weight vector and a bias for each target.

    Raises:
        AssemblyError: The pooling needs another number of channels, or a number is not positive.
    """

    out: nn.Linear

    def __init__(self, in_channels: int, num_targets: int, pool: Pool) -> None:
        super().__init__()
        if min(in_channels, num_targets) < 1:
            raise AssemblyError(
                f"a head from {in_channels} channels to {num_targets} targets", remedy="Let each be at least 1"
            )
        if pool.in_channels not in (None, in_channels):
            raise AssemblyError(
                f"{in_channels} channels reach the head, its {type(pool).__name__} expects {pool.in_channels}",
                remedy="Give both the same number of channels",
            )
        self.in_channels = in_channels
        self.num_targets = num_targets
        self.pool = pool

    def set_prior(self, prevalence: Tensor) -> None:
        """Makes the fresh head predict about `prevalence` `(num_targets,)`: the output bias becomes its logit.

        For targets that exclude each other, give `share / (1 + share)`, whose logit is the logarithm of the share.
        So rare targets do not start with a large loss (Lin et al. 2017, arXiv:1708.02002, section 4.1).
        """
        with torch.no_grad():
            self.out.bias.copy_(_log_odds(prevalence, self))


@register_block
class LinearHead(Head):
    """Pooling, dropout, linear: `(batch, length, in_channels)` to `(batch, num_targets)`.

    Args:
        in_channels: Channels that reach the head.
        num_targets: Number of logits.
        pool: How positions become one vector.
        dropout: Share of pooled features dropped while training.
        prior: Probability that a fresh head predicts.
        normalise: Whether all weight vectors keep the same length.

    Raises:
        AssemblyError: As for `Head`, or the dropout is no share.
    """

    def __init__(
        self,
        in_channels: int,
        num_targets: int,
        pool: Pool,
        dropout: float = 0.0,
        prior: float = 0.02,
        normalise: bool = False,
    ) -> None:
        super().__init__(in_channels, num_targets, pool)
        check_dropout(dropout)
        self.dropout = nn.Dropout(dropout)
        self.out = _output_layer(pool.multiple * in_channels, num_targets, normalise)
        self.set_prior(torch.full((num_targets,), prior))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self.out(self.dropout(self.pool(x, mask)))
        return logits


@register_block
class DenseHead(Head):
    """Pooling, then dense, batch-norm, ReLU, dropout, linear: `(batch, length, in_channels)` to `(batch, num_targets)`.

    Args:
        in_channels: Channels that reach the head.
        num_targets: Number of logits.
        pool: How positions become one vector.
        hidden: Units of the dense layer.
        dropout: Share of hidden units dropped while training.
        prior: Probability that a fresh head predicts.
        normalise: Whether all weight vectors of the last layer keep the same length.

    Raises:
        AssemblyError: As for `Head`, or the dense layer has no units, or the dropout is no share.
    """

    def __init__(
        self,
        in_channels: int,
        num_targets: int,
        pool: Pool,
        hidden: int = 512,
        dropout: float = 0.3,
        prior: float = 0.02,
        normalise: bool = False,
    ) -> None:
        super().__init__(in_channels, num_targets, pool)
        check_dropout(dropout)
        if hidden < 1:
            raise AssemblyError(f"a dense layer of {hidden} units", remedy="Let there be at least 1")
        self.dense = nn.Linear(pool.multiple * in_channels, hidden, bias=False)
        self.norm = MaskedBatchNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = _output_layer(hidden, num_targets, normalise)
        self.set_prior(torch.full((num_targets,), prior))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.dropout(torch.relu(self.norm(self.dense(self.pool(x, mask)))))
        logits: Tensor = self.out(hidden)
        return logits


def shorten_weights(head: Head, power: float) -> None:
    """Divides each weight vector of a trained head by a power of its length: frequent targets have grown long ones.

    With power 1 all become equally long, with 0 none changes. The tau-normalisation of Kang et al. 2020
    (arXiv:1910.09217).

    Args:
        head: Changed in place.
        power: Usually between 0 and 1, chosen on validation data.
    """
    layer = head.out
    lengths = layer.lengths if isinstance(layer, NormalisedLinear) else torch.linalg.vector_norm(layer.weight, dim=1)
    _stretch(layer, lengths.detach() ** -power)


def rescale_weights(head: Head, positives: Tensor, power: float) -> None:
    """Lengthens the weight vectors of a trained head's rare targets, by `(most positives / positives) ** power`.

    Meant to follow training with `normalise=True`. Kim and Kim 2020 (arXiv:1912.01857).

    Args:
        head: Changed in place.
        positives: Training samples of each target, `(num_targets,)`.
        power: Usually between 0 and 1, chosen on validation data.

    Raises:
        AssemblyError: There is not one number a target, or one is not positive.
    """
    counts = _per_target(positives, head)
    if not bool((counts > 0).all()):
        index = int((counts > 0).logical_not().nonzero()[0])
        raise AssemblyError(
            f"target {index} has {counts[index]:g} positives, and weights are scaled by a power of their inverse",
            remedy="Give positive numbers, such as one positive more for each target",
        )
    _stretch(head.out, (counts.max() / counts) ** power)


def adjust_for_prevalence(head: Head, prevalence: Tensor, power: float = 1.0) -> None:
    """Takes the targets' prevalence out of a trained head's logits: subtracts its logit, `power` times, from the bias.

    A prediction then weighs a rare and a frequent target alike. Menon et al. 2021 (arXiv:2007.07314), section 4.1.

    Args:
        head: Changed in place.
        prevalence: As for `set_prior`, `(num_targets,)`.
        power: 1 for balanced classes; less goes part of the way.

    Raises:
        AssemblyError: There is not one number a target.
    """
    with torch.no_grad():
        head.out.bias.sub_(power * _log_odds(prevalence, head))


def _output_layer(in_features: int, num_targets: int, normalise: bool) -> nn.Linear:
    return (NormalisedLinear if normalise else nn.Linear)(in_features, num_targets)


def _stretch(layer: nn.Linear, factors: Tensor) -> None:
    """Multiplies the length of each weight vector."""
    with torch.no_grad():
        (layer.lengths if isinstance(layer, NormalisedLinear) else layer.weight.T).mul_(factors)


def _log_odds(prevalence: Tensor, head: Head) -> Tensor:
    # Of a target that was never or always seen, a fresh head should be confident, not certain.
    return torch.logit(_per_target(prevalence, head), eps=1e-7)


def _per_target(values: Tensor, head: Head) -> Tensor:
    if values.shape != (head.num_targets,):
        raise AssemblyError(
            f"numbers of shape {tuple(values.shape)} for a head of {head.num_targets} targets",
            remedy="Give one number for each target",
        )
    return values.to(head.out.bias.device, torch.float32)
