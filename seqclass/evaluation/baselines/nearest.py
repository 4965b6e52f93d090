"""Nearest neighbour: a sample is what the training sample is that it is most like.

A target's score is the similarity to the nearest training sample that carries it, among the 50 nearest of all. So the
class with the highest score is that of the nearest neighbour, and a ranking says more than yes or no. A target that
none of them carries ranks below those, by its prevalence, which therefore decides where nothing is alike.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.data.sampling import cut
from seqclass.data.similarity import kmer_sets
from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.progress import progress

K = {"dna": 12, "protein": 3}
"""Length of the k-mers by alphabet. Proteins of one family often share no 5 residues in a row, but many triplets."""

NEIGHBOURS = 50

_ROWS_AT_ONCE, _VECTORS_AT_ONCE, _NUMBERS_AT_ONCE = 512, 4096, 1 << 24

Scores = NDArray[np.float32]


def nearest_by_kmers(
    store: Store, train: Indices, samples: Indices, prevalence: NDArray[np.float32], k: int | None = None
) -> Scores:
    """Scores by the Jaccard index of the sets of k-mers, `(samples, targets)`.

    Args:
        store: Tokens.
        train: Indices of the samples among which neighbours are looked for.
        samples: Indices of the samples to score.
        prevalence: `(targets,)`, the share of training samples that carry each.
        k: Length of the k-mers, in residues. Default: 12 for DNA, 3 for proteins.
    """
    k = K[store.alphabet.name] if k is None else k
    labels = store.labels(train)
    known = kmer_sets(store, train, k)
    vocabulary = np.unique(known.kmers)
    scores = np.broadcast_to(prevalence - 1, (len(samples), len(prevalence))).astype(np.float32)
    if not len(vocabulary):
        return scores
    wide = known.matrix(vocabulary).T.tocsr()
    with progress("Looking for nearest neighbours", len(samples), "samples") as advance:
        for begin in range(0, len(samples), _ROWS_AT_ONCE):
            queries = kmer_sets(store, samples[begin : begin + _ROWS_AT_ONCE], k)
            shared = (queries.matrix(vocabulary) @ wide).tocsr()
            for row, size in enumerate(queries.sizes.tolist()):
                here = slice(shared.indptr[row], shared.indptr[row + 1])
                count, column = shared.data[here], shared.indices[here]
                similarity = count / (size + known.sizes[column] - count)
                nearest = _largest(similarity, column)
                _raise_to(scores[begin + row], similarity[nearest], labels[column[nearest]])
            advance(len(queries))
    return scores


def nearest_by_cosine(store: Store, train: Indices, samples: Indices, prevalence: NDArray[np.float32]) -> Scores:
    """Scores by the cosine of vectors, `(samples, targets)`; a sample of several vectors is their mean.

    Cosines are shifted from -1 to 1 to 0 to 2, so that any neighbour is better than none.

    Args:
        store: Vectors.
        train: Indices of the samples among which neighbours are looked for.
        samples: Indices of the samples to score.
        prevalence: `(targets,)`, the share of training samples that carry each.
    """
    labels, known = store.labels(train), _directions(store, train)
    scores = np.broadcast_to(prevalence - 1, (len(samples), len(prevalence))).astype(np.float32)
    rows = max(1, _NUMBERS_AT_ONCE // max(1, len(train)))
    columns = np.arange(len(train))
    with progress("Looking for nearest neighbours", len(samples), "samples") as advance:
        for begin in range(0, len(samples), rows):
            queries = _directions(store, samples[begin : begin + rows])
            for row, similarity in enumerate(queries @ known.T + 1, start=begin):
                nearest = _largest(similarity, columns)
                _raise_to(scores[row], similarity[nearest], labels[nearest])
            advance(len(queries))
    return scores


def _largest(similarity: NDArray[np.floating[Any]], column: NDArray[np.integer[Any]]) -> Indices:
    """Where the largest are, from the largest down; of equal ones, the first in the order of the training samples."""
    chosen = np.arange(len(similarity))
    if len(chosen) > NEIGHBOURS:
        least = np.partition(similarity, -NEIGHBOURS)[-NEIGHBOURS]
        chosen = np.flatnonzero(similarity >= least)
    order: Indices = chosen[np.lexsort((column[chosen], -similarity[chosen]))][:NEIGHBOURS]
    return order


def _raise_to(scores: Scores, similarity: NDArray[np.floating[Any]], labels: NDArray[np.uint8]) -> None:
    """Gives each target the similarity of the nearest neighbour that carries it."""
    if not len(labels):
        return
    carried = np.flatnonzero(labels.any(axis=0))
    # Neighbours are ordered, so the first that carries a target is the nearest.
    scores[carried] = similarity[labels[:, carried].argmax(axis=0)]


def _directions(store: Store, samples: Indices) -> NDArray[np.float32]:
    """The mean vector of each sample, scaled to length 1, `(samples, size)`."""
    size = store.vector_size or 0
    out = np.empty((len(samples), size), dtype=np.float32)
    bounds = cut(store.views.length[samples].astype(np.int64) * size, _NUMBERS_AT_ONCE, _VECTORS_AT_ONCE)
    for begin, end in pairwise(bounds.tolist()):
        vectors, _ = read_samples(store, samples[begin:end])
        out[begin:end] = vectors.sum(axis=1, dtype=np.float32)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return out
