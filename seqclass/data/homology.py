"""Homologues that k-mers do not see, by phmmer: among other proteins, and in another split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.errors import MissingPackageError, SourceError
from seqclass.progress import progress

# Aligning a query with all members of a large family takes seconds.
_QUERIES, _TARGETS = 20, 500
_EVALUE = 1e-3


class Homologue(NamedTuple):
    """A protein's best hit: its row among those searched, the query's name and the E-value."""

    row: int
    query: str
    evalue: float


def find_homologues(queries: Mapping[str, str], proteins: Sequence[str]) -> list[Homologue]:
    """Proteins that phmmer finds with one of the queries at an E-value up to 0.001, best first.

    Eddy 2011, https://doi.org/10.1371/journal.pcbi.1002195.

    Args:
        queries: Residues by name.
        proteins: Residues of those to search.

    Raises:
        MissingPackageError: pyhmmer is not installed.
        SourceError: A sequence holds what is no residue.
    """
    try:
        import pyhmmer
    except ImportError:
        raise MissingPackageError("Looking for homologues", "pyhmmer", "homology") from None
    alphabet = pyhmmer.easel.Alphabet.amino()

    def digital(name: str, letters: str) -> Any:
        try:
            return pyhmmer.easel.TextSequence(name=name.encode(), sequence=letters).digitize(alphabet)
        except ValueError:
            raise SourceError(
                f"the sequence '{letters[:40]}' holds what is no residue", remedy="Correct it or take it out"
            ) from None

    searched: Any = pyhmmer.easel.DigitalSequenceBlock(
        alphabet, [digital(str(row), letters) for row, letters in enumerate(proteins)]
    )
    asked: Any = [digital(name, letters) for name, letters in queries.items()]
    best: dict[int, Homologue] = {}
    with progress("Looking for homologues", len(queries), "sequences") as advance:
        for name, hits in zip(queries, pyhmmer.hmmer.phmmer(asked, searched, E=_EVALUE), strict=True):
            advance()
            for hit in hits.reported:
                row, evalue = int(_text(hit.name)), float(hit.evalue)
                if row not in best or evalue < best[row].evalue:
                    best[row] = Homologue(row, name, evalue)
    return sorted(best.values(), key=lambda found: found.evalue)


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
