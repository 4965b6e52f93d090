"""Convolution along the sequence, in the layout `(batch, length, channels)` without a transposing copy."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.errors import AssemblyError


class Convolution(nn.Module):
    """Convolution of `(batch, length, channels)` with padding of half the kernel, whatever the length.

    Output position j is centred on input position `stride * j`, and there are `ceil(length / stride)` of them. The
    weight has the shape of `torch.nn.Conv1d`'s, `(out_channels, in_channels, kernel_size)`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd number of positions.
        stride: Positions between two outputs.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            problem = "even" if kernel_size % 2 == 0 else "negative"
            raise AssemblyError(f"kernel size {kernel_size} is {problem}", remedy="Choose an odd kernel size")
        self.kernel_size = kernel_size
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == 1:
            if self.stride > 1:
                x = x[:, :: self.stride]
                # Rows with gaps need no copy where the length is a multiple of the stride; a program for all lengths
                # cannot rely on that.
                x = x.contiguous() if torch.compiler.is_exporting() else x
            return F.linear(x, self.weight.squeeze(2))
        return convolve(x, self.weight, stride=self.stride, padding=self.kernel_size // 2)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolution of `(batch, length, channels)`, with the weight of a `torch.nn.Conv1d`."""
    # As an image of height 1, (batch, length, channels) is channels-last memory: no copy on either side.
    image = F.conv2d(
        x.transpose(1, 2).unsqueeze(2), weight.unsqueeze(2), bias, stride=(1, stride), padding=(0, padding)
    )
    return image.squeeze(2).transpose(1, 2)


def strided_length(length: int, stride: int) -> int:
    """How many positions a stride leaves of `length`."""
    return -(-length // stride)
