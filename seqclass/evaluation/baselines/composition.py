"""Length and composition: what can be known of a sequence without any order of its residues."""

from __future__ import annotations

import numpy as np

from seqclass.data.store import Indices, Store
from seqclass.evaluation.baselines.kmers import Features, count_ends, count_kmers

ENDS = (20, 40, 80)
"""How many residues of either end may be counted by themselves; validation decides."""


def composition(store: Store, samples: Indices, ends: int = 0) -> Features:
    """The logarithm of each sample's length and the share of each letter, `(samples, features)`.

    In DNA a base and its complement count as the same, so that both strands look alike: what is left is GC content.

    Args:
        store: Tokens.
        samples: Indices of samples.
        ends: Also the shares among so many first and so many last residues, where sorting signals lie; 0 for none.
    """
    counts = [count_kmers(store, samples, k=1)]
    if ends:
        counts += count_ends(store, samples, ends)
    length = np.log(np.maximum(store.views.length[samples], 1))[:, None]
    shares = [count / np.maximum(count.sum(axis=1, keepdims=True), 1) for count in counts]
    return np.concatenate([length, *shares], axis=1, dtype=np.float32)
