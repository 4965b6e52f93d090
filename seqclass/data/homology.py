"""Homologues in another split that k-mers do not see, by phmmer where pyhmmer is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.progress import progress

# Aligning a query with all members of a large family takes seconds.
_QUERIES, _TARGETS = 20, 500
_EVALUE = 1e-3


@dataclass(frozen=True)
class Hits:
    """Test samples that have a homologue in train.

    Attributes:
        of: How many test samples were looked up.
        found: How many have one.
        evalue: Below which a hit counts.
        best: Names of the test and of the training sample, and the E-value, best first.
    """

    of: int
    found: int
    evalue: float
    best: list[tuple[str, str, float]]


def best_hits(store: Store, test: Indices, *, seed: int = 0) -> Hits | None:
    """The best training hit of some test samples (Eddy 2011, https://doi.org/10.1371/journal.pcbi.1002195).

    20 test samples are drawn, and looked for among 500 training samples.

    Args:
        store: Proteins.
        test: Test samples to draw from.
        seed: Of which samples.

    Returns:
        None where pyhmmer is not installed.
    """
    try:
        import pyhmmer
    except ImportError:
        return None
    generator = np.random.default_rng(seed)
    test = generator.permutation(test)[:_QUERIES]
    train = generator.permutation(store.samples("train"))[:_TARGETS]
    if not len(test) or not len(train):
        return Hits(0, 0, _EVALUE, [])
    alphabet = pyhmmer.easel.Alphabet.amino()

    def sequences(samples: Indices) -> list[Any]:
        inputs, mask = read_samples(store, samples)
        rows = inputs if mask is None else [row[here] for row, here in zip(inputs, mask, strict=True)]
        return [
            pyhmmer.easel.TextSequence(name=str(sample).encode(), sequence=store.alphabet.decode(row)).digitize(
                alphabet
            )
            for sample, row in zip(samples.tolist(), rows, strict=True)
        ]

    best: list[tuple[str, str, float]] = []
    queries: Any = sequences(test)
    block: Any = pyhmmer.easel.DigitalSequenceBlock(alphabet, sequences(train))
    with progress("Looking for homologues", len(test), "samples") as advance:
        for query, hits in zip(test.tolist(), pyhmmer.hmmer.phmmer(queries, block, E=_EVALUE), strict=True):
            advance()
            if len(hits):
                one, other = query, int(_text(hits[0].name))
                names = store.names(np.array([one, other]))
                best.append((names[0], names[1], float(hits[0].evalue)))
    return Hits(len(test), len(best), _EVALUE, sorted(best, key=lambda hit: hit[2]))


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
