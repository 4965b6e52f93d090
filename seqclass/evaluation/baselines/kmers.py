"""How often k-mers occur in samples, by arithmetic on the tape."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA
from seqclass.blocks.kmers import canonical_kmers
from seqclass.data.sampling import cut
from seqclass.data.store import Indices, Store
from seqclass.data.tape import Tape
from seqclass.progress import progress

_COUNT_SAMPLES, _COUNT_RESIDUES = 512, 1 << 19

Features = NDArray[np.float32]


def count_kmers(store: Store, samples: Indices, k: int = 6, share: float = 1.0) -> Features:
    """How often each k-mer or its reverse complement occurs in each sample, `(samples, features)`.

    k-mers that hold an unknown base count for nothing. Overlapping views share the work: each stretch of the genome is
    turned into k-mers once. Memory beyond the counts does not depend on how far apart the views lie.

    Args:
        store: Tokens.
        samples: Indices of samples.
        k: Length of the k-mers, in residues.
        share: The share of each view, around its centre, in which to count.
    """
    length = store.views.length[samples]
    margin = np.rint(length * (1 - share) / 2).astype(np.int64)
    return _count(store, samples, margin, length - margin, k)


def count_ends(store: Store, samples: Indices, residues: int) -> tuple[Features, Features]:
    """How often each letter occurs among the first and among the last residues of each sample, `(samples, letters)`.

    Args:
        store: Tokens.
        samples: Indices of samples.
        residues: How many at either end; a shorter sample is counted whole, at both.
    """
    length = store.views.length[samples].astype(np.int64)
    within = np.minimum(length, residues)
    zero = np.zeros_like(length)
    return _count(store, samples, zero, within, 1), _count(store, samples, length - within, length, 1)


def _count(store: Store, samples: Indices, first: Indices, behind: Indices, k: int) -> Features:
    """Counts in part of each view: from the offset `first` up to `behind`, `(samples,)`, in residues of the contig."""
    letters = len(store.alphabet.letters)
    every = np.arange(letters**k, dtype=np.int32), letters**k
    table, num_features = canonical_kmers(k) if store.alphabet is DNA else every
    table = np.append(table, np.int32(num_features))
    counts = np.empty((len(samples), num_features), dtype=np.float32)
    views = store.views[samples]
    origin, limit = store.contig_start[views.contig], store.contig_length[views.contig]
    begin = origin + np.clip(views.start + first, 0, limit)
    end = origin + np.clip(views.start + behind, 0, limit)
    order = np.argsort(begin, kind="stable")
    bounds = cut(views.length[order], _COUNT_RESIDUES, _COUNT_SAMPLES)
    with progress("Counting k-mers", len(samples), "samples") as advance:
        for block in (order[at:to] for at, to in pairwise(bounds)):
            tape = Tape(store, views[block])
            features = table[_kmer_indices(tape.residues, k, letters)]
            lengths = np.maximum(end[block] - begin[block] - k + 1, 0)
            before = np.cumsum(lengths) - lengths
            position = np.arange(lengths.sum()) + np.repeat(tape.place(begin[block]) - before, lengths)
            row = np.repeat(np.arange(len(block)) * (num_features + 1), lengths)
            histogram = np.bincount(row + features[position], minlength=len(block) * (num_features + 1))
            counts[block] = histogram.reshape(len(block), num_features + 1)[:, :num_features]
            advance(len(block))
    return counts


def _kmer_indices(tokens: NDArray[np.uint8], k: int, letters: int) -> NDArray[np.int32]:
    """The k-mer that begins at each token; letters ** k where it holds an unknown residue."""
    num = max(len(tokens) - k + 1, 0)
    index = np.zeros(num, dtype=np.int32)
    known = np.ones(num, dtype=bool)
    for offset in range(k):
        token = tokens[offset : offset + num]
        index = index * letters + token
        known &= token < letters
    return np.where(known, index, np.int32(letters**k))
