"""How alike sequences are by their k-mers, and which hang together.

The Jaccard index of two sequences is the share of their distinct k-mers that both have. It sees what alignment sees
above roughly 40 % identity, and no remote homologues. DNA k-mers count as the same as their reverse complements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from seqclass.alphabets import DNA, Alphabet, reverse_complement
from seqclass.data.sampling import cut
from seqclass.data.store import Indices, Store
from seqclass.data.tape import Tape
from seqclass.errors import SeqclassError, SourceError
from seqclass.progress import progress, track

K = {"dna": 12, "protein": 5}
"""Length of the k-mers by alphabet: long enough that unrelated sequences share hardly any."""

# Where samples are padded to one length, one of them may be a thousand times as long as the others.
_BLOCK_RESIDUES, _BLOCK_SAMPLES, _BLOCK_PADDED = 1 << 22, 1 << 16, 1 << 12
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class KmerSets:
    """The distinct k-mers of each sample, ascending.

    Attributes:
        kmers: Of all samples, one after the other.
        bounds: `(samples + 1,)`: sample i has those from bound i up to bound i + 1.
        k: Their length, in residues.
    """

    kmers: NDArray[np.int64]
    bounds: Indices
    k: int

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def sizes(self) -> Indices:
        return np.diff(self.bounds)

    def matrix(self, vocabulary: NDArray[np.int64]) -> csr_array:
        """`(samples, len(vocabulary))`, 1 where a sample has a k-mer of the vocabulary, which is ascending."""
        column = np.searchsorted(vocabulary, self.kmers)
        known = vocabulary[np.minimum(column, len(vocabulary) - 1)] == self.kmers
        row = np.repeat(np.arange(len(self)), self.sizes)
        ones = np.ones(int(known.sum()), dtype=np.int32)
        return csr_array((ones, (row[known], column[known])), shape=(len(self), len(vocabulary)))


def kmer_sets(store: Store, samples: Indices, k: int | None = None, one_in: int = 1) -> KmerSets:
    """The k-mers of samples; those that hold an unknown residue are left out.

    Args:
        store: Of tokens.
        samples: Indices of samples.
        k: Length of the k-mers, in residues. Default: 5 for proteins, 12 for DNA.
        one_in: Keep one k-mer in so many, the same ones in every sample, where all would not fit into memory. Jaccard
            indices are estimates then (Brown and Irber 2016, https://doi.org/10.21105/joss.00027).

    Raises:
        SourceError: The store holds vectors, or k-mers of this length cannot be numbered.
    """
    if store.vector_size:
        raise SourceError("vectors have no k-mers", remedy="Compare the sequences they come from", file=store.path)
    k = K[store.alphabet.name] if k is None else k
    kinds = len(store.alphabet.letters) ** k if k > 0 else 0
    if k < 1 or kinds * _BLOCK_SAMPLES >= 2**63:
        raise SourceError(f"k-mers of {k} residues", remedy="Choose another --k, such as 5 for proteins or 12 for DNA")
    parts: list[NDArray[np.int64]] = []
    sizes: list[Indices] = []
    bounds = cut(store.views.length[samples], _BLOCK_RESIDUES, _BLOCK_SAMPLES)
    for begin, end in track(pairwise(bounds), "Reading k-mers", len(bounds) - 1, "blocks"):
        views = store.views[samples[begin:end]]
        tape = Tape(store, views)
        codes = _codes(tape.residues, k, store.alphabet)
        limit = store.contig_length[views.contig]
        start, stop = np.clip(views.start, 0, limit), np.clip(views.start + views.length, 0, limit)
        first = tape.place(store.contig_start[views.contig] + start)
        count = np.maximum(stop - start - k + 1, 0)
        row = np.repeat(np.arange(len(views)), count)
        position = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
        found = codes[position]
        kept = found >= 0
        if one_in > 1:
            kept &= _spread(found) % np.uint64(one_in) == 0
        # Sorting one number for both is several times as fast as sorting by two.
        found = np.sort(row[kept] * kinds + found[kept])
        distinct = np.ones(len(found), dtype=bool)
        distinct[1:] = found[1:] != found[:-1]
        row, found = np.divmod(found[distinct], kinds)
        parts.append(found)
        sizes.append(np.bincount(row, minlength=len(views)))
    lengths = np.concatenate([np.zeros(1, dtype=np.int64), *sizes])
    return KmerSets(np.concatenate([np.zeros(0, dtype=np.int64), *parts]), np.cumsum(lengths), k)


def _spread(codes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hashes of numbers (the finaliser of splitmix64)."""
    hashes = codes.astype(np.uint64)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _codes(tokens: NDArray[np.uint8], k: int, alphabet: Alphabet) -> NDArray[np.int64]:
    """The number of the k-mer that begins at each token; -1 where it holds an unknown residue or the tape ends."""
    letters = len(alphabet.letters)
    count = max(len(tokens) - k + 1, 0)
    code, other = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    known = np.ones(count, dtype=bool)
    for offset in range(k):
        token = tokens[offset : offset + count].astype(np.int64)
        known &= token < letters
        code = code * letters + token
        if alphabet is DNA:
            other += (3 - token) << (2 * offset)
    if alphabet is DNA:
        code = np.minimum(code, other)
    out = np.full(len(tokens), -1, dtype=np.int64)
    out[:count][known] = code[known]
    return out


def same_sequences(store: Store) -> Indices:
    """Which samples read the same residues, `(samples,)`: a number for each sequence, the same on either strand of DNA.

    Samples in which no residue is known are -1. Sequences are told apart by 128-bit BLAKE2 digests.

    Args:
        store: Of tokens.
    """
    digests = np.zeros((len(store), 2), dtype=np.uint64)
    known = np.zeros(len(store), dtype=bool)
    bounds = cut(store.views.length, _BLOCK_RESIDUES, _BLOCK_PADDED)
    for begin, end in track(pairwise(bounds), "Looking for duplicates", len(bounds) - 1, "blocks"):
        views = store.views[begin:end]
        tokens, _ = Tape(store, views).read(views)
        known[begin:end] = (tokens != store.alphabet.unknown_token).any(axis=1)
        for sample, (row, length) in enumerate(zip(tokens, views.length.tolist(), strict=True), start=begin):
            sequence = row[:length].tobytes()
            if store.alphabet is DNA:
                sequence = min(sequence, reverse_complement(row[:length]).tobytes())
            digests[sample] = np.frombuffer(blake2b(sequence, digest_size=16).digest(), dtype=np.uint64)
    number: Indices = np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    number[~known] = -1
    return number


def similar_pairs(
    sets: KmerSets, rows: Indices, columns: Indices, level: float
) -> Iterator[tuple[Indices, Indices, NDArray[np.float64]]]:
    """Every pair of a row and a column at or above a level, and how alike they are; none is missed.

    Args:
        sets: Of all samples.
        rows: Samples, as indices into `sets`.
        columns: Samples that they are compared with.
        level: The least Jaccard index, above 0.

    Yields:
        Rows, columns and Jaccard indices of some pairs, rows ascending in the order given.
    """
    vocabulary = np.unique(_chosen(sets, rows).kmers)
    if not len(vocabulary):
        return
    wide = _chosen(sets, columns).matrix(vocabulary).T.tocsr()
    with progress("Comparing samples", len(rows), "samples") as advance:
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            block = rows[begin : begin + _ROWS_AT_ONCE]
            shared = (_chosen(sets, block).matrix(vocabulary) @ wide).tocoo()
            row, column, count = shared.row, shared.col, shared.data
            index = count / (sets.sizes[block][row] + sets.sizes[columns][column] - count)
            alike = np.flatnonzero(index >= level)
            alike = alike[np.lexsort((-index[alike], row[alike]))]
            if len(alike):
                yield block[row[alike]], columns[column[alike]], index[alike]
            advance(len(block))


def _chosen(sets: KmerSets, samples: Indices) -> KmerSets:
    count = sets.sizes[samples]
    upto = np.cumsum(count)
    at = np.arange(count.sum()) + np.repeat(sets.bounds[samples] - (upto - count), count)
    return KmerSets(sets.kmers[at], np.concatenate([[0], upto]), sets.k)


def components(sets: KmerSets, level: float) -> Indices:
    """Which samples hang together, `(samples,)`: numbers of connected components, from 0.

    Two are joined where their Jaccard index is at least `level`. Every pair is compared, so none is overlooked: with a
    sparse product of all k-mers that is faster than MinHash, which would need a hash a band to see pairs at .1.

    Raises:
        SeqclassError: The level is not above 0 and at most 1.
    """
    if not 0 < level <= 1:
        raise SeqclassError(f"a level of {level}", remedy="Choose a --level above 0 and at most 1")
    everything = np.arange(len(sets))
    of = everything
    for one, other, _ in similar_pairs(sets, everything, everything, level):
        of = connect(of, one, other)
    return of


def connect(of: Indices, one: Indices, other: Indices) -> Indices:
    """Components `(samples,)` after pairs of samples were joined to those of before."""
    count = int(of.max(initial=-1)) + 1
    graph = csr_array((np.ones(len(one), dtype=bool), (of[one], of[other])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    joined: Indices = label[of].astype(np.int64)
    return joined
