"""Sequences made ready to be explained: checked, as soft letters or vectors, in batches with masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.alphabets import get_alphabet
from seqclass.errors import SequenceError
from seqclass.models import Classifier

Sequences = Sequence[str | NDArray[Any]] | NDArray[Any]
"""Letters, tokens `(length,)`, or vectors `(length, size)` each."""

_BATCH_RESIDUES = 1 << 15


def read(model: Classifier, sequences: Sequences) -> list[NDArray[Any]]:
    """Tokens `(length,)` or vectors `(length, size)` of each sequence, all of which the model can take.

    Raises:
        SequenceError: There are none, or one is empty or not of the model's kind, alphabet or length; it is numbered.
    """
    inputs = []
    for number, sequence in enumerate(sequences):
        try:
            inputs.append(_read_one(model, sequence))
        except SequenceError as error:
            raise SequenceError(error.problem, remedy=error.remedy, record=f"sequence {number}") from None
    if not inputs:
        raise SequenceError("there are no sequences", remedy="Give at least one")
    return inputs


def _read_one(model: Classifier, sequence: str | NDArray[Any]) -> NDArray[Any]:
    alphabet = get_alphabet(model.alphabet)
    found: NDArray[Any]
    if model.input_kind == "vectors":
        if isinstance(sequence, str) or sequence.ndim != 2 or sequence.shape[1] != model.vector_size:
            raise SequenceError(
                f"the model reads vectors of {model.vector_size} numbers, and this is not such an array",
                remedy="Give an array (length, size) a sequence, as 'seqclass embed' writes them",
            )
        found = np.asarray(sequence, dtype=np.float32)
    elif isinstance(sequence, str):
        found = alphabet.encode(sequence)
    else:
        found = np.asarray(sequence)
        is_token = found.ndim == 1 and found.dtype.kind in "ui"
        if not is_token or (len(found) and not 0 <= found.min() <= found.max() <= alphabet.unknown_token):
            raise SequenceError(
                f"an array {found.dtype} {found.shape}, where {alphabet.name} tokens (length,) are expected",
                remedy="Give letters, or tokens as the alphabet's encode gives them",
            )
        found = found.astype(np.uint8)
    if not len(found):
        raise SequenceError("the sequence is empty", remedy="Leave it out")
    if model.length is not None and len(found) != model.length:
        raise SequenceError(
            f"{len(found)} residues, where the model takes exactly {model.length}",
            remedy=f"Crop it, or put {alphabet.unknown} around it",
        )
    return found


def batches(inputs: Iterable[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    """Neighbours, as many as fit a batch with their padding."""
    batch: list[NDArray[Any]] = []
    for each in inputs:
        if batch and (len(batch) + 1) * max(len(each), *(len(other) for other in batch)) > _BATCH_RESIDUES:
            yield batch
            batch = []
        batch.append(each)
    yield batch


def stack(model: Classifier, batch: list[NDArray[Any]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Soft letters or vectors `(batch, length, letters or numbers)`, and the mask if lengths differ."""
    longest = max(len(each) for each in batch)
    x = torch.stack([pad(soft(model, each), longest) for each in batch])
    mask = torch.arange(longest) < torch.tensor([len(each) for each in batch]).unsqueeze(1)
    return x.to(device), None if bool(mask.all()) else mask.to(device)


def soft(model: Classifier, sequence: NDArray[Any]) -> Tensor:
    """Tokens as `(length, letters)` floats, an unknown residue in equal shares; vectors as they are."""
    if model.input_kind == "vectors":
        return torch.from_numpy(sequence)
    letters = len(get_alphabet(model.alphabet).letters)
    table = torch.cat([torch.eye(letters), torch.full((1, letters), 1 / letters)])
    return table[torch.from_numpy(sequence).long()]


def pad(x: Tensor, length: int) -> Tensor:
    """`(..., residues, channels)` with zeros behind, up to `length` residues."""
    return nn.functional.pad(x, (0, 0, 0, length - x.shape[-2]))
