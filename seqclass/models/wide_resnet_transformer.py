"""WideResNet stem + Transformer-XL encoder + skip-connected dense head: the library's DNA model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from seqclass.alphabets import get_alphabet
from seqclass.blocks import (
    CentreMax,
    DenseHead,
    Flatten,
    LearnedEmbedding,
    OneHotEmbedding,
    Pool,
    TransformerXLEncoder,
    WideResNetStem,
)
from seqclass.errors import AssemblyError
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.registry import register_model


@register_model
def wrn_transformer_xl(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    bin: int | None = 200,
    embedding: Literal["learned", "one-hot"] = "learned",
    channels: int = 64,
    widths: Sequence[int] = (64, 128, 256),
    strides: Sequence[int] = (2, 2, 2),
    expansion: int = 16,
    layers: int = 6,
    heads: int = 4,
    head_size: int = 16,
    inner: int = 256,
    causal: bool = False,
    encoder_dropout: float = 0.1,
    pool: Literal["flatten", "centre-max"] = "flatten",
    hidden: int = 512,
    head_dropout: float = 0.3,
) -> SequenceClassifier:
    """WideResNet stem, Transformer-XL encoder and dense head: 39,286,287 parameters at 919 targets and 1,000 bp.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample; only a flattening head needs and keeps it.
        bin: Residues in the middle that the labels describe, over which "centre-max" averages; None for all of them.
        embedding: Learned vectors of `channels`, or one-hot letters.
        channels: Channels of the learned embedding and of the first convolution.
        widths: Output channels of each residual block.
        strides: Stride of each residual block.
        expansion: Width factor of the residual blocks.
        layers: Encoder layers.
        heads: Attention heads.
        head_size: Channels of an attention head.
        inner: Units of the encoder's feed-forward networks.
        causal: Whether the encoder sees only what lies before.
        encoder_dropout: Share of channels dropped in the encoder.
        pool: "flatten" for one fixed length as in the original; "centre-max" for any length.
        hidden: Units of the head's dense layer.
        head_dropout: Share of them dropped.

    Returns:
        A model that takes `(batch, length)` tokens.

    Raises:
        AssemblyError: The head is to flatten, and samples are of no one length; or two blocks do not fit.
    """
    if pool == "flatten" and length is None:
        raise AssemblyError(
            "samples differ in length, and a head that flattens positions takes one",
            remedy="Build the model with --model.pool centre-max",
        )
    letters = OneHotEmbedding(alphabet) if embedding == "one-hot" else LearnedEmbedding(channels, alphabet)
    stem = WideResNetStem(letters.out_channels, channels, widths, strides, expansion)
    encoder = TransformerXLEncoder(stem.out_channels, layers, heads, head_size, inner, causal, encoder_dropout)
    pooling: Pool
    if pool == "flatten":
        pooling = Flatten(stem.out_length(length or 0))
    else:
        pooling, length = CentreMax(None if bin is None else max(1, bin // stem.stride)), None
    head = DenseHead(2 * stem.out_channels, num_targets, pooling, hidden, head_dropout)
    return SequenceClassifier(letters, stem, encoder, head, "concatenate", get_alphabet(alphabet).name, length)
