"""The service's one door to prediction: what a request asks is cut, scored and told by `seqclass.predict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass.attribution.inputs import batches, read, stack
from seqclass.bundle import Bundle
from seqclass.errors import BundleError, SequenceError
from seqclass.predict.memory import Judge
from seqclass.predict.portions import Entry, Portion
from seqclass.predict.records import Assembly, Prediction
from seqclass.predict.scoring import score_tokens
from seqclass.predict.stretches import LengthPolicy, read_stretches

Floats = NDArray[np.float32]
Vectors = NDArray[np.float32]


class Piece(NamedTuple):
    """What is scored at once.

    Attributes:
        name: The sequence's.
        start: Where on it this begins, in residues, 0-based.
        inputs: Tokens `(length,)`, or vectors `(length, size)`.
        whole: The sequence's length.
    """

    name: str
    start: int
    inputs: NDArray[Any]
    whole: int


def pieces_of(bundle: Bundle, named: Iterable[tuple[str, str]], policy: LengthPolicy) -> Iterator[Piece]:
    """The stretches of named sequences that are scored, one after the other.

    Raises:
        SequenceError: A letter or a length does not fit the model; the record is named.
    """
    for stretch in read_stretches(bundle, named, policy):
        yield Piece(stretch.name, stretch.start, stretch.tokens, stretch.whole)


def vectors_of(bundle: Bundle, named: Sequence[tuple[str, Vectors]]) -> list[Piece]:
    """Vectors `(size,)` of sequences or `(length, size)` of residues as they are scored.

    Raises:
        SequenceError: They are not of the model's size; the sequence is numbered.
    """
    found = read(bundle.model, [vectors if vectors.ndim > 1 else vectors[None] for _, vectors in named])
    return [Piece(name, 0, vectors, len(vectors)) for (name, _), vectors in zip(named, found, strict=True)]


def score(bundle: Bundle, device: torch.device, inputs: Sequence[NDArray[Any]]) -> Floats:
    """Scores pieces, which may be of many requests; in halves where the GPU's memory does not suffice.

    Args:
        bundle: Its model is in evaluation mode.
        device: Where it is.
        inputs: Of each piece.

    Returns:
        `(pieces, numbers)`: each target's probability; of an ensemble, then each one's spread.

    Raises:
        SeqclassError: Memory does not suffice for a single one.
        BundleError: A probability is not a number.
        SequenceError: Nor is it of vectors, whose numbers may be too large.
    """
    if bundle.model.input_kind == "tokens":
        parts = [score_tokens(inputs, bundle, device, _unseen)]
    else:
        judge = Judge(bundle, device)
        parts = [
            (joint.numpy(), None if spread is None else spread.numpy())
            for joint, spread in (judge(*stack(bundle.model, batch, device)) for batch in batches(inputs))
        ]
    rows = np.concatenate([np.hstack([part for part in both if part is not None]) for both in parts])
    if np.isnan(rows).any():
        if bundle.model.input_kind == "vectors":
            raise SequenceError("the model answers with what is not a number (NaN)", remedy="Send smaller numbers")
        raise BundleError("the model answers with what is not a number (NaN)", file=bundle.path)
    return rows


def _unseen(done: float = 1) -> None:
    """Nobody watches the progress of a request."""


def predictions(bundle: Bundle, pieces: Sequence[Piece], scores: Floats, policy: LengthPolicy) -> list[Prediction]:
    """What `seqclass.predict.predict` says of the pieces, given their scores."""
    entries = [
        Entry(piece.name, piece.start, piece.start + len(piece.inputs), piece.whole, number)
        for number, piece in enumerate(pieces)
    ]
    return list(Assembly(bundle, policy).predictions(Portion(entries, 0, []), scores))
