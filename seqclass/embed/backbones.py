"""Models that give a vector for each residue: ProtT5's encoder, ProtBert and ESM-2 through transformers, our bundles.

The families differ in what stands between residues, before the first and behind the last. All of that is asked of the
checkpoint's own tokenizer once, for every letter of the alphabet; then a sequence becomes ids by a table.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seqclass.alphabets import PROTEIN, Alphabet, Tokens
from seqclass.bundle import Bundle
from seqclass.errors import BackboneError, SeqclassError
from seqclass.models import SequenceClassifier
from seqclass.predict import best_device

Dtype = Literal["float32", "float16", "bfloat16"]

# Families by the model_type of a checkpoint's config: the encoder's class, and whether its tokenizer wants spaces.
_FAMILIES = {"t5": ("T5EncoderModel", True), "bert": ("BertModel", True), "esm": ("EsmModel", False)}

# ESM's positions are counted from behind the padding id.
_UNUSED_POSITIONS = {"esm": 2}

# ESM's predictor of contacts, which some checkpoints lack, has no part in the vectors.
_UNUSED_WEIGHTS = "contact_head."

# What transformers was seen to raise for damaged files, beside plain Exception, which its tokenizers raise.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    EOFError,
    ImportError,
    SafetensorError,
    pickle.UnpicklingError,
)


class Backbone(ABC):
    """A model that embeds residues.

    Attributes:
        name: As it was asked for.
        family: "t5", "bert", "esm" or "bundle".
        alphabet: Of the sequences it takes.
        size: Length of the vectors.
        longest: The most residues that it takes at once, None for any number.
        digest: SHA-256 of the weights, in the precision in which they are used.
        device: Where it computes.
        dtype: In what precision.
    """

    name: str
    family: str
    alphabet: Alphabet
    size: int
    longest: int | None
    digest: str
    device: torch.device
    dtype: Dtype

    @abstractmethod
    def __call__(self, sequences: Sequence[Tokens]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        """Vectors `(length, size)` of the residues of sequences of `(length,)` tokens, none of which exceeds `longest`.

        They depend neither on the other sequences nor on padding.
        """

    def knows(self, tokens: Tokens) -> bool:
        """Whether any residue of a sequence is known to the model."""
        return bool((tokens < self.alphabet.unknown_token).any())


def load_backbone(name: str | Path, *, dtype: Dtype | None = None, device: torch.device | None = None) -> Backbone:
    """The backbone in a folder, or of that name on the Hugging Face hub.

    Args:
        name: A checkpoint of ProtT5, ProtBert, ESM-2 or another T5, BERT or ESM over residues; or a bundle's folder.
        dtype: Precision. Default: float32 on the CPU; on a GPU bfloat16 where it has that, else float16.
        device: Default: the GPU if there is one.

    Raises:
        BackboneError: There is no such checkpoint, it cannot be downloaded, or it is of another family or no language
            model of residues.
        BundleError: The bundle is damaged.
        SeqclassError: The transformers package is missing, or there is no such precision.
    """
    device = device or best_device()
    if dtype is None:
        half: Dtype = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float16"
        dtype = "float32" if device.type == "cpu" else half
    if dtype not in get_args(Dtype):
        raise SeqclassError(f"there is no precision '{dtype}'", remedy=f"Choose one of {', '.join(get_args(Dtype))}")
    if (Path(name) / "targets.tsv").is_file():
        return BundleBackbone(Bundle.load(name), str(name), dtype, device)
    return LanguageModel(str(name), dtype, device)


class LanguageModel(Backbone):
    """The encoder of a transformers checkpoint; arguments and errors as in `load_backbone`."""

    def __init__(self, name: str, dtype: Dtype, device: torch.device) -> None:
        try:
            import transformers
        except ImportError:
            raise SeqclassError(
                "language models need the transformers package", remedy='Run: pip install "seqclass[transformers]"'
            ) from None
        self.name, self.dtype, self.device, self.alphabet = name, dtype, device, PROTEIN
        with _Loading(name), _quiet(transformers.utils.logging):
            config = transformers.AutoConfig.from_pretrained(name)
            self.family = config.model_type
            if self.family not in _FAMILIES:
                raise BackboneError(
                    f"this is a model of the family '{self.family}', where one of {', '.join(_FAMILIES)} is expected",
                    remedy="Give ProtT5, ProtBert, ESM-2 or another T5, BERT or ESM over residues",
                    file=name,
                )
            model_class, spaced = _FAMILIES[self.family]
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            # A pooling layer, which some checkpoints lack, would be drawn at random and never used.
            extra = {} if self.family == "t5" else {"add_pooling_layer": False}
            self._model, found = getattr(transformers, model_class).from_pretrained(
                name, dtype=getattr(torch, dtype), output_loading_info=True, **extra
            )
            self._refuse_random_weights(found["missing_keys"])
            self._read_vocabulary(tokenizer, spaced)
        self._model.eval().to(device)
        self.size = int(config.hidden_size)
        self.digest = _digest(self._model)
        # T5 has relative positions, and so no limit of its own.
        positions = None if self.family == "t5" else config.max_position_embeddings
        if positions is None:
            self.longest = None
        else:
            self.longest = positions - _UNUSED_POSITIONS.get(self.family, 0) - len(self._before) - len(self._behind)

    def _refuse_random_weights(self, missing: set[str]) -> None:
        lacking = sorted(key for key in missing if not key.startswith(_UNUSED_WEIGHTS))
        if lacking:
            raise BackboneError(
                f"the checkpoint lacks {len(lacking)} of the model's arrays of weights, such as {lacking[0]}",
                remedy="Copy or download it again; with random weights the vectors would mean nothing",
                file=self.name,
            )

    def _read_vocabulary(self, tokenizer: Any, spaced: bool) -> None:
        """Asks the tokenizer what stands for each letter, and what before the first residue and behind the last."""
        letters = self.alphabet.letters + self.alphabet.unknown
        ids = tokenizer((" " if spaced else "").join(letters))["input_ids"]
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        inner = [place for place, each in enumerate(ids) if each not in special]
        known = [each for each in ids if each not in special and each != tokenizer.unk_token_id]
        rows = self._model.get_input_embeddings().num_embeddings
        if len(inner) != len(letters) or len(set(known)) < len(self.alphabet.letters) or max(ids) >= rows:
            raise BackboneError(
                f"its tokenizer reads '{letters}' as {len(inner)} tokens, {len(inner) - len(known)} of them unknown "
                f"and the last {max(ids)} of {rows}, where one a residue is expected",
                remedy="Give a model of protein residues, with its own tokenizer files in the folder",
                file=self.name,
            )
        self._before, self._behind = ids[: inner[0]], ids[inner[-1] + 1 :]
        self._ids = torch.tensor([ids[place] for place in inner])
        self._padding = int(tokenizer.pad_token_id)

    def __call__(self, sequences: Sequence[Tokens]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        first, rest = len(self._before), len(self._before) + len(self._behind)
        ids = torch.full((len(sequences), rest + max(map(len, sequences))), self._padding)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for row, tokens in enumerate(sequences):
            middle = self._ids[torch.from_numpy(tokens.astype(np.int64))]
            whole = torch.cat([torch.tensor(self._before, dtype=torch.long), middle, torch.tensor(self._behind)])
            ids[row, : len(whole)] = whole
            mask[row, : len(whole)] = 1
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state
        vectors = hidden.float().cpu().numpy()
        return [vectors[row, first : first + len(tokens)] for row, tokens in enumerate(sequences)]


class _Loading:
    """Within the block, whatever transformers makes of a damaged checkpoint becomes a BackboneError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is Exception or isinstance(error, _DAMAGE):
            reason = textwrap.shorten(str(error), 200, placeholder=" ...").rstrip(".") or type(error).__name__
            raise BackboneError(
                f"no model can be had under this name ({reason})",
                remedy="Give the folder of a whole checkpoint, or its name on the hub and a connection to it",
                file=self._name,
            ) from error


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Within the block, transformers reports no weights that are left over, and shows bars to people only."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


