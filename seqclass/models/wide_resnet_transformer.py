"""The library's DNA family: a WideResNet stem, an encoder that looks far or none, and a dense head on both.

letters -> WideResNet stem -+-> Transformer-XL, BERT, BiLSTM or nothing -+-> dense head
                            +---------------- skip ----------------+
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from seqclass.alphabets import get_alphabet
from seqclass.blocks import (
    BiLSTMEncoder,
    CentreMax,
    DenseHead,
    Flatten,
    LearnedEmbedding,
    OneHotEmbedding,
    Pool,
    TransformersEncoder,
    TransformerXLEncoder,
    WideResNetStem,
)
from seqclass.blocks.backbone import Plain
from seqclass.errors import AssemblyError, find_name
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.registry import register_model

EmbeddingKind = Literal["learned", "one-hot"]
PoolKind = Literal["flatten", "centre-max"]


@register_model
def wrn_transformer_xl(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    bin: int | None = 200,
    embedding: EmbeddingKind = "learned",
    channels: int = 64,
    widths: Sequence[int] = (64, 128, 256),
    strides: Sequence[int] = (2, 2, 2),
    expansion: int = 16,
    kernel_size: int = 3,
    squeeze_ratio: int | None = 8,
    groups: int = 1,
    group_width: int | None = None,
    stem_dropout: float = 0.0,
    layers: int = 6,
    heads: int = 4,
    head_size: int = 16,
    inner: int = 256,
    causal: bool = False,
    encoder_dropout: float = 0.1,
    norm: Literal["post", "pre"] = "post",
    shared_biases: bool = False,
    clamp_length: int | None = None,
    pool: PoolKind = "flatten",
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
        expansion: Width factor k of the residual blocks, which are k * out / 4 channels wide inside; 1 for plain ones.
        kernel_size: Kernel inside the residual blocks.
        squeeze_ratio: Of their squeeze-excitation, None for none.
        groups: Groups of their inner convolutions.
        group_width: Channels of a group, for a ResNeXt: its blocks are groups * group_width * 2^level wide inside.
        stem_dropout: Share of channels dropped in each residual block.
        layers: Encoder layers.
        heads: Attention heads.
        head_size: Channels of an attention head.
        inner: Units of the encoder's feed-forward networks.
        causal: Whether the encoder sees only what lies before.
        encoder_dropout: Share of channels dropped in the encoder.
        norm: "post" normalises after attention and feed-forward networks, "pre" before them.
        shared_biases: Whether all encoder layers share their content and position biases.
        clamp_length: Positions further apart count as this far apart, None for no such limit.
        pool: "flatten" for one fixed length as in the original; "centre-max" for any length.
        hidden: Units of the head's dense layer.
        head_dropout: Share of them dropped.

    Returns:
        A model that takes `(batch, length)` tokens.

    Raises:
        AssemblyError: The head is to flatten, and samples are of no one length; or two blocks do not fit.
    """
    letters = _embedding(embedding, channels, alphabet)
    stem = WideResNetStem(
        letters.out_channels,
        channels,
        widths,
        strides,
        expansion,
        kernel_size=kernel_size,
        squeeze_ratio=squeeze_ratio,
        dropout=stem_dropout,
        groups=groups,
        group_width=group_width,
    )
    encoder = TransformerXLEncoder(
        stem.out_channels,
        layers,
        heads,
        head_size,
        inner,
        causal,
        encoder_dropout,
        norm=norm,
        shared_biases=shared_biases,
        clamp_length=clamp_length,
    )
    return _assemble(letters, stem, encoder, num_targets, pool, length, bin, hidden, head_dropout)


