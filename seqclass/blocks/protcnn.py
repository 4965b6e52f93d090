"""ProtCNN's trunk: dilated residual blocks over protein domains. Bileschi et al. 2022 (Nat. Biotechnol. 40, 932-937).

    letters -> conv -> [residual block] * n

    residual block:  x -> BN ReLU dilated conv to the bottleneck -> BN ReLU 1x1 -> + -> out
                     x ---------------------------------------------------------->

Tensor cores want channel counts that are multiples of 64, and dense kernels. In half precision on a CUDA device a
convolution therefore runs on channels padded with zeros and, if the length allows, with its dilation folded into the
batch. Weights, shapes and results are those of the plain convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import MaskedBatchNorm, zero_padding
from seqclass.errors import AssemblyError

_TILE = 64


class DilatedConvolution(nn.Module):
    """Convolution of `(batch, length, channels)` with a bias, whose taps lie `dilation` positions apart.

    Zeros stand before and behind the sequence, so the length stays. The weight has the shape of `torch.nn.Conv1d`'s,
    `(out_channels, in_channels, kernel_size)`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd number of taps.
        dilation: Positions from one tap to the next.

    Raises:
        AssemblyError: The kernel size is even, or a number is not positive.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        if min(in_channels, out_channels, dilation) < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise AssemblyError(
                f"a convolution from {in_channels} to {out_channels} channels, kernel size {kernel_size}, "
                f"dilation {dilation}",
                remedy="Let each be at least 1, and the kernel size odd",
            )
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(in_channels * kernel_size)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        convolve = _convolve_in_tiles if _runs_on_tensor_cores(x) else _convolve
        return convolve(x, self.weight, self.bias, self.dilation)


def _runs_on_tensor_cores(x: Tensor) -> bool:
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    return x.is_cuda and dtype in (torch.bfloat16, torch.float16)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    if weight.shape[2] == 1:
        return F.linear(x, weight.squeeze(2), bias)
    # As an image of height 1, (batch, length, channels) is channels-last memory: no copy on either side.
    image = F.conv2d(
        x.transpose(1, 2).unsqueeze(2),
        weight.unsqueeze(2),
        bias,
        padding=(0, dilation * (weight.shape[2] // 2)),
        dilation=(1, dilation),
    )
    return image.squeeze(2).transpose(1, 2)


def _convolve_in_tiles(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """The same numbers as `_convolve`, from channels padded to whole tiles and, where that pays, a dense kernel."""
    length = x.shape[1]
    out_channels, in_channels, _ = weight.shape
    more_in, more_out = -in_channels % _TILE, -out_channels % _TILE
    # A dense kernel is about a quarter faster than a dilated one, so folding must not add an eighth of padding.
    phases = dilation if 8 * (-length % dilation) <= length else 1
    x = F.pad(x, (0, more_in, 0, -length % phases))
    weight = F.pad(weight, (0, 0, 0, more_in, 0, more_out))
    bias = F.pad(bias, (0, more_out))
    y = _convolve(_to_phases(x, phases), weight, bias, dilation // phases)
    return _from_phases(y, phases)[:, :length, :out_channels]


def _to_phases(x: Tensor, phases: int) -> Tensor:
    """Every `phases`-th position as a sequence of its own: `(batch * phases, length / phases, channels)`.

    A kernel whose taps lie `phases` apart only ever meets positions of one phase, where they are neighbours.
    """
    batch, _, channels = x.shape
    return x.reshape(batch, -1, phases, channels).transpose(1, 2).reshape(batch * phases, -1, channels)


def _from_phases(x: Tensor, phases: int) -> Tensor:
    """`(batch, length, channels)` again, the inverse of `_to_phases`."""
    channels = x.shape[2]
    x = x.reshape(-1, phases, x.shape[1], channels).transpose(1, 2)
    return x.reshape(x.shape[0], -1, channels)


class DilatedResidualBlock(nn.Module):
    """A pre-activated residual block, `(batch, length, channels)` to the same.

    Args:
        channels: Channels in and out.
        bottleneck: Channels between the two convolutions.
        kernel_size: Of the dilated convolution; odd.
        dilation: Of the dilated convolution.
    """

    def __init__(self, channels: int, bottleneck: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.norm_in = MaskedBatchNorm(channels)
        self.reduce = DilatedConvolution(channels, bottleneck, kernel_size, dilation)
        self.norm_out = MaskedBatchNorm(bottleneck)
        self.restore = DilatedConvolution(bottleneck, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.reduce(zero_padding(torch.relu(self.norm_in(x, mask)), mask))
        # A kernel of one position sees no padding, so nothing need be zeroed before it.
        y = x + self.restore(torch.relu(self.norm_out(y, mask)))
        assert isinstance(y, Tensor)
        return y


@register_block
class ProtCNNStem(Block):
    """ProtCNN's dilated residual trunk, `(batch, length, in_channels)` to `(batch, length, channels)`.

    Padding is zero before every convolution that reaches past one residue. Defaults are the published ones: 30,464,500
    weights and 9,350 biases, and each output sees 337 residues.

    Args:
        in_channels: Channels of the embedding; 20 for one-hot protein.
        channels: Width of the trunk.
        bottleneck: Width inside the blocks.
        kernel_size: Of the first and of the dilated convolutions; odd.
        dilations: One for each block.

    Raises:
        AssemblyError: A number is not positive, or the kernel size is even.
    """

    stride = 1

    def __init__(
        self,
        in_channels: int = 20,
        channels: int = 1100,
        bottleneck: int = 550,
        kernel_size: int = 9,
        dilations: Sequence[int] = (1, 1, 3, 9, 27),
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = channels
        self.receptive_field = 1 + (kernel_size - 1) * (1 + sum(dilations))
        self.convolve = DilatedConvolution(in_channels, channels, kernel_size)
        self.blocks = nn.ModuleList(
            DilatedResidualBlock(channels, bottleneck, kernel_size, dilation) for dilation in dilations
        )

    def out_length(self, length: int) -> int:
        """Positions that are left of `length` residues: all."""
        return length

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.convolve(zero_padding(x, mask))
        for block in self.blocks:
            x = block(x, mask)
        return x, mask
