"""The encoders of protein language models, in the layers of transformers: BERT (ProtBert), ESM-2, T5 (ProtT5).

An encoder takes vectors, whatever gives them: the embedding of residues that was trained with it, or a convolutional
stem. Both parts are built from plain data; where their weights come from is not theirs to know. Elnaggar et al. 2021
(IEEE TPAMI 44, 7112-7127) for ProtBert and ProtT5, Lin et al. 2023 (Science 379, 1123-1130) for ESM-2.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from seqclass.alphabets import Alphabet, get_alphabet
from seqclass.blocks.base import Block, register_block
from seqclass.blocks.embedding import Embedding, check_letters
from seqclass.blocks.lora import add_lora, merge_lora
from seqclass.blocks.masking import zero_padding
from seqclass.errors import AssemblyError, MissingPackageError, find_name

Plain = bool | int | float | str | None
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Family:
    """What differs between the language models of transformers.

    Attributes:
        config_class: Name of its configuration's class there.
        model_class: Name of the class of the model without a head.
        keys: Of the configuration, what shapes the encoder.
        width, depth, deviation: The keys that hold its channels, its layers and the scale of its initial weights.
        layers, last_norm: Where the model keeps its layers, and the normalisation behind the last of them.
        lora_targets: The linear layers that get adapters, unless others are asked for.
    """

    config_class: str
    model_class: str
    keys: tuple[str, ...]
    width: str
    depth: str
    deviation: str
    layers: str
    last_norm: str | None
    lora_targets: tuple[str, ...]


_BERT_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "initializer_range",
    "layer_norm_eps",
)
_T5_KEYS = (
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_heads",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "dropout_rate",
    "layer_norm_epsilon",
    "initializer_factor",
    "feed_forward_proj",
)

# Of the configurations, what is a number of things.
_SIZES = {
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_heads",
}

FAMILIES = {
    "t5": Family(
        "T5Config",
        "T5EncoderModel",
        _T5_KEYS,
        "d_model",
        "num_layers",
        "initializer_factor",
        "block",
        "final_layer_norm",
        ("q", "v"),
    ),
    "bert": Family(
        "BertConfig",
        "BertModel",
        (*_BERT_KEYS, "hidden_act", "type_vocab_size"),
        "hidden_size",
        "num_hidden_layers",
        "initializer_range",
        "encoder.layer",
        None,
        ("query", "value"),
    ),
    "esm": Family(
        "EsmConfig",
        "EsmModel",
        (
            *_BERT_KEYS,
            "pad_token_id",
            "position_embedding_type",
            "rope_theta",
            "emb_layer_norm_before",
            "token_dropout",
        ),
        "hidden_size",
        "num_hidden_layers",
        "initializer_range",
        "encoder.layer",
        "encoder.emb_layer_norm_after",
        ("query", "value"),
    ),
}

# While ESM was trained, 80 % of the 15 % of residues to be guessed were zeroed, and it makes up for that afterwards.
_ESM_KEPT = 1 - 0.15 * 0.8


def import_transformers() -> Any:
    """The transformers package, which is imported only where a language model is built.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import transformers
    except ImportError:
        raise MissingPackageError("a language model", "transformers", "transformers") from None
    return transformers


def bare_encoder(family: str, model: Any) -> Any:
    """The part of a transformers model of a family that takes vectors and gives vectors."""
    return model.encoder if family == "t5" else model


def num_positions(family: str, config: Mapping[str, Any]) -> int | None:
    """How many tokens a model takes, special ones included; None for any number."""
    if family == "t5":
        return None
    # ESM counts positions from behind the padding id.
    unused = config["pad_token_id"] + 1 if family == "esm" else 0
    return int(config["max_position_embeddings"]) - unused


@register_block
class LanguageModelEmbedding(Embedding):
    """Tokens `(batch, length)` to learned vectors `(batch, length, channels)`, with a vector of its own for X.

    Language models were trained with an unknown residue, so it is not the mean of the letters here. Of soft letters
    `(batch, length, letters)`, what all letters have in common counts as unknown:

        vector(p) = sum_i (p_i - m) vector(i) + letters * m * vector(X),   m = max(0, min_i p_i)

    so that a letter's one-hot vector gives the letter's, `1 / letters` for each gives that of X, and in between nothing
    jumps.

    Args:
        channels: Size of the vectors.
        alphabet: "protein" or "dna".
        deviation: Standard deviation of the initial weights.
        frozen: Whether training leaves the vectors as they are.
    """

    letters: Alphabet

    def __init__(self, channels: int, alphabet: str = "protein", deviation: float = 0.02, frozen: bool = False) -> None:
        super().__init__()
        if channels < 1:
            raise AssemblyError(f"an embedding of {channels} channels", remedy="Let there be at least 1")
        self.letters = get_alphabet(alphabet)
        self.out_channels = channels
        weight = deviation * torch.randn(self.letters.unknown_token + 1, channels)
        self.weight = nn.Parameter(weight, requires_grad=not frozen)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        check_letters(x, self.letters)
        if x.is_floating_point():
            # Where a letter is absent, the gradient of relu is zero, and that of each letter its own vector.
            common = torch.relu(x.amin(dim=-1, keepdim=True))
            x = torch.cat([x - common, x.shape[-1] * common], dim=-1)
            return zero_padding(x.to(self.weight.dtype) @ self.weight, mask), mask
        return zero_padding(nn.functional.embedding(x.int(), self.weight), mask), mask


