"""A Transformer-XL over single letters, without a stem: what a language model of the same shape can start."""

from __future__ import annotations

from typing import Literal

from seqclass.alphabets import get_alphabet
from seqclass.blocks import CentreMax, LearnedEmbedding, LinearHead, TransformerXLEncoder
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.language import TransformerXLLM
from seqclass.models.registry import register_model


@register_model
def transformer_xl(
    num_targets: int,
    alphabet: str = "dna",
    bin: int | None = None,
    channels: int = 128,
    layers: int = 4,
    heads: int = 4,
    head_size: int = 32,
    inner: int = 256,
    causal: bool = False,
    encoder_dropout: float = 0.1,
    norm: Literal["post", "pre"] = "pre",
    head_dropout: float = 0.1,
) -> SequenceClassifier:
    """Transformer-XL over single letters, and a linear layer on its middle and its maximum; any length.

    With `causal` it takes over the weights of a `TransformerXLLM` of the same sizes. Attention costs the square of the
    length: for long windows, a stem that shortens them first is much faster.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        bin: Residues in the middle over which the mean is taken; None for all of them.
        channels: Channels of the embedding and the encoder.
        layers: Encoder layers.
        heads: Attention heads.
        head_size: Channels of an attention head.
        inner: Units of the feed-forward networks.
        causal: Whether a position sees only what lies before.
        encoder_dropout: Share of channels dropped in the encoder.
        norm: "pre" normalises before attention and feed-forward networks, "post" after them.
        head_dropout: Share of pooled features dropped.
    """
    letters = LearnedEmbedding(channels, get_alphabet(alphabet).name)
    encoder = _encoder(channels, layers, heads, head_size, inner, causal, encoder_dropout, norm)
    head = LinearHead(channels, num_targets, CentreMax(bin), head_dropout)
    return SequenceClassifier(letters, None, encoder, head, None, letters.letters.name)


def transformer_xl_lm(
    alphabet: str = "dna",
    channels: int = 128,
    layers: int = 4,
    heads: int = 4,
    head_size: int = 32,
    inner: int = 256,
    dropout: float = 0.1,
    norm: Literal["post", "pre"] = "pre",
    memory_length: int = 512,
    tied: bool = False,
) -> TransformerXLLM:
    """The language model whose weights `transformer_xl(causal=True)` of the same sizes takes over.

    Args:
        alphabet: "dna" or "protein".
        channels: Channels of the embedding and the encoder.
        layers: Encoder layers.
        heads: Attention heads.
        head_size: Channels of an attention head.
        inner: Units of the feed-forward networks.
        dropout: Share of channels dropped.
        norm: Where layer norms stand.
        memory_length: Letters that are remembered of the segments before.
        tied: Whether a letter is recognised by the vector that it is embedded as.
    """
    letters = LearnedEmbedding(channels, get_alphabet(alphabet).name)
    encoder = _encoder(channels, layers, heads, head_size, inner, True, dropout, norm, memory_length)
    return TransformerXLLM(letters, encoder, tied)


def _encoder(
    channels: int,
    layers: int,
    heads: int,
    head_size: int,
    inner: int,
    causal: bool,
    dropout: float,
    norm: Literal["post", "pre"],
    memory_length: int = 512,
) -> TransformerXLEncoder:
    return TransformerXLEncoder(
        channels, layers, heads, head_size, inner, causal, dropout, norm, memory_length=memory_length
    )
