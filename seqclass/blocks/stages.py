"""Plain convolution stages, as in the first networks of regulatory genomics: convolution, ReLU, pooling, dropout.

    vectors -> [ [conv -> ReLU] * n -> max-pool -> dropout ] * stages

DeepSEA: Zhou and Troyanskaya 2015 (Nat. Methods 12, 931). DanQ: Quang and Xie 2016 (Nucleic Acids Res. 44, e107).
Beluga: Zhou et al. 2018 (Nat. Genet. 50, 1171).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.convolution import convolve
from seqclass.blocks.masking import check_dropout
from seqclass.errors import AssemblyError


class UnpaddedConvolution(nn.Module):
    """Convolution with a bias, only where the whole kernel lies on the sequence: `kernel_size - 1` positions fewer.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Number of positions, odd or even.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        fresh = nn.Conv1d(in_channels, out_channels, kernel_size)
        assert fresh.bias is not None
        self.weight = fresh.weight
        self.bias = fresh.bias

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # What has padding under its kernel counts as padding.
        return convolve(x, self.weight, self.bias), None if mask is None else mask[:, self.kernel_size - 1 :]


class ConvolutionStage(nn.Module):
    """Convolutions, each with its ReLU, then max-pooling and dropout.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of each convolution.
        convolutions: How many follow each other.
        pool: Positions of which the maximum is taken, without overlap; what is left over at the end is dropped.
        dropout: Share of values dropped while training.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, convolutions: int, pool: int, dropout: float
    ) -> None:
        super().__init__()
        self.pool_size = pool
        self.convolutions = nn.ModuleList(
            UnpaddedConvolution(out_channels if number else in_channels, out_channels, kernel_size)
            for number in range(convolutions)
        )
        # Methods that follow contributions backwards need each non-linearity as a module of its own.
        self.activations = nn.ModuleList(nn.ReLU() for _ in range(convolutions))
        self.pool = nn.MaxPool2d((1, pool))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for convolution, activation in zip(self.convolutions, self.activations, strict=True):
            x, mask = convolution(x, mask)
            x = activation(x)
        if self.pool_size > 1:
            x = self.pool(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
            mask = None if mask is None else mask[:, self.pool_size - 1 :: self.pool_size]
        return self.dropout(x), mask


@register_block
class ConvolutionStages(Block):
    """Unpadded convolution stages, `(batch, length, in_channels)` to `(batch, out_length(length), widths[-1])`.

    Nothing is put around the sequence, so that only whole kernels and whole pools give a position: those that padding
    reaches are padding. Output position j is centred on residue `offset + stride * j`. Defaults are DeepSEA's.

    Args:
        in_channels: Channels of the embedding.
        widths: Output channels of each stage.
        kernel_size: Of all convolutions.
        pools: Positions pooled at the end of each stage, 1 for none.
        dropouts: Share of values dropped at the end of each stage.
        convolutions: How many follow each other in a stage.

    Raises:
        AssemblyError: There is not one of each a stage, a number is not positive, or a dropout is no share.
    """

    def __init__(
        self,
        in_channels: int = 4,
        widths: Sequence[int] = (320, 480, 960),
        kernel_size: int = 8,
        pools: Sequence[int] = (4, 4, 1),
        dropouts: Sequence[float] = (0.2, 0.2, 0.5),
        convolutions: int = 1,
    ) -> None:
        super().__init__()
        if not len(widths) == len(pools) == len(dropouts) or not widths:
            raise AssemblyError(
                f"{len(widths)} widths, {len(pools)} pools and {len(dropouts)} dropouts",
                remedy="Give one of each a stage",
            )
        if min(in_channels, *widths, kernel_size, *pools, convolutions) < 1:
            raise AssemblyError(
                f"stages of widths {list(widths)}, kernel size {kernel_size}, pools {list(pools)} and {convolutions} "
                f"convolutions on {in_channels} channels",
                remedy="Let each be at least 1",
            )
        check_dropout(*dropouts)
        self.in_channels = in_channels
        self.out_channels = widths[-1]
        self.stride = math.prod(pools)
        self.offset, stride = 0.0, 1
        for pool in pools:
            self.offset += stride * (convolutions * (kernel_size - 1) + pool - 1) / 2
            stride *= pool
        self.blocks = nn.ModuleList(
            ConvolutionStage(before, after, kernel_size, convolutions, pool, dropout)
            for before, after, pool, dropout in zip([in_channels, *widths[:-1]], widths, pools, dropouts, strict=True)
        )
        self._shrinkage = convolutions * (kernel_size - 1)
        self._pools = tuple(pools)

    def out_length(self, length: int) -> int:
        """Positions that are left of `length` residues.

        Raises:
            AssemblyError: None is left.
        """
        left = length
        for pool in self._pools:
            left = (left - self._shrinkage) // pool
        if left < 1:
            raise AssemblyError(
                f"{length} residues, of which the stem's unpadded convolutions leave nothing: they need at least "
                f"{self._shortest()}",
                remedy="Give longer sequences, or build the model with a smaller kernel or fewer stages",
            )
        return left

    def _shortest(self) -> int:
        length = 1
        for pool in reversed(self._pools):
            length = length * pool + self._shrinkage
        return length

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        self.out_length(x.shape[1])
        if mask is not None and not torch.compiler.is_compiling():
            self.out_length(int(mask.sum(dim=1).min()))
        for block in self.blocks:
            x, mask = block(x, mask)
        return x, mask