@register_model
def wrn_bilstm(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    bin: int | None = 200,
    embedding: EmbeddingKind = "learned",
    channels: int = 64,
    widths: Sequence[int] = (64, 128, 256),
    strides: Sequence[int] = (2, 2, 2),
    expansion: int = 16,
    kernel_size: int = 3,
    squeeze_ratio: int | None = 8,
    groups: int = 1,
    group_width: int | None = None,
    stem_dropout: float = 0.0,
    layers: int = 1,
    units: int = 256,
    directions: Literal["add", "concatenate"] = "add",
    encoder_dropout: float = 0.1,
    pool: PoolKind = "flatten",
    hidden: int = 512,
    head_dropout: float = 0.3,
) -> SequenceClassifier:
    """WideResNet stem, bidirectional LSTM and dense head.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample; only a flattening head needs and keeps it.
        bin: Residues in the middle that the labels describe, over which "centre-max" averages; None for all of them.
        embedding: Learned vectors of `channels`, or one-hot letters.
        channels: Channels of the learned embedding and of the first convolution.
        widths: Output channels of each residual block.
        strides: Stride of each residual block.
        expansion: Width factor k of the residual blocks, which are k * out / 4 channels wide inside; 1 for plain ones.
        kernel_size: Kernel inside the residual blocks.
        squeeze_ratio: Of their squeeze-excitation, None for none.
        groups: Groups of their inner convolutions.
        group_width: Channels of a group, for a ResNeXt: its blocks are groups * group_width * 2^level wide inside.
        stem_dropout: Share of channels dropped in each residual block.
        layers: LSTM layers.
        units: Units of each direction.
        directions: How the two directions join: "add", or "concatenate" to twice as many channels.
        encoder_dropout: Share of units dropped between layers, and of channels behind the last.
        pool: "flatten" for one fixed length; "centre-max" for any length.
        hidden: Units of the head's dense layer.
        head_dropout: Share of them dropped.

    Returns:
        A model that takes `(batch, length)` tokens.

    Raises:
        AssemblyError: The head is to flatten, and samples are of no one length; or two blocks do not fit.
    """
    letters = _embedding(embedding, channels, alphabet)
    stem = WideResNetStem(
        letters.out_channels,
        channels,
        widths,
        strides,
        expansion,
        kernel_size=kernel_size,
        squeeze_ratio=squeeze_ratio,
        dropout=stem_dropout,
        groups=groups,
        group_width=group_width,
    )
    encoder = BiLSTMEncoder(stem.out_channels, units, layers, directions, dropout=encoder_dropout)
    return _assemble(letters, stem, encoder, num_targets, pool, length, bin, hidden, head_dropout)


@register_model
def wrn_bert(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    bin: int | None = 200,
    embedding: EmbeddingKind = "learned",
    channels: int = 64,
    widths: Sequence[int] = (64, 128, 256),
    strides: Sequence[int] = (2, 2, 2),
    expansion: int = 16,
    kernel_size: int = 3,
    squeeze_ratio: int | None = 8,
    groups: int = 1,
    group_width: int | None = None,
    stem_dropout: float = 0.0,
    layers: int = 6,
    heads: int = 4,
    inner: int = 1024,
    positions: int = 512,
    encoder_dropout: float = 0.1,
    pool: PoolKind = "flatten",
    hidden: int = 512,
    head_dropout: float = 0.3,
) -> SequenceClassifier:
    """WideResNet stem, BERT's encoder with learned positions, and dense head. Devlin et al. 2019 (arXiv:1810.04805).

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample; only a flattening head needs and keeps it.
        bin: Residues in the middle that the labels describe, over which "centre-max" averages; None for all of them.
        embedding: Learned vectors of `channels`, or one-hot letters.
        channels: Channels of the learned embedding and of the first convolution.
        widths: Output channels of each residual block.
        strides: Stride of each residual block.
        expansion: Width factor k of the residual blocks, which are k * out / 4 channels wide inside; 1 for plain ones.
        kernel_size: Kernel inside the residual blocks.
        squeeze_ratio: Of their squeeze-excitation, None for none.
        groups: Groups of their inner convolutions.
        group_width: Channels of a group, for a ResNeXt: its blocks are groups * group_width * 2^level wide inside.
        stem_dropout: Share of channels dropped in each residual block.
        layers: Encoder layers.
        heads: Attention heads, which share the last of the `widths`.
        inner: Units of the encoder's feed-forward networks.
        positions: The most that the stem may leave.
        encoder_dropout: Share of units and of attention weights dropped in the encoder.
        pool: "flatten" for one fixed length; "centre-max" for any length.
        hidden: Units of the head's dense layer.
        head_dropout: Share of them dropped.

    Returns:
        A model that takes `(batch, length)` tokens.

    Raises:
        AssemblyError: The head is to flatten, and samples are of no one length; or two blocks do not fit.
        MissingPackageError: The transformers package is not installed.
    """
    letters = _embedding(embedding, channels, alphabet)
    stem = WideResNetStem(
        letters.out_channels,
        channels,
        widths,
        strides,
        expansion,
        kernel_size=kernel_size,
        squeeze_ratio=squeeze_ratio,
        dropout=stem_dropout,
        groups=groups,
        group_width=group_width,
    )
    config: dict[str, Plain] = {
        "hidden_size": stem.out_channels,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "hidden_act": "gelu",
        "hidden_dropout_prob": encoder_dropout,
        "attention_probs_dropout_prob": encoder_dropout,
        "max_position_embeddings": positions,
        "type_vocab_size": 1,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
    }
    encoder = TransformersEncoder("bert", config)
    return _assemble(letters, stem, encoder, num_targets, pool, length, bin, hidden, head_dropout)


