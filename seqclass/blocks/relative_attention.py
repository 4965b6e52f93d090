"""Attention whose scores depend on content and on distance.

    score(i, j) = (q_i + u) . k_j + (q_i + v) . r_(i - j)

with learned u and v, and r a projection of a sinusoid of the distance. Dai et al. 2019 (arXiv:1901.02860). There is no
absolute position, so it takes any length. It runs through PyTorch's fused attention, which takes the part that depends
on distance as an additive bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def distances(queries: int, keys: int, causal: bool, device: torch.device) -> Tensor:
    """All distances from a query back to what it may look at, the largest first: `(n,)`, down to below zero.

    One more than needed, so that `relative_shift` has no special case.

    Args:
        queries: Positions that look: the last of the keys.
        keys: Positions looked at.
        causal: Whether nothing that lies ahead is looked at.
        device: Where the result is to be.
    """
    return torch.arange(keys - 1, -2 if causal else -queries - 1, -1, device=device)


def sinusoids(distances: Tensor, channels: int) -> Tensor:
    """Sinusoidal encoding of `(n,)` distances, `(n, channels)`: sines in the first half, cosines in the second."""
    rates = 1 / (10_000 ** (torch.arange(0, channels, 2, device=distances.device, dtype=torch.float32) / channels))
    angles = distances.float().unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :channels]


def relative_shift(scores: Tensor, keys: int) -> Tensor:
    """From scores by distance, the largest first, to scores by position.

    In row-major memory the result is a view with rows one shorter, so nothing is gathered.

    Args:
        scores: `(batch, heads, queries, distances)`; the first distance is `keys - 1`, and there are more than `keys`.
        keys: Positions looked at, of which the queries are the last.

    Returns:
        `(batch, heads, queries, keys)`, whose element (i, j) is element (i, queries - 1 - i + j) of `scores`. Where
        j lies further ahead of i than there are distances, it has no meaning.
    """
    batch, heads, queries, distances = scores.shape
    flat = scores.reshape(batch, heads, -1)[..., queries - 1 : queries - 1 + queries * (distances - 1)]
    return flat.reshape(batch, heads, queries, distances - 1)[..., :keys]


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions, from `(batch, queries, channels)` to the same.

    Args:
        channels: Channels in and out.
        heads: Number of heads.
        head_size: Channels of each head.
        own_biases: Whether it has u and v of its own, or is given them.
    """

    def __init__(self, channels: int, heads: int, head_size: int, own_biases: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.head_size = head_size
        self.qkv = nn.Linear(channels, 3 * heads * head_size, bias=False)
        self.position = nn.Linear(channels, heads * head_size, bias=False)
        self.out = nn.Linear(heads * head_size, channels, bias=False)
        if own_biases:
            self.content_bias = nn.Parameter(torch.zeros(heads, head_size))
            self.position_bias = nn.Parameter(torch.zeros(heads, head_size))

    def forward(
        self,
        x: Tensor,
        queries: int,
        positions: Tensor,
        hidden: Tensor | None = None,
        biases: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Lets the last positions look at all.

        Args:
            x: `(batch, keys, channels)`: what is looked at.
            queries: How many of the last positions look.
            positions: Sinusoids of `distances(queries, keys, causal)`, `(distances, channels)`.
            hidden: Bool, True where one may not look; of a shape that extends to `(batch, heads, queries, keys)`.
            biases: u and v, each `(heads, head_size)`, for an attention that has none of its own.

        Returns:
            `(batch, queries, channels)`.
        """
        batch, keys, _ = x.shape
        content_bias, position_bias = biases or (self.content_bias, self.position_bias)
        query, key, value = self.qkv(x).view(batch, keys, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        query = query[:, :, keys - queries :]
        # Scaled here, where it is small; what is as large as the scores is gone through as few times as can be.
        scale = self.head_size**-0.5
        relative = self.position(positions).view(-1, self.heads, self.head_size).permute(1, 2, 0) * scale
        by_distance = (query + position_bias.unsqueeze(1).to(query.dtype)) @ relative
        bias = relative_shift(by_distance, keys)
        if hidden is not None:
            # Not minus infinity: of a query from which all is hidden, a softmax written out (as in exports) makes NaN.
            bias = torch.where(hidden, torch.finfo(bias.dtype).min, bias)
        query = query + content_bias.unsqueeze(1).to(query.dtype)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y = self.out(y.transpose(1, 2).reshape(batch, queries, -1))
        assert isinstance(y, Tensor)
        return y
