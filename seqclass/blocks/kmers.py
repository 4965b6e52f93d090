"""How often each k-mer occurs: what a linear model of sequences sees."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.alphabets import DNA, get_alphabet
from seqclass.errors import AssemblyError

K = {"dna": 6, "protein": 2}
"""The usual length of k-mers, by alphabet."""

_MOST_KMERS = 1 << 22


@cache
def canonical_kmers(k: int) -> tuple[NDArray[np.int32], int]:
    """Which feature each k-mer counts for, `(4 ** k,)`, and the number of features.

    A k-mer's index reads its tokens as digits to the base 4; features number the smaller of a k-mer and its reverse
    complement, in order.
    """
    kmers = np.arange(4**k)
    other, rest = np.zeros_like(kmers), kmers.copy()
    for _ in range(k):
        other = other * 4 + 3 - rest % 4
        rest //= 4
    canonical, features = np.unique(np.minimum(kmers, other), return_inverse=True)
    return features.astype(np.int32), len(canonical)


class KmerCounts(nn.Module):
    """Counts of k-mers: soft letters `(batch, length, letters)` to `(batch, features)`.

    Letters are shares: a k-mer counts as the product of its letters' shares, so an unknown residue counts for all that
    it could be, and padding, which is all zeros, for nothing. In DNA a k-mer and its reverse complement are one.

    Args:
        alphabet: "dna" or "protein".
        k: Length of the k-mers, in residues.

    Raises:
        AssemblyError: k is not positive, or there are too many k-mers of that length.
    """

    def __init__(self, alphabet: str, k: int) -> None:
        super().__init__()
        letters = len(get_alphabet(alphabet).letters)
        if k < 1 or letters ** min(k, 30) > _MOST_KMERS:
            raise AssemblyError(
                f"k-mers of {k} residues, of which there are {letters}^{k}",
                remedy="Let k be at least 1, and small: 6 for DNA, 2 or 3 for proteins",
            )
        self.k = k
        self.feature: Tensor | None
        if get_alphabet(alphabet) is DNA:
            feature, self.num_features = canonical_kmers(k)
            self.register_buffer("feature", torch.from_numpy(feature).long(), persistent=False)
        else:
            self.feature, self.num_features = None, letters**k

    def forward(self, x: Tensor) -> Tensor:
        """Raises:
        AssemblyError: The sequences are shorter than k.
        """
        places = x.shape[1] - self.k + 1
        if places < 1:
            raise AssemblyError(
                f"sequences of {x.shape[1]} residues, in which no k-mer of {self.k} fits",
                remedy="Leave them out, or build the model with a smaller k",
            )
        # Each place's k-mer in two halves, whose outer product, summed over places, is one matrix product.
        first = self._spell(x, 0, self.k // 2, places)
        last = self._spell(x, self.k // 2, self.k, places)
        counts = (first.transpose(1, 2) @ last).flatten(1)
        if self.feature is None:
            return counts
        return counts.new_zeros(x.shape[0], self.num_features).index_add(1, self.feature, counts)

    def _spell(self, x: Tensor, begin: int, end: int, places: int) -> Tensor:
        """Shares of each part of a k-mer, from letter `begin` to `end`, at each place: `(batch, places, parts)`."""
        spelt = x.new_ones(x.shape[0], places, 1)
        for offset in range(begin, end):
            spelt = (spelt.unsqueeze(-1) * x[:, offset : offset + places].unsqueeze(2)).flatten(2)
        return spelt
