"""A bidirectional LSTM: reads the sequence from both ends. Hochreiter and Schmidhuber 1997 (Neural Comput. 9, 1735)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import ChannelDropout
from seqclass.errors import AssemblyError


@register_block
class BiLSTMEncoder(Block):
    """LSTM layers in both directions, `(batch, length, in_channels)` to `(batch, length, out_channels)`.

    The backward direction starts at each sequence's own last residue, whatever padding follows. Real residues come
    first in the mask.

    Args:
        in_channels: Channels that reach the encoder.
        channels: Units of each direction.
        layers: Number of layers; each sees both directions of the one below.
        directions: How the last layer's two directions join: "add", to `channels`, or "concatenate", to twice as many.
        norm: Whether a LayerNorm over channels follows.
        dropout: Share of units dropped between layers, and of whole channels at the end.

    Raises:
        AssemblyError: A number is not positive, the dropout is no share, or the directions join in no known way; or the
            encoder is to be exported for more than one length.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        layers: int = 1,
        directions: Literal["add", "concatenate"] = "add",
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(in_channels, channels, layers) < 1 or directions not in ("add", "concatenate"):
            raise AssemblyError(
                f"an encoder of {layers} layers, {channels} units on {in_channels} channels, directions '{directions}'",
                remedy="Let each number be at least 1, and directions be 'add' or 'concatenate'",
            )
        self.in_channels = in_channels
        self.out_channels = channels if directions == "add" else 2 * channels
        self.directions = directions
        self.dropout = ChannelDropout(dropout)
        self.lstm = nn.LSTM(
            in_channels,
            channels,
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.norm = nn.LayerNorm(self.out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        # While a program for all lengths is traced, a length is a symbol instead of a number.
        if torch.compiler.is_exporting() and (mask is not None or type(x.shape[1]) is not int):
            raise AssemblyError(
                "PyTorch's LSTM cannot be exported for sequences of more than one length",
                remedy="Export the model for one length, without a mask",
            )
        if mask is None:
            y, _ = self.lstm(x)
        else:
            lengths = mask.sum(dim=1).clamp_min(1).cpu()
            packed, _ = self.lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        if self.directions == "add":
            forward, backward = y.chunk(2, dim=-1)
            y = forward + backward
        return self.dropout(self.norm(y)), mask