@register_model
def wrn(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    bin: int | None = 200,
    embedding: EmbeddingKind = "learned",
    channels: int = 64,
    widths: Sequence[int] = (64, 128, 256),
    strides: Sequence[int] = (2, 2, 2),
    expansion: int = 16,
    kernel_size: int = 3,
    squeeze_ratio: int | None = 8,
    groups: int = 1,
    group_width: int | None = None,
    stem_dropout: float = 0.0,
    pool: PoolKind = "flatten",
    hidden: int = 512,
    head_dropout: float = 0.3,
) -> SequenceClassifier:
    """WideResNet stem and dense head, with nothing between them.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample; only a flattening head needs and keeps it.
        bin: Residues in the middle that the labels describe, over which "centre-max" averages; None for all of them.
        embedding: Learned vectors of `channels`, or one-hot letters.
        channels: Channels of the learned embedding and of the first convolution.
        widths: Output channels of each residual block.
        strides: Stride of each residual block.
        expansion: Width factor k of the residual blocks, which are k * out / 4 channels wide inside; 1 for plain ones.
        kernel_size: Kernel inside the residual blocks.
        squeeze_ratio: Of their squeeze-excitation, None for none.
        groups: Groups of their inner convolutions.
        group_width: Channels of a group, for a ResNeXt: its blocks are groups * group_width * 2^level wide inside.
        stem_dropout: Share of channels dropped in each residual block.
        pool: "flatten" for one fixed length; "centre-max" for any length.
        hidden: Units of the head's dense layer.
        head_dropout: Share of them dropped.

    Returns:
        A model that takes `(batch, length)` tokens.

    Raises:
        AssemblyError: The head is to flatten, and samples are of no one length; or two blocks do not fit.
    """
    letters = _embedding(embedding, channels, alphabet)
    stem = WideResNetStem(
        letters.out_channels,
        channels,
        widths,
        strides,
        expansion,
        kernel_size=kernel_size,
        squeeze_ratio=squeeze_ratio,
        dropout=stem_dropout,
        groups=groups,
        group_width=group_width,
    )
    return _assemble(letters, stem, None, num_targets, pool, length, bin, hidden, head_dropout)


def _embedding(kind: EmbeddingKind, channels: int, alphabet: str) -> OneHotEmbedding | LearnedEmbedding:
    alphabet = get_alphabet(alphabet).name
    is_learned = find_name("embedding", kind, get_args(EmbeddingKind)) == "learned"
    return LearnedEmbedding(channels, alphabet) if is_learned else OneHotEmbedding(alphabet)


def _assemble(
    letters: OneHotEmbedding | LearnedEmbedding,
    stem: WideResNetStem,
    encoder: TransformerXLEncoder | BiLSTMEncoder | TransformersEncoder | None,
    num_targets: int,
    pool: PoolKind,
    length: int | None,
    bin: int | None,
    hidden: int,
    dropout: float,
) -> SequenceClassifier:
    """Puts the head on, which sees stem and encoder side by side."""
    pooling: Pool
    if bin is not None and bin < 1:
        raise AssemblyError(f"a bin of {bin} residues", remedy="Let there be at least 1, or None for all")
    if find_name("pooling", pool, get_args(PoolKind)) == "centre-max":
        pooling, length = CentreMax(None if bin is None else max(1, bin // stem.stride)), None
    elif length is None:
        raise AssemblyError(
            "samples differ in length, and a head that flattens positions takes one",
            remedy="Build the model with --model.pool centre-max",
        )
    else:
        pooling = Flatten(stem.out_length(length))
    joined = stem.out_channels if encoder is None else stem.out_channels + encoder.out_channels
    head = DenseHead(joined, num_targets, pooling, hidden, dropout)
    return SequenceClassifier(letters, stem, encoder, head, "concatenate", letters.letters.name, length)
