"""Protein language models as classifiers: the encoder, a mean over residues or its [CLS] vector, a linear layer.

letters -> embedding -> encoder between its special tokens -> mean, or [CLS] -> dropout -> linear

Without a checkpoint the weights are random, and a model of this size then learns little from few sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from seqclass.alphabets import PROTEIN, get_alphabet
from seqclass.blocks import LanguageModelEmbedding, LinearHead, MeanPool, TransformersEncoder
from seqclass.blocks.backbone import FAMILIES, Plain, bare_encoder
from seqclass.errors import AssemblyError, BackboneError, find_name
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.pretrained import Checkpoint, load_checkpoint
from seqclass.models.registry import register_model

PoolKind = Literal["mean", "cls"]
AttentionKind = Literal["sdpa", "eager"]

_PROTBERT: dict[str, Plain] = {
    "hidden_size": 1024,
    "num_hidden_layers": 30,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 40000,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
}
_ESM2: dict[str, Plain] = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 1026,
    "pad_token_id": 1,
    "position_embedding_type": "rotary",
    "rope_theta": 10000.0,
    "emb_layer_norm_before": False,
    "token_dropout": True,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-5,
}
_PROTT5: dict[str, Plain] = {
    "d_model": 1024,
    "d_kv": 128,
    "d_ff": 16384,
    "num_layers": 24,
    "num_heads": 32,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
    "initializer_factor": 1.0,
    "feed_forward_proj": "relu",
}

# What transformers calls the options.
_BERT_OPTIONS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
}
_OPTIONS = {
    "bert": _BERT_OPTIONS,
    "esm": _BERT_OPTIONS,
    "t5": {"layers": "num_layers", "width": "d_model", "heads": "num_heads", "head_size": "d_kv", "inner": "d_ff"},
}

# Special tokens before and behind a sequence: [CLS] and [SEP], <cls> and <eos>, </s>.
_SPECIAL = {"bert": (1, 1), "esm": (1, 1), "t5": (0, 1)}

# Layers, width and heads of ESM-2 as published; its feed-forward networks are four times as wide.
ESM2_SIZES = {
    "esm2_t6_8M": (6, 320, 20),
    "esm2_t12_35M": (12, 480, 20),
    "esm2_t30_150M": (30, 640, 20),
    "esm2_t33_650M": (33, 1280, 20),
    "esm2_t36_3B": (36, 2560, 40),
    "esm2_t48_15B": (48, 5120, 40),
}


@register_model
def protbert(
    num_targets: int,
    alphabet: str = "protein",
    pretrained: str | None = None,
    pool: PoolKind = "mean",
    dropout: float = 0.1,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    inner: int | None = None,
    positions: int | None = None,
    frozen_layers: int = 0,
    lora_rank: int | None = None,
    lora_alpha: int = 16,
    lora_targets: Sequence[str] | None = None,
    checkpointing: bool = False,
    attention: AttentionKind = "sdpa",
) -> SequenceClassifier:
    """ProtBert, a BERT over residues, and a linear layer. Elnaggar et al. 2021 (arXiv:2007.06225).

    Args:
        num_targets: Number of logits.
        alphabet: "protein".
        pretrained: Folder or hub name of a checkpoint, such as Rostlab/prot_bert; weights are random without one.
        pool: "mean" over residues, or "cls", the vector of the token before them.
        dropout: Share of pooled features dropped.
        layers: Number of layers; 30 by default. This and the next four are for random weights only.
        width: Channels; 1,024 by default.
        heads: Attention heads; 16 by default.
        inner: Units of the feed-forward networks; 4,096 by default.
        positions: Longest sequence, and two; 40,000 by default.
        frozen_layers: The embedding and so many layers are left as they are in training.
        lora_rank: Rank of the adapters that are trained in place of the layers above; None for none.
        lora_alpha: Their scale, divided by the rank.
        lora_targets: Names of the linear layers that get them; "query" and "value" by default.
        checkpointing: Whether activations are computed again in the backward pass, to save memory.
        attention: "sdpa", or "eager", from which attention weights can be had.

    Raises:
        BackboneError: The checkpoint cannot be had, or is no BERT over residues.
        AssemblyError: A size is given beside a checkpoint, or the parts do not fit.
        MissingPackageError: transformers, or for adapters peft, is not installed.
    """
    sizes = {"layers": layers, "width": width, "heads": heads, "inner": inner, "positions": positions}
    return _classifier(
        num_targets,
        alphabet,
        "bert",
        _PROTBERT,
        sizes,
        pretrained,
        pool,
        dropout,
        frozen_layers=frozen_layers,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_targets=lora_targets,
        checkpointing=checkpointing,
        attention=attention,
    )


@register_model
def esm2(
    num_targets: int,
    alphabet: str = "protein",
    pretrained: str | None = None,
    pool: PoolKind = "mean",
    dropout: float = 0.1,
    size: str | None = None,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    inner: int | None = None,
    positions: int | None = None,
    frozen_layers: int = 0,
    lora_rank: int | None = None,
    lora_alpha: int = 16,
    lora_targets: Sequence[str] | None = None,
    checkpointing: bool = False,
    attention: AttentionKind = "sdpa",
) -> SequenceClassifier:
    """ESM-2 and a linear layer. Lin et al. 2023 (Science 379, 1123-1130).

    Args:
        num_targets: Number of logits.
        alphabet: "protein".
        pretrained: Folder or hub name of a checkpoint, such as facebook/esm2_t12_35M_UR50D; weights are random without
            one.
        pool: "mean" over residues, or "cls", the vector of the token before them.
        dropout: Share of pooled features dropped.
        size: Of those published, from esm2_t6_8M, the default, to esm2_t48_15B. This and the next five are for random
            weights only.
        layers: Number of layers.
        width: Channels.
        heads: Attention heads.
        inner: Units of the feed-forward networks; by default four times the width.
        positions: Longest sequence, and four; 1,026 by default, though its rotary positions end nowhere.
        frozen_layers: The embedding and so many layers are left as they are in training.
        lora_rank: Rank of the adapters that are trained in place of the layers above; None for none.
        lora_alpha: Their scale, divided by the rank.
        lora_targets: Names of the linear layers that get them; "query" and "value" by default.
        checkpointing: Whether activations are computed again in the backward pass, to save memory.
        attention: "sdpa", or "eager", from which attention weights can be had.

    Raises:
        BackboneError: The checkpoint cannot be had, or is no ESM over residues.
        AssemblyError: A size is given beside a checkpoint, or the parts do not fit.
        UnknownNameError: There is no such size.
        MissingPackageError: transformers, or for adapters peft, is not installed.
    """
    name = find_name("size of ESM-2", size or "esm2_t6_8M", ESM2_SIZES)
    published = dict(zip(("num_hidden_layers", "hidden_size", "num_attention_heads"), ESM2_SIZES[name], strict=True))
    published["intermediate_size"] = 4 * (width or published["hidden_size"])
    sizes = {"size": size, "layers": layers, "width": width, "heads": heads, "inner": inner, "positions": positions}
    return _classifier(
        num_targets,
        alphabet,
        "esm",
        _ESM2 | published,
        sizes,
        pretrained,
        pool,
        dropout,
        frozen_layers=frozen_layers,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_targets=lora_targets,
        checkpointing=checkpointing,
        attention=attention,
    )


@register_model
def prott5(
    num_targets: int,
    alphabet: str = "protein",
    pretrained: str | None = None,
    dropout: float = 0.1,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    head_size: int | None = None,
    inner: int | None = None,
    frozen_layers: int = 0,
    lora_rank: int | None = None,
    lora_alpha: int = 16,
    lora_targets: Sequence[str] | None = None,
    checkpointing: bool = False,
    attention: AttentionKind = "sdpa",
) -> SequenceClassifier:
    """The encoder of ProtT5-XL, mean over residues and a linear layer. Elnaggar et al. 2021 (arXiv:2007.06225).

    Args:
        num_targets: Number of logits.
        alphabet: "protein".
        pretrained: Folder or hub name of a checkpoint, such as Rostlab/prot_t5_xl_half_uniref50-enc; weights are random
            without one.
        dropout: Share of pooled features dropped.
        layers: Number of layers; 24 by default. This and the next four are for random weights only.
        width: Channels; 1,024 by default.
        heads: Attention heads; 32 by default.
        head_size: Channels of a head; 128 by default.
        inner: Units of the feed-forward networks; 16,384 by default.
        frozen_layers: The embedding and so many layers are left as they are in training.
        lora_rank: Rank of the adapters that are trained in place of the layers above; None for none.
        lora_alpha: Their scale, divided by the rank.
        lora_targets: Names of the linear layers that get them; "q" and "v" by default.
        checkpointing: Whether activations are computed again in the backward pass, to save memory.
        attention: "sdpa", or "eager", from which attention weights can be had.

    Raises:
        BackboneError: The checkpoint cannot be had, or is no T5 over residues.
        AssemblyError: A size is given beside a checkpoint, or the parts do not fit.
        MissingPackageError: transformers, or for adapters peft, is not installed.
    """
    sizes = {"layers": layers, "width": width, "heads": heads, "head_size": head_size, "inner": inner}
    return _classifier(
        num_targets,
        alphabet,
        "t5",
        _PROTT5,
        sizes,
        pretrained,
        "mean",
        dropout,
        frozen_layers=frozen_layers,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_targets=lora_targets,
        checkpointing=checkpointing,
        attention=attention,
    )


def _classifier(
    num_targets: int,
    alphabet: str,
    family: str,
    published: Mapping[str, Plain],
    sizes: Mapping[str, int | str | None],
    pretrained: str | None,
    pool: PoolKind,
    dropout: float,
    **training: Any,
) -> SequenceClassifier:
    """A language model of that family and a linear layer, with random weights or a checkpoint's."""
    if get_alphabet(alphabet) is not PROTEIN:
        raise AssemblyError(f"a language model of proteins for {alphabet}", remedy="Choose a model of DNA")
    whole = find_name("pooling", pool, get_args(PoolKind)) == "cls"
    given = {key: value for key, value in sizes.items() if value is not None}
    checkpoint = None if pretrained is None else _checkpoint(pretrained, family, given)
    if checkpoint is None:
        config = {**published, **{_OPTIONS[family][key]: value for key, value in given.items() if key != "size"}}
        before, behind = _SPECIAL[family]
    else:
        config = checkpoint.config
        before, behind = len(checkpoint.vocabulary.before), len(checkpoint.vocabulary.behind)
    encoder = TransformersEncoder(family, config, before, behind, whole, **training)
    embedding = LanguageModelEmbedding(
        encoder.in_channels,
        PROTEIN.name,
        float(config[FAMILIES[family].deviation] or 0),
        frozen=training["frozen_layers"] > 0 or training["lora_rank"] is not None,
    )
    if checkpoint is not None:
        ids = checkpoint.vocabulary
        rows = checkpoint.model.get_input_embeddings().weight.detach()
        embedding.load_state_dict({"weight": rows[ids.letters]})
        encoder.load_weights(bare_encoder(family, checkpoint.model).state_dict(), rows[[*ids.before, *ids.behind]])
    head = LinearHead(encoder.out_channels, num_targets, MeanPool(), dropout)
    return SequenceClassifier(embedding, None, encoder, head, None, PROTEIN.name)


def _checkpoint(name: str, family: str, given: Mapping[str, int | str]) -> Checkpoint:
    if given:
        raise AssemblyError(
            f"{', '.join(given)} given beside a checkpoint, which has its own", remedy="Leave one or the other out"
        )
    checkpoint = load_checkpoint(name)
    if checkpoint.family != family:
        raise BackboneError(
            f"this is a model of the family '{checkpoint.family}', where '{family}' is expected",
            remedy="Choose protbert for a BERT, esm2 for an ESM, prott5 for a T5",
            file=name,
        )
    return checkpoint
