"""The models as they are usually written: channels first, single precision, every step its own kernel.

`OriginalDnaModel` is the form of the original DNA model: `(batch, channels, length)` convolutions and batch norms, and
a Transformer-XL on `(length, batch, channels)` whose position scores are shifted by writing out a padded copy, with
element-wise dropout. `PaddedProtCNN` takes domains padded to one length. Both have the weights of this library's model,
so that equal results prove that the same thing is timed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks import ProtCNNStem, TransformerXLEncoder, WideResNetStem
from seqclass.blocks.masking import MaskedBatchNorm
from seqclass.blocks.wide_resnet import BottleneckBlock
from seqclass.models import SequenceClassifier


def convolution(own: nn.Module, stride: int = 1, dilation: int = 1) -> nn.Conv1d:
    weight, bias = own.weight, getattr(own, "bias", None)
    channels_out, channels_in, size = weight.shape
    padding = dilation * (size // 2)
    made = nn.Conv1d(channels_in, channels_out, size, stride, padding, dilation, bias=bias is not None)
    return _with(made, own)


def batch_norm(own: MaskedBatchNorm) -> nn.BatchNorm1d:
    return _with(nn.BatchNorm1d(len(own.weight)), own)


def linear(own: nn.Linear) -> nn.Linear:
    return _with(nn.Linear(own.in_features, own.out_features, own.bias is not None), own)


def _with(made, own):
    made.load_state_dict(own.state_dict(), strict=False)
    return made


class Block(nn.Module):
    def __init__(self, own: BottleneckBlock) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            batch_norm(norm) for norm in (own.norm_in, own.norm_inner, own.norm_out, own.norm_shortcut)
        )
        self.reduce, self.convolve = convolution(own.reduce, own.stride), convolution(own.convolve)
        self.restore, self.shortcut = convolution(own.restore), convolution(own.shortcut, own.stride)
        self.squeeze, self.excite = linear(own.squeeze_excitation.squeeze), linear(own.squeeze_excitation.excite)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(F.relu(self.norms[0](x)))
        y = self.convolve(F.relu(self.norms[1](y)))
        y = self.restore(F.relu(self.norms[2](y)))
        gate = torch.sigmoid(F.relu(self.excite(F.relu(self.squeeze(y.mean(dim=2))))))
        return y * gate.unsqueeze(2) + self.shortcut(F.relu(self.norms[3](x)))


class AttentionLayer(nn.Module):
    def __init__(self, own: nn.Module, dropout: float) -> None:
        super().__init__()
        attention = own.attention
        self.heads, self.size = attention.heads, attention.head_size
        self.qkv, self.position, self.out = linear(attention.qkv), linear(attention.position), linear(attention.out)
        self.u = nn.Parameter(attention.content_bias.detach().clone())
        self.v = nn.Parameter(attention.position_bias.detach().clone())
        self.network = nn.Sequential(
            linear(own.feed_forward[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            linear(own.feed_forward[2]),
            nn.Dropout(dropout),
        )
        channels = attention.qkv.in_features
        self.norm_attention = _with(nn.LayerNorm(channels), own.norm_attention)
        self.norm_network = _with(nn.LayerNorm(channels), own.norm_feed_forward)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, hidden: Tensor) -> Tensor:
        length, batch, _ = x.shape
        query, key, value = self.qkv(x).view(length, batch, 3, self.heads, self.size).unbind(2)
        relative = self.position(positions).view(length, self.heads, self.size)
        content = torch.einsum("ibnd,jbnd->ijbn", query + self.u, key)
        distance = self.shift(torch.einsum("ibnd,jnd->ijbn", query + self.v, relative))
        scores = ((content + distance) * self.size**-0.5).masked_fill(hidden, -1e30)
        weights = self.dropout(F.softmax(scores, dim=1))
        y = torch.einsum("ijbn,jbnd->ibnd", weights, value).reshape(length, batch, -1)
        x = self.norm_attention(x + self.dropout(self.out(y)))
        return self.norm_network(x + self.network(x))

    @staticmethod
    def shift(scores: Tensor) -> Tensor:
        rows, columns, *rest = scores.shape
        padded = torch.cat([scores.new_zeros(rows, 1, *rest), scores], dim=1)
        return padded.view(columns + 1, rows, *rest)[1:].view_as(scores)


class OriginalDnaModel(nn.Module):
    """Tokens `(batch, length)` to logits, of the same weights as a causal `wrn_transformer_xl`."""

    def __init__(self, own: SequenceClassifier) -> None:
        super().__init__()
        stem, encoder, head = own.stem, own.encoder, own.head
        assert isinstance(stem, WideResNetStem)
        assert isinstance(encoder, TransformerXLEncoder)
        assert encoder.causal
        channels = own.embedding.out_channels
        self.embedding = _with(nn.Embedding(4, channels), own.embedding)
        self.norm_letters = _with(nn.LayerNorm(channels), own.embedding.norm)
        self.stem = nn.Sequential(
            convolution(stem.convolve), *map(Block, stem.blocks), batch_norm(stem.norm), nn.ReLU()
        )
        self.layers = nn.ModuleList(AttentionLayer(layer, layer.dropout.probability) for layer in encoder.layers)
        self.dense, self.norm, self.out = linear(head.dense), batch_norm(head.norm), linear(head.out)
        self.dropout = nn.Dropout(head.dropout.p)
        # Flattened channel by channel, where ours is position by position.
        hidden, positions = len(head.dense.weight), head.pool.length
        columns = head.dense.weight.detach().view(hidden, positions, -1).transpose(1, 2).reshape(hidden, -1)
        self.dense.weight = nn.Parameter(columns.clone())

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm_letters(self.embedding(tokens.int())).transpose(1, 2)
        x = self.stem(x)
        y = x.permute(2, 0, 1)
        length, _, channels = y.shape
        place = torch.arange(length - 1, -1, -1.0, device=x.device)
        rates = 1 / (10_000 ** (torch.arange(0, channels, 2.0, device=x.device) / channels))
        angles = place.unsqueeze(1) * rates
        positions = torch.cat([angles.sin(), angles.cos()], dim=1)
        hidden = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)[:, :, None, None]
        for layer in self.layers:
            y = layer(y, positions, hidden)
        x = torch.cat([x, y.permute(1, 2, 0)], dim=1).flatten(1)
        return self.out(self.dropout(F.relu(self.norm(self.dense(x)))))


class PaddedProtCNN(nn.Module):
    """Tokens `(batch, 512)` and a mask to logits, of the same weights as a `protcnn`."""

    def __init__(self, own: SequenceClassifier) -> None:
        super().__init__()
        stem = own.stem
        assert isinstance(stem, ProtCNNStem)
        self.first = convolution(stem.convolve)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    batch_norm(block.norm_in),
                    convolution(block.reduce, dilation=block.reduce.dilation),
                    batch_norm(block.norm_out),
                    convolution(block.restore),
                ]
            )
            for block in stem.blocks
        )
        self.out = linear(own.head.out)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        there = mask.unsqueeze(1)
        letters = F.one_hot(tokens.clamp_max(19).long(), 20).transpose(1, 2).float() * there
        x = self.first(letters)
        for norm_in, reduce, norm_out, restore in self.blocks:
            y = reduce(F.relu(norm_in(x)) * there)
            x = x + restore(F.relu(norm_out(y)) * there)
        return self.out(x.masked_fill(~there, float("-inf")).amax(dim=2))
