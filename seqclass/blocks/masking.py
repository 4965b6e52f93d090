"""Masks of real residues: zeroing, averaging and normalising that leave padding out.

A mask is `(batch, length)` bool, True at real residues, or None where all are real.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from seqclass.errors import AssemblyError


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` `(batch, length, channels)` with zeros at padded positions."""
    return x if mask is None else x * mask.unsqueeze(-1)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `(batch, length, channels)` over real positions, `(batch, channels)`."""
    if mask is None:
        return x.mean(dim=1)
    weight = mask.unsqueeze(-1).to(x.dtype)
    return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation of `(batch, length, channels)` or `(batch, channels)` whose statistics leave padding out.

    Ioffe and Szegedy 2015 (arXiv:1502.03167). While training in several processes, the statistics are those of all real
    positions of all processes. It is no subclass of `torch.nn.BatchNorm1d` on purpose: converters to
    `SyncBatchNorm` would replace it and silently drop the mask.

    Args:
        channels: Size of the last dimension.
        momentum: Weight of the newest batch in the running statistics.
        eps: Added to the variance.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.training and _is_shared():
            return self._normalise_with_all_processes(x, mask)
        if self.training and mask is not None:
            # One kernel for the real positions alone, side by side; padding becomes zero.
            flat, real = x.flatten(0, 1), mask.flatten().nonzero().squeeze(1)
            y = self._batch_norm(flat.index_select(0, real))
            return torch.zeros_like(flat).index_copy(0, real, y).view_as(x)
        if x.dim() == 2:
            return self._batch_norm(x)
        # Seen as an image of height 1, the same memory is channels-last, which has the fastest kernels.
        return self._batch_norm(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)

    def _batch_norm(self, x: Tensor) -> Tensor:
        # A single position has no variance to learn from, and is normalised as in evaluation.
        learns = self.training and x.numel() > x.shape[1]
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, learns, self.momentum, self.eps
        )

    def _normalise_with_all_processes(self, x: Tensor, mask: Tensor | None) -> Tensor:
        real = (x.reshape(-1, x.shape[-1]) if mask is None else x[mask]).float()
        variance, mean = torch.var_mean(real, dim=0, correction=0)
        count = torch.tensor(float(real.shape[0]), device=x.device)
        mean, variance, count = _over_all_processes(mean, variance, count)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1).clamp_min(1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (x * scale + (self.bias - mean * scale)).to(x.dtype)


def _is_shared() -> bool:
    """Whether several processes train one model together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _over_all_processes(mean: Tensor, variance: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The moments of all processes' positions together, through which gradients flow back to each process."""
    mean, variance, count = mean.double(), variance.double(), count.double()
    parts = [count.unsqueeze(0), count * mean, count * (variance + mean.square())]
    total: Tensor = all_reduce(torch.cat(parts))
    count = total[0]
    mean, square = (total[1:] / count).chunk(2)
    return mean.float(), (square - mean.square()).clamp_min(0).float(), count.float()


def check_dropout(*shares: float) -> None:
    """Makes sure that what is dropped is a share, and not all.

    Raises:
        AssemblyError: It is negative, or 1 or more.
    """
    for share in shares:
        if not 0 <= share < 1:
            raise AssemblyError(f"a dropout of {share}", remedy="Choose at least 0 and less than 1")


class ChannelDropout(nn.Module):
    """Dropout of whole channels: one decision a sample and channel, shared by all positions.

    Neighbouring positions are correlated, so dropping single elements regularises little (Tompson et al. 2015,
    arXiv:1411.4280); and the mask is a thousand times cheaper to draw.

    Args:
        probability: Share of the channels that are zeroed while training.

    Raises:
        AssemblyError: It is no share.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        check_dropout(probability)
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        return x * (torch.rand(x.shape[0], 1, x.shape[2], device=x.device) < keep).to(x.dtype).div_(keep)
