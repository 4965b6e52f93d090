"""The WideResNet stem: letters in, a shorter sequence of wide vectors out.

    vectors -> conv -> [bottleneck block] * n -> batch-norm -> ReLU

    bottleneck block:  x -> BN ReLU 1x1 (stride) -> BN ReLU conv -> BN ReLU 1x1 -> squeeze-excitation -> + -> out
                       x -> BN ReLU 1x1 (stride) ----------------------------------------------------->

In one dimension, pre-activated as in He et al. 2016 (arXiv:1603.05027). The inner width of a block that gives `out`
channels makes it

    wide      k * out / 4               Zagoruyko and Komodakis 2016 (arXiv:1605.07146)
    plain     out / 4                   k = 1
    ResNeXt   groups * d * 2^level      grouped inner convolution; Xie et al. 2017 (arXiv:1611.05431)

Squeeze-excitation: Hu et al. 2018 (arXiv:1709.01507).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.convolution import Convolution, strided_length
from seqclass.blocks.masking import ChannelDropout, MaskedBatchNorm, masked_mean, zero_padding
from seqclass.errors import AssemblyError


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from the mean of all channels over the sequence.

    A ReLU stands before the sigmoid too, as in the original model, so a gate lies between 1/2 and 1.

    Args:
        channels: Channels in and out.
        ratio: The inner layer has `channels // ratio` units.
    """

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(1, channels // ratio))
        self.excite = nn.Linear(max(1, channels // ratio), channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        gate = torch.relu(self.excite(torch.relu(self.squeeze(masked_mean(x, mask)))))
        return x * torch.sigmoid(gate).unsqueeze(1)


class GroupedConvolution(Convolution):
    """Convolution in which each group of channels sees only itself; as many channels out as in.

    Args:
        channels: Channels in and out.
        kernel_size: Odd number of positions.
        groups: Number of groups; it divides the channels.
    """

    def __init__(self, channels: int, kernel_size: int, groups: int) -> None:
        super().__init__(channels // groups, channels, kernel_size)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if self.groups == 1:
            return super().forward(x)
        image, weight = x.transpose(1, 2).unsqueeze(2), self.weight.unsqueeze(2)
        image = F.conv2d(image, weight, padding=(0, self.kernel_size // 2), groups=self.groups)
        return image.squeeze(2).transpose(1, 2)


class BottleneckBlock(nn.Module):
    """A pre-activated wide residual block, `(batch, length, in)` to `(batch, ceil(length / stride), out)`.

    Args:
        in_channels: Channels of the input.
        inner_channels: Channels of the inner convolution.
        out_channels: Channels of the output.
        stride: Positions of the input for one of the output.
        kernel_size: Of the inner convolution; odd.
        groups: Of the inner convolution.
        squeeze_ratio: Of the squeeze-excitation, None for none.
        dropout: Share of output channels dropped before the addition.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int,
        groups: int,
        squeeze_ratio: int | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm_in = MaskedBatchNorm(in_channels)
        self.reduce = Convolution(in_channels, inner_channels, stride=stride)
        self.norm_inner = MaskedBatchNorm(inner_channels)
        self.convolve = GroupedConvolution(inner_channels, kernel_size, groups)
        self.norm_out = MaskedBatchNorm(inner_channels)
        self.restore = Convolution(inner_channels, out_channels)
        self.squeeze_excitation = None if squeeze_ratio is None else SqueezeExcitation(out_channels, squeeze_ratio)
        self.dropout = ChannelDropout(dropout)
        self.norm_shortcut = MaskedBatchNorm(in_channels)
        self.shortcut = Convolution(in_channels, out_channels, stride=stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        shortcut = self.shortcut(torch.relu(self.norm_shortcut(x, mask)))
        y = self.reduce(torch.relu(self.norm_in(x, mask)))
        mask = mask if mask is None else mask[:, :: self.stride].contiguous()
        y = self.convolve(zero_padding(torch.relu(self.norm_inner(y, mask)), mask))
        y = self.restore(torch.relu(self.norm_out(y, mask)))
        if self.squeeze_excitation is not None:
            y = self.squeeze_excitation(y, mask)
        return self.dropout(y) + shortcut, mask


@register_block
class WideResNetStem(Block):
    """Wide residual stem, `(batch, length, in_channels)` to `(batch, out_length(length), widths[-1])`.

    Output position j is centred on input position `stride * j`, where `stride` is the product of the strides; padding
    never depends on the length. Defaults are those of the original DNA model.

    Args:
        in_channels: Channels of the embedding.
        channels: Channels of the first convolution.
        widths: Output channels of each block.
        strides: Stride of each block.
        expansion: Width factor k; the inner width of a block is `k * out / 4`. 1 makes the network a plain one.
        stem_kernel_size: Kernel of the first convolution, odd.
        kernel_size: Kernel inside the blocks, odd.
        squeeze_ratio: Of the squeeze-excitation, None for none.
        dropout: Share of channels dropped at the end of each block.
        groups: Groups of the convolutions inside the blocks.
        group_width: Channels d of a group in the first block, for a ResNeXt: whatever the expansion, the inner width
            is `groups * d`, and doubles from block to block. None for the width that the expansion gives.

    Raises:
        AssemblyError: `widths` and `strides` differ in number, a number is not positive, a kernel size is even, groups
            do not divide an inner width, or the dropout is no share.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 64,
        widths: Sequence[int] = (64, 128, 256),
        strides: Sequence[int] = (2, 2, 2),
        expansion: int = 16,
        stem_kernel_size: int = 7,
        kernel_size: int = 3,
        squeeze_ratio: int | None = 8,
        dropout: float = 0.0,
        groups: int = 1,
        group_width: int | None = None,
    ) -> None:
        super().__init__()
        if len(widths) != len(strides) or not widths:
            raise AssemblyError(f"{len(widths)} widths and {len(strides)} strides", remedy="Give one of each a block")
        squeeze = 1 if squeeze_ratio is None else squeeze_ratio
        if min(in_channels, channels, *widths, *strides, expansion, squeeze, groups) < 1:
            raise AssemblyError(
                f"a stem of {in_channels} and {channels} channels, widths {list(widths)}, strides {list(strides)}, "
                f"expansion {expansion}, squeeze ratio {squeeze_ratio} and {groups} groups",
                remedy="Let each be at least 1",
            )
        if group_width is None:
            inner = [expansion * width // 4 for width in widths]
        else:
            inner = [groups * group_width * 2**level for level in range(len(widths))]
        if min(inner) < 1 or any(width % groups for width in inner):
            raise AssemblyError(
                f"{groups} groups inside blocks of inner widths {inner}",
                remedy="Let expansion times width be at least 4, and a fourth of it a multiple of the groups"
                if group_width is None
                else "Let the group width be at least 1",
            )
        self.in_channels = in_channels
        self.out_channels = widths[-1]
        self.stride = math.prod(strides)
        self.convolve = Convolution(in_channels, channels, stem_kernel_size)
        self.blocks = nn.ModuleList(
            BottleneckBlock(before, between, after, stride, kernel_size, groups, squeeze_ratio, dropout)
            for before, between, after, stride in zip([channels, *widths[:-1]], inner, widths, strides, strict=True)
        )
        self.norm = MaskedBatchNorm(widths[-1])

    def out_length(self, length: int) -> int:
        """Positions that are left of `length` residues."""
        return strided_length(length, self.stride)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.convolve(zero_padding(x, mask))
        for block in self.blocks:
            x, mask = block(x, mask)
        return torch.relu(self.norm(x, mask)), mask