class BundleBackbone(Backbone):
    """What a bundle's model knows of each residue before its head; a strided model's positions serve their residues.

    Args:
        bundle: The bundle, of tokens.
        name: As it was asked for.
        dtype: Precision.
        device: Where to compute.

    Raises:
        BackboneError: The model has no layers between sequence and head.
    """

    def __init__(self, bundle: Bundle, name: str, dtype: Dtype, device: torch.device) -> None:
        model = bundle.model
        if not isinstance(model, SequenceClassifier) or model.input_kind != "tokens":
            raise BackboneError(
                f"a {type(model).__name__} of {model.input_kind} has no layers between sequence and head",
                remedy="Give the bundle of a model with an embedding of letters, a stem and a head",
                file=name,
            )
        self.name, self.family, self.dtype, self.device = name, "bundle", dtype, device
        self.alphabet = bundle.alphabet
        self._model = model.eval().to(device, getattr(torch, dtype))
        self._spacing = list(model.sequence_layers().values())[-1]
        self.digest = _digest(model)
        self.longest = bundle.window if bundle.length is None else bundle.length
        self.size = model.head.in_channels

    def __call__(self, sequences: Sequence[Tokens]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        lengths = np.array([len(tokens) for tokens in sequences])
        inputs = np.full((len(sequences), lengths.max()), self.alphabet.unknown_token, dtype=np.uint8)
        for row, tokens in enumerate(sequences):
            inputs[row, : len(tokens)] = tokens
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
        with torch.inference_mode():
            hidden, _ = self._model.features(torch.from_numpy(inputs).to(self.device), mask.to(self.device))
        vectors = hidden.float().cpu().numpy()
        return [vectors[row, self._nearest(length)] for row, length in enumerate(lengths.tolist())]

    def _nearest(self, length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """For each residue of a sequence, the position whose centre is nearest."""
        stride, offset = self._spacing
        place = np.floor((np.arange(length) - offset) / stride + 0.5)
        return place.clip(0, self._model.out_length(length) - 1).astype(np.int64)


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
