"""The Transformer-XL encoder: attention whose scores depend on content and on distance.

    score(i, j) = (q_i + u) . k_j + (q_i + v) . r_(i - j)

with learned u and v, and r a projection of a sinusoid of the distance. Dai et al. 2019 (arXiv:1901.02860). There is no
absolute position, so one encoder takes any length. Bidirectional unless asked to be causal.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import ChannelDropout
from seqclass.errors import AssemblyError


def sinusoids(distances: Tensor, channels: int) -> Tensor:
    """Sinusoidal encoding of `(n,)` distances, `(n, channels)`: sines in the first half, cosines in the second."""
    rates = 1 / (10_000 ** (torch.arange(0, channels, 2, device=distances.device, dtype=torch.float32) / channels))
    angles = distances.float().unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :channels]


def relative_shift(scores: Tensor) -> Tensor:
    """From scores by distance `(batch, heads, length, 2 length - 1)`, the largest first, to scores by position.

    Element (i, j) of the result `(batch, heads, length, length)` is element (i, length - 1 - i + j) of `scores`: in
    row-major memory a view with rows one shorter, so nothing is gathered.
    """
    batch, heads, length, _ = scores.shape
    if length == 1:
        return scores
    flat = scores.reshape(batch, heads, -1)[..., length - 1 : length - 1 + length * (2 * length - 2)]
    return flat.reshape(batch, heads, length, 2 * length - 2)[..., :length]


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions, `(batch, length, channels)` to the same.

    Args:
        channels: Channels in and out.
        heads: Number of heads.
        head_size: Channels of each head.
        causal: Whether a position sees only itself and what lies before.
    """

    def __init__(self, channels: int, heads: int, head_size: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.head_size = head_size
        self.causal = causal
        self.qkv = nn.Linear(channels, 3 * heads * head_size, bias=False)
        self.position = nn.Linear(channels, heads * head_size, bias=False)
        self.out = nn.Linear(heads * head_size, channels, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, head_size))
        self.position_bias = nn.Parameter(torch.zeros(heads, head_size))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """`positions` are the sinusoids of distances length - 1 down to -(length - 1), `(2 length - 1, channels)`."""
        batch, length, _ = x.shape
        query, key, value = self.qkv(x).view(batch, length, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        relative = self.position(positions).view(-1, self.heads, self.head_size).permute(1, 2, 0)
        by_distance = (query + self.position_bias.unsqueeze(1).to(query.dtype)) @ relative
        bias = relative_shift(by_distance) * self.head_size**-0.5
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None, :], float("-inf"))
        if self.causal:
            future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            bias = bias.masked_fill(future, float("-inf"))
        query = query + self.content_bias.unsqueeze(1).to(query.dtype)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y = self.out(y.transpose(1, 2).reshape(batch, length, -1))
        assert isinstance(y, Tensor)
        return y


class TransformerXLLayer(nn.Module):
    """Relative attention and a feed-forward network, each added to its input and then normalised (post-norm).

    Args:
        channels: Channels in and out.
        heads: Number of heads.
        head_size: Channels of each head.
        inner: Units of the feed-forward network.
        causal: Whether a position sees only itself and what lies before.
        dropout: Share of channels dropped before each addition.
    """

    def __init__(self, channels: int, heads: int, head_size: int, inner: int, causal: bool, dropout: float) -> None:
        super().__init__()
        self.attention = RelativeAttention(channels, heads, head_size, causal)
        self.norm_attention = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels))
        self.norm_feed_forward = nn.LayerNorm(channels)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm_attention(x + self.dropout(self.attention(x, positions, mask)))
        y: Tensor = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        return y


@register_block
class TransformerXLEncoder(Block):
    """Transformer-XL layers, `(batch, length, channels)` to the same. Defaults are those of the original DNA model.

    Args:
        channels: Channels in and out.
        layers: Number of layers; each has its own position biases.
        heads: Number of heads.
        head_size: Channels of each head.
        inner: Units of the feed-forward networks.
        causal: Whether a position sees only itself and what lies before; by default it sees both sides.
        dropout: Share of channels dropped before each addition.

    Raises:
        AssemblyError: A number is not positive.
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
    ) -> None:
        super().__init__()
        if min(channels, layers, heads, head_size, inner) < 1:
            raise AssemblyError(
                f"an encoder of {layers} layers, {heads} heads of {head_size}, {inner} inner units",
                remedy="Let each be at least 1",
            )
        self.in_channels = self.out_channels = channels
        self.layers = nn.ModuleList(
            TransformerXLLayer(channels, heads, head_size, inner, causal, dropout) for _ in range(layers)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        length = x.shape[1]
        positions = sinusoids(torch.arange(length - 1, -length, -1, device=x.device), self.in_channels).to(x.dtype)
        for layer in self.layers:
            x = layer(x, positions, mask)
        return x, mask
