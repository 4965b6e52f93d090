"""Amino acids as evolution uses them: how common each is, and how readily one takes another's place.

Frequencies: Robinson & Robinson, PNAS 88, 8880-8884 (1991). Exchange: BLOSUM62, Henikoff & Henikoff, PNAS 89,
10915-10919 (1992).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import PROTEIN, Tokens

Matrix = NDArray[np.float64]

_PER_MILLE = {
    "A": 78.05,
    "C": 19.25,
    "D": 53.64,
    "E": 62.95,
    "F": 38.56,
    "G": 73.77,
    "H": 21.99,
    "I": 51.42,
    "K": 57.44,
    "L": 90.19,
    "M": 22.43,
    "N": 44.87,
    "P": 52.03,
    "Q": 42.64,
    "R": 51.29,
    "S": 71.20,
    "T": 58.41,
    "V": 64.41,
    "W": 13.30,
    "Y": 32.16,
}

_BLOSUM62_ORDER = "ARNDCQEGHILKMFPSTWYV"
_BLOSUM62 = """
 4
-1  5
-2  0  6
-2 -2  1  6
 0 -3 -3 -3  9
-1  1  0  0 -3  5
-1  0  0  2 -4  2  5
 0 -2  0 -1 -3 -2 -2  6
-2  0  1 -1 -3  0  0 -2  8
-1 -3 -3 -3 -1 -3 -3 -4 -3  4
-1 -2 -3 -4 -1 -2 -3 -4 -3  2  4
-1  2  0 -1 -3  1  1 -2 -1 -3 -2  5
-1 -1 -2 -3 -1  0 -2 -3 -2  1  2 -1  5
-2 -3 -3 -3 -2 -3 -3 -3 -1  0  0 -3  0  6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4  7
 1 -1  1  0 -1  0  0  0 -1 -2 -2  0 -1 -2 -1  4
 0 -1  0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1  1  5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1  1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3  2 -1 -1 -2 -1  3 -3 -2 -2  2  7
 0 -3 -3 -3 -1 -2 -2 -3 -3  3  1 -2  1 -1 -2 -2  0 -3 -1  4
"""


@cache
def frequencies() -> Matrix:
    """How common each amino acid is, `(20,)` in the alphabet's order, with sum 1."""
    counts = np.array([_PER_MILLE[letter] for letter in PROTEIN.letters])
    share: Matrix = counts / counts.sum()
    return share


def random_residues(count: int, generator: np.random.Generator) -> Tokens:
    """`(count,)` tokens, each drawn by itself with its natural frequency."""
    return generator.choice(len(PROTEIN.letters), size=count, p=frequencies()).astype(np.uint8)


def random_protein(length: int, generator: np.random.Generator) -> str:
    """The letters of `length` residues, each drawn by itself with its natural frequency."""
    return PROTEIN.decode(random_residues(length, generator))


@cache
def blosum62() -> Matrix:
    """The log-odds scores in half bits, `(20, 20)` in the alphabet's order."""
    scores = np.zeros((20, 20))
    for row, line in enumerate(_BLOSUM62.split("\n")[1:-1]):
        scores[row, : row + 1] = scores[: row + 1, row] = [float(word) for word in line.split()]
    order = [_BLOSUM62_ORDER.index(letter) for letter in PROTEIN.letters]
    reordered: Matrix = scores[np.ix_(order, order)]
    return reordered


@cache
def _spectrum() -> tuple[Matrix, Matrix, Matrix]:
    """Right eigenvectors, eigenvalues and left eigenvectors of the rate matrix."""
    share = frequencies()
    rates = 2 ** (blosum62() / 2) * share
    np.fill_diagonal(rates, 0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    rates /= -(share * rates.diagonal()).sum()
    root = np.sqrt(share)
    values, vectors = np.linalg.eigh(root[:, None] * rates / root)
    return vectors / root[:, None], values, vectors.T * root


def substitution_probabilities(times: Matrix) -> Matrix:
    """How probably each amino acid has become each other after some times.

    A time-reversible Markov process whose stationary distribution is the natural frequencies, and whose exchange
    rates are the odds of BLOSUM62: what is often aligned is often exchanged.

    Args:
        times: `(n,)`, in expected substitutions a site.

    Returns:
        `(n, 20, 20)`; row i holds the distribution of what amino acid i has become.
    """
    right, values, left = _spectrum()
    probabilities: Matrix = (right * np.exp(values * np.asarray(times)[:, None, None])) @ left
    return np.maximum(probabilities, 0)
