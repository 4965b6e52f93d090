"""A random sample of the sequences of a FASTA file, as a model takes them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.alphabets import Tokens
from seqclass.bundle import Bundle
from seqclass.errors import SequenceError
from seqclass.predict import LengthPolicy, read_stretches
from seqclass.progress import progress
from seqclass.training_summary import Integers

MOST_SEQUENCES = 10_000
"""Of more stretches, so many are drawn at random; memory does not grow with their number."""


class Sample(NamedTuple):
    """Stretches of sequences.

    Attributes:
        tokens: `(length,)` of each.
        lengths: `(stretches,)`, in residues: of the whole sequence, or of the window where sequences are tiled.
        total: How many there are, of which these were drawn.
    """

    tokens: list[Tokens]
    lengths: Integers
    total: int


def draw_sequences(bundle: Bundle, fasta: str | Path, policy: LengthPolicy = "error") -> Sample:
    """At most `MOST_SEQUENCES` stretches of a FASTA file, each with the same chance (Vitter's algorithm R).

    Args:
        bundle: Whose model is to take them.
        fasta: Sequences, plain or gzip.
        policy: What becomes of sequences that a model of a fixed length cannot take; a stretch is what is scored at
            once of a sequence.

    Raises:
        SequenceError: The file cannot be read, or a length does not fit; file and record are named.
    """
    random = np.random.default_rng(0)
    tokens: list[Tokens] = []
    lengths: list[int] = []
    total = 0
    with progress("Reading sequences", unit="stretches") as advance:
        for stretch in read_stretches(bundle, fasta, policy):
            total += 1
            advance()
            place = total - 1 if total <= MOST_SEQUENCES else int(random.integers(total))
            if place >= MOST_SEQUENCES:
                continue
            # Of a tiled sequence the windows count, of another how long it was before it was cropped or padded.
            length = min(stretch.whole, len(stretch.tokens)) if policy == "tile" else stretch.whole
            if place == len(tokens):
                tokens.append(stretch.tokens)
                lengths.append(length)
            else:
                tokens[place], lengths[place] = stretch.tokens, length
    if not tokens:
        raise SequenceError("there are no sequences", remedy="Give a FASTA file with some", file=fasta)
    return Sample(tokens, np.array(lengths, dtype=np.int32), total)
