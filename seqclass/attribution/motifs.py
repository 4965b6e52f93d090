"""Motifs from sequences: counts (PFM), probabilities (PPM), log odds (PWM); and the words that saliency points to.

A matrix has the shape `(width, letters)` in the alphabet's order. Stormo 2000 (Bioinformatics 16, 16).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Alphabet, Tokens, reverse_complement
from seqclass.errors import SequenceError

Matrix = NDArray[np.float64]
Values = NDArray[np.floating[Any]]


class Site(NamedTuple):
    """A stretch of one of several sequences, and how much it counts.

    Attributes:
        sequence: Index of the sequence.
        start: Its first residue, 0-based; negative or beyond the end where the stretch reaches over it.
        weight: 1 for each site alike.
        reverse: Whether it is read from the other strand.
    """

    sequence: int
    start: int
    weight: float = 1.0
    reverse: bool = False


def count_letters(tokens: Tokens, sites: Iterable[Site], width: int, alphabet: Alphabet) -> Matrix:
    """The PFM of sites: how often, by weight, each letter stands at each of `width` places.

    Unknown residues, and what lies beyond a sequence's ends, count as nothing.

    Args:
        tokens: `(sequences, length)`.
        sites: Where the motif lies.
        width: Residues of it.
        alphabet: Of the tokens.
    """
    letters = len(alphabet.letters)
    counts = np.zeros((width, letters + 1))
    length = tokens.shape[1]
    for sequence, start, weight, reverse in sites:
        site = np.full(width, letters, dtype=np.uint8)
        left, right = max(0, start), min(length, start + width)
        if left < right:
            site[left - start : right - start] = tokens[sequence, left:right]
        counts[np.arange(width), reverse_complement(site) if reverse else site] += weight
    return counts[:, :letters]


def weigh(sites: Iterable[Site], saliency: Values, width: int) -> list[Site]:
    """The sites, each weighted by the mean positive saliency in it: for PWMs weighted by Grad-CAM.

    Args:
        sites: Where a motif lies.
        saliency: `(sequences, length)`.
        width: Residues of the motif.
    """
    positive, weighted = np.maximum(saliency, 0), []
    for site in sites:
        inside = positive[site.sequence, max(0, site.start) : max(0, site.start + width)]
        weighted.append(site._replace(weight=float(inside.sum()) / width))
    return weighted


def to_ppm(counts: Matrix, pseudocount: float = 1.0, background: Values | None = None) -> Matrix:
    """Probabilities of letters from counts, with so many counts added in the proportions of the background.

    Args:
        counts: `(width, letters)`.
        pseudocount: In sum over letters; it keeps what was not seen possible.
        background: `(letters,)` probabilities; equal ones by default.

    Raises:
        SequenceError: Nothing was counted at a position, and no pseudocount is given.
    """
    expected = _background(counts, background)
    total = counts.sum(axis=1, keepdims=True) + pseudocount
    if (total <= 0).any():
        raise SequenceError("a motif position without a single letter", remedy="Give sites, or a pseudocount")
    ppm: Matrix = (counts + pseudocount * expected) / total
    return ppm


def to_pwm(ppm: Matrix, background: Values | None = None) -> Matrix:
    """Log2 odds of letters against a background; a sequence's sum of them says how well it fits the motif."""
    pwm: Matrix = np.log2(np.maximum(ppm, 1e-6) / _background(ppm, background))
    return pwm


def consensus(ppm: Matrix, alphabet: Alphabet) -> str:
    """The most probable letter of each position."""
    return alphabet.decode(ppm.argmax(axis=1).astype(np.uint8))


def trim(ppm: Matrix, bits: float = 0.25) -> Matrix:
    """The motif without ends of less information than so many bits; its most informative position stays."""
    content = (ppm * np.log2(np.maximum(ppm, 1e-12) * ppm.shape[1])).sum(axis=1)
    above = np.flatnonzero(content >= min(bits, float(content.max())))
    return ppm[above[0] : above[-1] + 1]


class Word(NamedTuple):
    """A k-mer and the saliency that lies on it.

    Attributes:
        letters: Of DNA, the first of the k-mer and its reverse complement in the alphabet's order.
        saliency: Mean over its occurrences of the saliency's sum.
        occurrences: How often it occurs.
    """

    letters: str
    saliency: float
    occurrences: int


def salient_words(
    tokens: Tokens, saliency: Values, k: int, alphabet: Alphabet, *, most: int = 20, least: int = 3
) -> list[Word]:
    """The k-mers that carry most saliency on average.

    Args:
        tokens: `(sequences, length)`; k-mers with unknown residues are left out.
        saliency: `(sequences, length)`.
        k: Residues.
        alphabet: Of the tokens.
        most: How many are given.
        least: Occurrences below which a k-mer is left out.

    Raises:
        SequenceError: k is not between 1 and the length of the sequences.
    """
    if not 1 <= k <= tokens.shape[1]:
        raise SequenceError(
            f"k-mers of {k} residues in sequences of {tokens.shape[1]}", remedy="Let k be 1 to the length"
        )
    windows = np.lib.stride_tricks.sliding_window_view(tokens, k, axis=1).reshape(-1, k)
    sums = np.lib.stride_tricks.sliding_window_view(np.asarray(saliency, np.float64), k, axis=1).sum(axis=2).ravel()
    known = (windows < len(alphabet.letters)).all(axis=1)
    words, sums = windows[known], sums[known]
    if alphabet is DNA:
        other = reverse_complement(words)
        differ = words != other
        place = differ.argmax(axis=1)
        rows = np.arange(len(words))
        words = np.where((other[rows, place] < words[rows, place])[:, None], other, words)
    unique, index = np.unique(words, axis=0, return_inverse=True)
    counts = np.bincount(index.ravel(), minlength=len(unique))
    means = np.bincount(index.ravel(), sums, minlength=len(unique)) / np.maximum(counts, 1)
    order = [row for row in np.argsort(-means, kind="stable").tolist() if counts[row] >= least]
    return [Word(alphabet.decode(unique[row]), float(means[row]), int(counts[row])) for row in order[:most]]


def _background(matrix: Matrix, background: Values | None) -> Matrix:
    letters = matrix.shape[1]
    return np.full(letters, 1 / letters) if background is None else np.asarray(background, dtype=np.float64)
