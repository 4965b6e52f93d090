"""What samples of different splits have in common, so that a test would measure memory rather than learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, reverse_complement
from seqclass.data.similarity import kmer_sets, similar_pairs
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.data.tape import Tape, extent
from seqclass.progress import progress

_LISTED = 100_000

# Of more k-mers, 8 bytes each, only one in so many is looked at.
_MOST_KMERS = 100_000_000

# Positions that are hashed at a time, and the most that are kept without thinning out.
_HASHED_AT_ONCE, _ALL_POSITIONS = 1 << 20, 100_000_000

Hashes = NDArray[np.uint64]


@dataclass
class Pairs:
    """Pairs of samples of two splits that have something in common.

    Attributes:
        splits: Names of the two; the second is the one nearer to train.
        count: How many pairs there are, listed or not.
        samples: How many samples of the first split are in one.
        of: How many samples of the first split were compared.
        exact: How many of them have one with just the same k-mers.
        listed: The sample of either split, and how alike they are, most alike first within a sample.
    """

    splits: tuple[str, str]
    count: int = 0
    samples: int = 0
    of: int = 0
    exact: int = 0
    listed: list[tuple[int, int, float]] = field(default_factory=list)


def near_duplicates(store: Store, level: float, *, k: int | None = None, most: int, seed: int = 0) -> list[Pairs]:
    """Pairs of samples of different splits whose k-mers have a Jaccard index of at least `level`; 1 is a duplicate.

    Args:
        store: Of tokens.
        level: Above 0, at most 1.
        k: Length of the k-mers, in residues. Default: 5 for proteins, 12 for DNA.
        most: Of more samples in valid or test, so many are drawn and compared with all of the other split.
        seed: Of which.

    Of a store of more than 100 million k-mers only one in so many is compared, the same ones in all samples.
    """
    found = []
    one_in = max(1, -(-int(store.views.length.sum(dtype=np.int64)) // _MOST_KMERS))
    sets = kmer_sets(store, np.arange(len(store)), k, one_in)
    for later, earlier in _split_pairs(store):
        rows, columns = store.samples(later), store.samples(earlier)
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        pairs = Pairs((later, earlier), of=len(rows))
        for one, other, index in similar_pairs(sets, rows, columns, level):
            pairs.count += len(one)
            pairs.samples += len(np.unique(one))
            pairs.exact += len(np.unique(one[index == 1]))
            room = _LISTED - len(pairs.listed)
            pairs.listed += list(zip(one[:room].tolist(), other[:room].tolist(), index[:room].tolist(), strict=True))
        found.append(pairs)
    return found


def overlaps(store: Store) -> list[Pairs]:
    """Pairs of samples of different splits that read some of the same residues of the tape, as overlapping windows do.

    Samples of one protein count wherever on it they lie. Of each sample of the later split, one that
    overlaps it most is listed and counted.
    """
    begin, end = extent(store, store.views)
    if store.alphabet is not DNA:
        begin = store.contig_start[store.views.contig]
        end = begin + store.contig_length[store.views.contig]
    found = []
    for later, earlier in _split_pairs(store):
        rows, columns = store.samples(later), store.samples(earlier)
        columns = columns[np.argsort(begin[columns], kind="stable")]
        reach = np.maximum.accumulate(end[columns])
        farthest = np.maximum.accumulate(np.where(end[columns] == reach, np.arange(len(columns)), 0))
        # The last sample that begins before this one ends, if anything before it reaches this far.
        last = np.searchsorted(begin[columns], end[rows]) - 1
        touches = (last >= 0) & (reach[np.maximum(last, 0)] > begin[rows])
        rows, last = rows[touches], last[touches]
        pairs = Pairs((later, earlier), len(rows), len(rows), of=len(store.samples(later)))
        for row, place in zip(rows[:_LISTED].tolist(), last[:_LISTED].tolist(), strict=True):
            # A long sample that begins far before may be the only one that reaches this far.
            near = columns[[farthest[place], *range(max(0, place - 50), place + 1)]]
            shared = np.minimum(end[near], end[row]) - np.maximum(begin[near], begin[row])
            best = int(shared.argmax())
            pairs.listed.append((row, int(near[best]), float(shared[best] / (end[row] - begin[row]))))
        found.append(pairs)
    return found


@dataclass
class Repeats:
    """Stretches of DNA that two splits share, in other places of the genome.

    Attributes:
        splits: Names of the two.
        positions: How many positions of the first begin such a stretch, on either strand.
        share: Their share of the positions that were looked at.
        samples: How many samples of the first split hold one.
        of: How many samples that split has.
        examples: Contig and position of a stretch in the first split, and in the second.
    """

    splits: tuple[str, str]
    positions: int
    share: float
    samples: int
    of: int
    examples: list[tuple[str, int, str, int]]


def repeats(store: Store, length: int) -> list[Repeats]:
    """Stretches of at least `length` bp that occur in two splits, on either strand.

    Stretches are known by 64-bit hashes, so a false one is about as likely as 1 in 10,000 for a human genome. Of more
    than 100 million positions only those whose hash is a multiple of some number are looked at, the same everywhere.
    """
    by_split = {name: _hashes(store, store.samples(name), length) for name in SPLITS if len(store.samples(name))}
    found = []
    for later, earlier in _split_pairs(store):
        looked = by_split[later][2]
        common = _common(by_split[later][0], by_split[earlier][0])
        hashes, at = _only(common, *by_split[later][:2])
        others, other_at = _only(common, *by_split[earlier][:2])
        order = np.argsort(others, kind="stable")
        there = other_at[order][np.searchsorted(others[order], hashes)]
        # What two splits read at one place is an overlap, not a repeat.
        at, there = at[there != at], there[there != at]
        mine = np.sort(at)
        rows = store.samples(later)
        begin, end = extent(store, store.views[rows])
        holding = np.searchsorted(mine, np.maximum(end - length, begin), side="right") > np.searchsorted(mine, begin)
        examples = [
            (*_on_contig(store, one), *_on_contig(store, other))
            for one, other in zip(at[:5].tolist(), there[:5].tolist(), strict=True)
        ]
        share = len(mine) / max(1, looked)
        found.append(Repeats((later, earlier), len(mine), share, int(holding.sum()), len(rows), examples))
    return found


def _common(one: Hashes, other: Hashes) -> Hashes:
    """Hashes that both hold, ascending."""
    # Both sorted, since looking up in random order would wait for memory each time.
    one, other = np.sort(one), np.sort(other)
    place = np.searchsorted(other, one)
    known = place < len(other)
    known[known] = other[place[known]] == one[known]
    return np.unique(one[known])


def _only(common: Hashes, hashes: Hashes, at: Indices) -> tuple[Hashes, Indices]:
    """Those of the hashes that are in `common`, and where they are."""
    place = np.searchsorted(common, hashes)
    known = place < len(common)
    known[known] = common[place[known]] == hashes[known]
    return hashes[known], at[known]


def _hashes(store: Store, samples: Indices, length: int) -> tuple[Hashes, Indices, int]:
    """Hashes of the stretches that samples cover, where on the tape each begins, and how many positions there were."""
    views = store.views[samples]
    begin, end = extent(store, views)
    order = np.argsort(begin, kind="stable")
    begin, reach = begin[order], np.maximum.accumulate(end[order])
    fresh = np.flatnonzero(np.append(True, begin[1:] > reach[:-1]))
    starts, stops = begin[fresh], reach[np.append(fresh[1:], len(reach)) - 1]
    thin = np.uint64(max(1, -(-store.num_residues // _ALL_POSITIONS)))
    tape = Tape(store, views)
    parts: list[tuple[Hashes, Indices]] = []
    looked = 0
    with progress("Hashing stretches", int((stops - starts).sum()), "bp") as advance:
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            shift = int(tape.place(np.array([start]))[0]) - start
            for first in range(start, stop, _HASHED_AT_ONCE):
                last = min(first + _HASHED_AT_ONCE + length - 1, stop)
                hashes = _rolling(tape.residues[first + shift : last + shift], length)
                looked += len(hashes)
                kept = np.flatnonzero((hashes % thin == 0) & (hashes != 0))
                parts.append((hashes[kept], kept + first))
                advance(min(_HASHED_AT_ONCE, stop - first))
    nothing = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    joined = [np.concatenate(column) for column in zip(nothing, *parts, strict=True)]
    return joined[0], joined[1], looked // int(thin)


def _rolling(tokens: NDArray[np.uint8], length: int) -> Hashes:
    """A hash of the stretch that begins at each token, the same for its reverse complement; 0 with an unknown base."""
    if len(tokens) < length:
        return np.zeros(0, dtype=np.uint64)
    forward = _polynomial(tokens, length)
    backward = _polynomial(reverse_complement(tokens), length)[::-1]
    unknown = np.concatenate([[0], np.cumsum(tokens >= DNA.unknown_token)])
    known = unknown[length:] == unknown[:-length]
    return np.where(known, np.minimum(forward, backward), np.uint64(0))


def _polynomial(tokens: NDArray[np.uint8], length: int) -> Hashes:
    """Hashes by doubling: that of 2 n tokens from those of its halves (Karp and Rabin 1987)."""
    # Numbers modulo 2 ** 64 wrap around by themselves.
    base = np.uint64(0x9E3779B97F4A7C15)
    letters = np.array([0x8F1BBCDCBFA53E0B, 0xCA62C1D6F70E1A2D, 0x5A8279996ED9EBA1, 0x6ED9EBA1D192ED03, 1], np.uint64)
    power, span, powers = letters[tokens], 1, base
    out, done = np.zeros(len(tokens), dtype=np.uint64), 0
    while True:
        if length & span:
            usable = len(tokens) - done - span + 1
            out = out[:usable] * powers + power[done : done + usable]
            done += span
        if done == length:
            break
        power = power[:-span] * powers + power[span:]
        powers = np.uint64(int(powers) ** 2 % 2**64)
        span *= 2
    return _spread(out)


def _spread(hashes: Hashes) -> Hashes:
    """Mixes all bits, as the low ones of a polynomial are poor (the finaliser of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _on_contig(store: Store, position: int) -> tuple[str, int]:
    contig = int(np.searchsorted(store.contig_start, position, side="right")) - 1
    return store.contig_names[contig], position - int(store.contig_start[contig])


def _split_pairs(store: Store) -> Sequence[tuple[str, str]]:
    """Test against train, valid against train, test against valid, of the splits that have samples."""
    there = [name for name in SPLITS if len(store.samples(name))]
    return [(later, earlier) for earlier, later in combinations(there, 2)]
