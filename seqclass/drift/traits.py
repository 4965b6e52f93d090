"""What of sequences is compared beside their embeddings: the letters that they consist of, and what is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Alphabet, Tokens
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.predict import ABSTAINED, called
from seqclass.training_summary import Floats, Integers

# From which probability a target is called where no calibration says.
_UNCALIBRATED = 0.5


class Calls(NamedTuple):
    """What is called of each sequence: how many targets, `(sequences,)`, and their columns, one after the other.

    The number of targets stands for a group that was abstained from.
    """

    each: Integers
    columns: Integers


def letter_shares(sequences: Sequence[Tokens], alphabet: Alphabet) -> Floats:
    """The share of each letter among the known residues of each sequence, `(sequences, letters)`.

    Of DNA both strands are counted, so that A is as frequent as T. Of a sequence without known residues all are 0.
    """
    size = len(alphabet.letters)
    counts = np.zeros((len(sequences), size))
    for row, tokens in enumerate(sequences):
        counts[row] = np.bincount(tokens, minlength=size + 1)[:size]
    if alphabet is DNA:
        counts += counts[:, ::-1].copy()
    shares: Floats = (counts / np.maximum(1, counts.sum(axis=1, keepdims=True))).astype(np.float32)
    return shares


def calls(bundle: Bundle, probabilities: NDArray[np.floating[Any]]) -> Calls:
    """What is called on the strength of probabilities `(sequences, targets)`.

    Without a calibration that is the most probable class of each group, and each yes-or-no target from .5 on.
    """
    if bundle.calibration is None:
        binary = len(bundle.binary)
        plain = Calibration(
            slope=[1.0] * binary,
            intercept=[0.0] * binary,
            threshold=[_UNCALIBRATED] * binary,
            temperature=dict.fromkeys(bundle.exclusive, 1.0),
            abstain_below=dict.fromkeys(bundle.exclusive, 0.0),
        )
        bundle = replace(bundle, calibration=plain)
    columns = {target.name: column for column, target in enumerate(bundle.targets)} | {ABSTAINED: len(bundle.targets)}
    found = called(bundle, probabilities)
    return Calls(
        np.array([len(names) for names in found], dtype=np.int32),
        np.array([columns[name] for names in found for name in names], dtype=np.int32),
    )