@register_block
class TransformersEncoder(Block):
    """The layers of BERT, ESM or T5's encoder, as transformers computes them, on `(batch, length, channels)`.

    Vectors of special tokens stand before the first and behind the last real residue, which real residues come first in
    the mask; they are seen by the layers and are no part of the output. Weights are random until they are loaded.

    Args:
        family: "bert", "esm" or "t5".
        config: What shapes the encoder, under the names that transformers has for it: all of `FAMILIES[family].keys`.
        before: Number of special tokens before the sequence, such as [CLS].
        behind: Number of special tokens behind it, such as [SEP].
        whole: Whether the output is one vector for the whole sequence, that of the first special token, `(batch, 1,
            channels)`.
        frozen_layers: So many layers, and all before them, are left as they are in training.
        lora_rank: Rank of the adapters that are trained in place of the layers above; None for none.
        lora_alpha: Their scale, divided by the rank.
        lora_targets: Names of the linear layers that get them. Default: those of queries and values.
        checkpointing: Whether activations are computed again in the backward pass, to save memory.
        attention: "sdpa", or "eager", from which weights can be had.

    Raises:
        UnknownNameError: There is no such family.
        AssemblyError: The configuration lacks something or has more, transformers cannot build it, or a number is out
            of range.
        MissingPackageError: transformers, or for adapters peft, is not installed.
    """

    def __init__(
        self,
        family: str,
        config: Mapping[str, Plain],
        before: int = 0,
        behind: int = 0,
        whole: bool = False,
        frozen_layers: int = 0,
        lora_rank: int | None = None,
        lora_alpha: int = 16,
        lora_targets: Sequence[str] | None = None,
        checkpointing: bool = False,
        attention: Literal["sdpa", "eager"] = "sdpa",
    ) -> None:
        super().__init__()
        family = find_name("language-model family", family, FAMILIES)
        kind = FAMILIES[family]
        _check(kind, config)
        if min(before, behind) < 0:
            raise AssemblyError(f"{before} and {behind} special tokens", remedy="Let each number be at least 0")
        if whole and not before:
            raise AssemblyError(
                "the vector of the first special token is asked for, and there is none before the sequence",
                remedy="Take the mean over residues",
            )
        if attention not in ("sdpa", "eager"):
            raise AssemblyError(f"'{attention}' attention", remedy='Choose "sdpa" or "eager"')
        self.model = _build(family, config, attention, checkpointing)
        self.in_channels = self.out_channels = int(config[kind.width] or 0)
        special = float(config[kind.deviation] or 0) * torch.randn(before + behind, self.in_channels)
        self.special = nn.Parameter(special) if before + behind else None
        self.family = family
        self.before = before
        self.whole = whole
        self.scale = _ESM_KEPT if family == "esm" and config["token_dropout"] else 1.0
        positions = num_positions(family, config)
        self.longest = None if positions is None else positions - before - behind
        if self.longest is not None and self.longest < 1:
            raise AssemblyError(
                f"an encoder of {positions} positions, {before + behind} of them for special tokens",
                remedy="Build it with more positions",
            )
        self._freeze(kind, frozen_layers, lora_rank, lora_alpha, lora_targets)

    def _freeze(self, kind: Family, frozen: int, rank: int | None, alpha: int, targets: Sequence[str] | None) -> None:
        layers = self.model.get_submodule(kind.layers)
        if not 0 <= frozen <= len(layers):
            raise AssemblyError(f"{frozen} frozen layers of {len(layers)}", remedy=f"Choose 0 to {len(layers)}")
        if not frozen and rank is None:
            return
        self.requires_grad_(False)
        trained = list(layers)[frozen:]
        if rank is not None and not trained:
            raise AssemblyError(f"adapters, and all {frozen} layers are frozen", remedy="Freeze fewer layers")
        if rank is not None:
            add_lora(trained, rank, alpha, kind.lora_targets if targets is None else targets)
        elif trained:
            last = [self.model.get_submodule(kind.last_norm)] if kind.last_norm else []
            for part in (*trained, *last):
                part.requires_grad_(True)

    def load_weights(self, weights: Mapping[str, Tensor], special: Tensor) -> None:
        """Takes over the weights of a transformers model, and the vectors `(before + behind, channels)` of its tokens.

        Args:
            weights: The state dict of `bare_encoder`; what is beside the layers, such as a pooler, is left out.
            special: In the order of the sequence.
        """
        own = {key: key.replace(".base_layer.", ".") for key in self.model.state_dict()}
        taken = {key: weights[name] for key, name in own.items() if ".lora_" not in key}
        self.model.load_state_dict(taken, strict=False)
        if self.special is not None:
            with torch.no_grad():
                self.special.copy_(special)

    def merge(self) -> None:
        """Adds what adapters have learned to the weights; the encoder is then one that was built without them."""
        merge_lora(self.model)
        self.arguments["lora_rank"] = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        length = x.shape[1]
        if self.longest is not None and length > self.longest:
            raise AssemblyError(
                f"a sequence of {length:,} positions, where the encoder takes {self.longest:,}",
                remedy="Give shorter sequences, or cut these into pieces",
            )
        y = self._encode(*self._with_special(x, mask))
        if self.whole:
            return y[:, :1], None
        return y[:, self.before : self.before + length], mask

    def _with_special(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The sequence between its special tokens, which follow the last real residue closely, and its mask."""
        if self.special is None:
            return x, mask
        front, rear = (part.to(x.dtype) for part in self.special.tensor_split([self.before]))
        front = front.expand(x.shape[0], -1, -1)
        if mask is None:
            return torch.cat([front, x, rear.expand(x.shape[0], -1, -1)], dim=1), None
        x = torch.cat([front, x, x.new_zeros(x.shape[0], len(rear), x.shape[2])], dim=1)
        place = torch.arange(x.shape[1], device=x.device)
        end = self.before + mask.sum(dim=1, keepdim=True)
        for number, vector in enumerate(rear):
            x = torch.where((place == end + number).unsqueeze(-1), vector, x)
        return x, place < end + len(rear)

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.family == "esm":
            # Given vectors, EsmModel skips all that comes before its layers: scale, positions, norm.
            x = self.model.embeddings(inputs_embeds=self.scale * x, attention_mask=mask)
        encoded: Tensor = self.model(inputs_embeds=x, attention_mask=mask).last_hidden_state
        return encoded


def merged(model: Model) -> Model:
    """A copy of the model whose adapters are part of the weights; the model itself if it has none."""
    if not _adapted(model):
        return model
    model = copy.deepcopy(model)
    for encoder in _adapted(model):
        encoder.merge()
    return model


def _adapted(model: nn.Module) -> list[TransformersEncoder]:
    encoders = [module for module in model.modules() if isinstance(module, TransformersEncoder)]
    return [encoder for encoder in encoders if encoder.arguments["lora_rank"] is not None]


def _check(kind: Family, config: Mapping[str, Plain]) -> None:
    missing, unknown = sorted(set(kind.keys) - set(config)), sorted(set(config) - set(kind.keys))
    if missing or unknown:
        problems = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(unknown)}"] * bool(unknown)
        raise AssemblyError(f"the configuration {' and '.join(problems)}", remedy=f"Give just {', '.join(kind.keys)}")
    sizes = [config[key] for key in kind.keys if key in _SIZES]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        told = ", ".join(f"{key} {config[key]}" for key in kind.keys if key in _SIZES)
        raise AssemblyError(f"an encoder of {told}", remedy="Let each be at least 1")


def _build(family: str, config: Mapping[str, Plain], attention: str, checkpointing: bool) -> Any:
    """A fresh model of transformers without what is not used here: embedding of tokens, pooler, contacts."""
    transformers = import_transformers()
    from huggingface_hub.errors import StrictDataclassError

    kind = FAMILIES[family]
    # Of the unused embedding there must be a row for padding.
    unused = {"vocab_size": int(config.get("pad_token_id") or 0) + 1, "eos_token_id": None, "use_cache": False}
    extra = {} if family == "t5" else {"add_pooling_layer": False}
    try:
        settings = getattr(transformers, kind.config_class)(**config, **unused, attn_implementation=attention)
        model = bare_encoder(family, getattr(transformers, kind.model_class)(settings, **extra))
    except (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, StrictDataclassError) as error:
        raise AssemblyError(
            f"transformers cannot build such an encoder: {' '.join(str(error).split()).rstrip('.')}",
            remedy="Let widths and numbers of layers and heads be positive, and the heads divide the width",
        ) from error
    if checkpointing:
        # Earlier versions of transformers know the second name only. Both hang a hook on the embedding, which goes.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        model.disable_input_require_grads()
    model.set_input_embeddings(None)
    if family == "esm":
        model.contact_head = None
    return model
