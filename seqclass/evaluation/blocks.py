"""What samples are drawn together when a test set is drawn anew: those that are not independent of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqclass.data.store import Indices, Store

STRETCH = 100_000
"""Residues of a genome, at least, that make one block: chromatin domains are of about this size."""

# Its windows come without coordinates but in the genome's order, on average 1,260 bp apart.
_CONSECUTIVE = {"deepsea": 100}

# Fewer groups than this, as five partitions of a benchmark, are no draws from a population of groups.
_MIN_GROUPS = 30


@dataclass(frozen=True)
class Blocks:
    """Which samples are drawn together.

    Args:
        index: The block of each sample, `(samples,)`, counted from 0 without gaps.
        kind: What a block is, in words.
    """

    index: NDArray[np.int64]
    kind: str

    @property
    def number(self) -> int:
        """How many blocks there are."""
        return int(self.index.max(initial=-1)) + 1


def blocks_of(store: Store, samples: Indices) -> Blocks:
    """The blocks of a store's samples: its groups where it has enough; else stretches of contigs.

    A stretch has at least 100 kb, or is a whole contig where that is shorter, as a protein is. Both strands of a locus
    are in one block.
    """
    if store.groups is not None:
        index = _numbered(store.groups[samples])
        if index.max(initial=0) + 1 >= _MIN_GROUPS:
            return Blocks(index, "groups of the store")
    contig = store.views.contig[samples].astype(np.int64)
    together = _CONSECUTIVE.get(str(store.provenance.get("source")))
    if together is not None:
        return Blocks(_numbered(_numbered(contig) // together), f"{together} neighbouring windows")
    length = store.contig_length[contig]
    stretches = np.maximum(1, length // STRETCH)
    stretch = np.clip(store.views.start[samples] // STRETCH, 0, stretches - 1)
    width = int(stretches.max(initial=1))
    index = _numbered(contig * width + stretch)
    alone = index.max(initial=-1) + 1 == len(samples)
    return Blocks(index, "stretches of at least 100 kb" if width > 1 else "samples" if alone else "contigs")


def each_by_itself(samples: int) -> Blocks:
    """Every sample is a block of its own."""
    return Blocks(np.arange(samples), "samples")


def _numbered(values: NDArray[np.integer]) -> NDArray[np.int64]:
    numbered: NDArray[np.int64] = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return numbered
