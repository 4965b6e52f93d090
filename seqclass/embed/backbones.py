"""Models that give a vector for each residue: ProtT5's encoder, ProtBert and ESM-2 of transformers, and bundles."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from seqclass.alphabets import PROTEIN, Alphabet, Tokens
from seqclass.bundle import Bundle
from seqclass.errors import BackboneError, SeqclassError
from seqclass.hub import is_address
from seqclass.models import SequenceClassifier
from seqclass.models.pretrained import load_checkpoint
from seqclass.predict import best_device

Dtype = Literal["float32", "float16", "bfloat16"]


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
        name: A checkpoint of ProtT5, ProtBert, ESM-2 or another T5, BERT or ESM over residues; or a bundle's folder,
            or its address on the hub, "hf://user/name".
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
    if is_address(name) or (Path(name) / "targets.tsv").is_file():
        return BundleBackbone(Bundle.load(name), str(name), dtype, device)
    return LanguageModel(str(name), dtype, device)


class LanguageModel(Backbone):
    """The encoder of a transformers checkpoint; arguments and errors as in `load_backbone`."""

    def __init__(self, name: str, dtype: Dtype, device: torch.device) -> None:
        checkpoint = load_checkpoint(name, getattr(torch, dtype))
        self.name, self.dtype, self.device, self.alphabet = name, dtype, device, PROTEIN
        self.family, self.size, self.longest = checkpoint.family, checkpoint.width, checkpoint.longest
        self._model, self._vocabulary = checkpoint.model.eval().to(device), checkpoint.vocabulary
        self.digest = _digest(self._model)

    def __call__(self, sequences: Sequence[Tokens]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        vocabulary = self._vocabulary
        before, behind = (torch.tensor(ids, dtype=torch.long) for ids in (vocabulary.before, vocabulary.behind))
        first, rest = len(before), len(before) + len(behind)
        ids = torch.full((len(sequences), rest + max(map(len, sequences))), vocabulary.padding)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for row, tokens in enumerate(sequences):
            middle = vocabulary.letters[torch.from_numpy(tokens.astype(np.int64))]
            whole = torch.cat([before, middle, behind])
            ids[row, : len(whole)] = whole
            mask[row, : len(whole)] = 1
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device)).last_hidden_state
        vectors = hidden.float().cpu().numpy()
        return [vectors[row, first : first + len(tokens)] for row, tokens in enumerate(sequences)]


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
