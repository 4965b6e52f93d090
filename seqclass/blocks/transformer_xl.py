"""The Transformer-XL encoder: relative attention over a segment and a memory of the segments before it.

Dai et al. 2019 (arXiv:1901.02860). There is no absolute position, so one encoder takes any length, and what it saw of
earlier segments can be looked at again from where it now is. Bidirectional unless asked to be causal.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import ChannelDropout
from seqclass.blocks.relative_attention import RelativeAttention, distances, sinusoids
from seqclass.errors import AssemblyError


class TransformerXLLayer(nn.Module):
    """Relative attention and a feed-forward network, each added to its input.

    Args:
        channels: Channels in and out.
        inner: Units of the feed-forward network.
        attention: Looks from position to position.
        dropout: Share of channels dropped before each addition.
        norm: "post" normalises each sum; "pre" normalises what goes into attention and network.
    """

    def __init__(
        self, channels: int, inner: int, attention: RelativeAttention, dropout: float, norm: Literal["post", "pre"]
    ) -> None:
        super().__init__()
        self.attention = attention
        self.norm_attention = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels))
        self.norm_feed_forward = nn.LayerNorm(channels)
        self.dropout = ChannelDropout(dropout)
        self.norm = norm

    def forward(
        self,
        x: Tensor,
        past: Tensor | None,
        positions: Tensor,
        hidden: Tensor | None,
        biases: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """`x` `(batch, length, channels)` after `past` `(batch, kept, channels)` or None; the rest as the attention."""
        seen = x if past is None else torch.cat([past, x], dim=1)
        length = x.shape[1]
        if self.norm == "pre":
            x = x + self.dropout(self.attention(self.norm_attention(seen), length, positions, hidden, biases))
            x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        else:
            x = self.norm_attention(x + self.dropout(self.attention(seen, length, positions, hidden, biases)))
            x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        return x


class Memory(NamedTuple):
    """What an encoder keeps of the segments before: the last real positions, as each layer received them.

    Attributes:
        states: `(layers, batch, kept, channels)`; no gradient flows back through them.
        mask: `(batch, kept)` bool, True at real positions, which come last; None where all are real.
    """

    states: Tensor
    mask: Tensor | None = None


@register_block
class TransformerXLEncoder(Block):
    """Transformer-XL layers, `(batch, length, channels)` to the same. Defaults are those of the original DNA model.

    A long sequence can be read segment by segment. Each segment's memory is passed on to the next:

        memory = encoder.empty_memory(batch)
        for segment, mask in segments:
            encoded, mask, memory = encoder(segment, mask, memory)

    A causal encoder whose memory is long enough for all that came before, in each of its layers, gives what it gives
    for the whole sequence at once. Segments may be ragged: in memory, a sequence's real positions close up, so that
    padding behind one segment neither stands between it and the next nor pushes anything out.

    Args:
        channels: Channels in and out.
        layers: Number of layers.
        heads: Number of heads.
        head_size: Channels of each head.
        inner: Units of the feed-forward networks.
        causal: Whether a position sees only itself and what lies before; by default it sees both sides.
        dropout: Share of channels dropped before each addition.
        norm: "post" normalises after each addition; "pre" before attention and before the feed-forward network, and
            then, as in the paper's own code, nothing after the last layer.
        shared_biases: Whether all layers share one u and v, or each has its own.
        clamp_length: Positions further apart count as this far apart, None for no such limit.
        memory_length: Positions that a memory keeps.

    Raises:
        AssemblyError: A number is not positive, `memory_length` is negative, the dropout is no share, or `norm` is
            neither "pre" nor "post".
    """

    def __init__(
        self,
        channels: int = 256,
        layers: int = 6,
        heads: int = 4,
        head_size: int = 16,
        inner: int = 256,
        causal: bool = False,
        dropout: float = 0.1,
        norm: Literal["post", "pre"] = "post",
        shared_biases: bool = False,
        clamp_length: int | None = None,
        memory_length: int = 512,
    ) -> None:
        super().__init__()
        if min(channels, layers, heads, head_size, inner) < 1:
            raise AssemblyError(
                f"an encoder of {layers} layers of {channels} channels, {heads} heads of {head_size} and "
                f"{inner} inner units",
                remedy="Let each be at least 1",
            )
        if norm not in ("post", "pre"):
            raise AssemblyError(f"an encoder with '{norm}' norm", remedy='Choose "post" or "pre"')
        if memory_length < 0 or (clamp_length is not None and clamp_length < 1):
            raise AssemblyError(
                f"an encoder with a memory of {memory_length} positions and distances up to {clamp_length}",
                remedy="Let the memory be at least 0, and the distance at least 1 or None",
            )
        self.in_channels = self.out_channels = channels
        self.causal = causal
        self.clamp_length = clamp_length
        self.memory_length = memory_length
        self.layers = nn.ModuleList(
            TransformerXLLayer(
                channels, inner, RelativeAttention(channels, heads, head_size, not shared_biases), dropout, norm
            )
            for _ in range(layers)
        )
        self.shared_biases = shared_biases
        if shared_biases:
            self.content_bias = nn.Parameter(torch.zeros(heads, head_size))
            self.position_bias = nn.Parameter(torch.zeros(heads, head_size))

    def empty_memory(self, batch: int) -> Memory:
        """The memory with which a chain of segments starts: nothing is remembered of any of `batch` sequences."""
        weight = next(self.parameters())
        return Memory(weight.new_zeros(len(self.layers), batch, 0, self.in_channels))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Memory]:
        """`(batch, length, channels)` to the same and its mask; given a memory, the next memory comes third.

        Raises:
            AssemblyError: The memory is that of other sequences or of another encoder.
        """
        if memory is not None:
            self._check(memory, x)
        length, kept = x.shape[1], 0 if memory is None else memory.states.shape[2]
        apart = distances(length, kept + length, self.causal, x.device)
        if self.clamp_length is not None:
            apart = apart.clamp(-self.clamp_length, self.clamp_length)
        positions = sinusoids(apart, self.in_channels).to(x.dtype)
        seen = _join(memory, x, mask)
        hidden = None if seen is None else ~seen[:, None, None, :]
        if self.causal:
            future = torch.ones(length, kept + length, dtype=torch.bool, device=x.device).triu(kept + 1)
            hidden = future if hidden is None else hidden | future
        biases = (self.content_bias, self.position_bias) if self.shared_biases else None
        received = []
        for number, layer in enumerate(self.layers):
            received.append(x)
            x = layer(x, None if memory is None else memory.states[number], positions, hidden, biases)
        if memory is None:
            return x, mask
        return x, mask, self._remember(memory, received, seen)

    def _check(self, memory: Memory, x: Tensor) -> None:
        layers, batch, _, channels = memory.states.shape
        if (layers, batch, channels) != (len(self.layers), len(x), self.in_channels):
            raise AssemblyError(
                f"the memory is of {layers} layers, {batch} sequences and {channels} channels, and meets "
                f"{len(self.layers)} layers, {len(x)} sequences and {self.in_channels} channels",
                remedy="Start a chain with empty_memory, and pass each segment what the one before gave",
            )

    def _remember(self, memory: Memory, received: list[Tensor], seen: Tensor | None) -> Memory:
        states = torch.cat([memory.states, torch.stack(received)], dim=2).detach()
        first = max(0, states.shape[2] - self.memory_length)
        if seen is None:
            return Memory(states[:, :, first:])
        # Real positions go last and keep their order.
        order = seen.byte().argsort(dim=1, stable=True)[:, first:]
        index = order[None, :, :, None].expand(len(states), -1, -1, states.shape[3])
        return Memory(states.gather(2, index), seen.gather(1, order))


def _join(memory: Memory | None, x: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask of memory and segment side by side, None where all is real."""
    if memory is None or (mask is None and memory.mask is None):
        return mask
    remembered = torch.ones(memory.states.shape[1:3], dtype=torch.bool, device=x.device)
    present = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return torch.cat([remembered if memory.mask is None else memory.mask, present if mask is None else mask], dim=1)
