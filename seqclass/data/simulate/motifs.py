"""Motifs as position probability matrices: a few built in, sampling and scanning with them, MEME files.

A matrix (PPM) has the shape `(width, 4)` in the alphabet's order A, C, G, T; each row sums to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.data.fasta import open_maybe_gzip
from seqclass.errors import SourceError

Matrix = NDArray[np.float64]

_LEAST = 1e-6

# Idealised from the consensus sites of four yeast factors as given by MacIsaac et al., BMC Bioinformatics 7:113 (2006).
CONSENSUS = {
    "Reb1": "TTACCCGGT",
    "Rap1": "ACACCCRYACAYM",
    "Cbf1": "RTCACGTGAY",
    "Gcn4": "RTGACTCATY",
}

_IUPAC = {
    **{letter: letter for letter in "ACGT"},
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}


def consensus_ppm(consensus: str, sharpness: float) -> Matrix:
    """The `(width, 4)` PPM in which each position takes one of the consensus' letters with probability `sharpness`.

    Args:
        consensus: IUPAC letters; N is any base with equal probability.
        sharpness: From 1/4 (no motif) to 1 (always the consensus).
    """
    matrix = np.empty((len(consensus), 4))
    for row, letter in zip(matrix, consensus, strict=True):
        allowed = np.array([base in _IUPAC[letter] for base in DNA.letters])
        inside = sharpness if not allowed.all() else 1.0
        row[:] = np.where(allowed, inside / allowed.sum(), (1 - inside) / max(1, (~allowed).sum()))
    return matrix


def draw(ppm: Matrix, count: int, generator: np.random.Generator) -> Tokens:
    """`(count, width)` tokens, each letter drawn by itself with the probabilities of its position."""
    steps = np.cumsum(ppm, axis=1)[:, :3]
    tokens: Tokens = (generator.random((count, len(ppm), 1)) >= steps).sum(axis=2, dtype=np.uint8)
    return tokens


def scan(tokens: Tokens, ppm: Matrix, background: ArrayLike) -> NDArray[np.float64]:
    """How well the motif fits at each position, on the better of the two strands, as log2 odds against the background.

    Args:
        tokens: `(..., length)` DNA tokens. An unknown base adds nothing to a score.
        ppm: `(width, 4)` probabilities.
        background: `(4,)` probabilities of A, C, G and T outside motifs.

    Returns:
        `(..., length - width + 1)` scores; position i is that of the site `[i, i + width)`.
    """
    odds = np.log2(np.maximum(ppm, _LEAST) / np.asarray(background))
    forward = np.column_stack([odds, np.zeros(len(odds))])
    backward = np.column_stack([odds[::-1, ::-1], np.zeros(len(odds))])
    positions = tokens.shape[-1] - len(ppm) + 1
    strands = [
        sum(row[tokens[..., offset : offset + positions]] for offset, row in enumerate(table))
        for table in (forward, backward)
    ]
    best: NDArray[np.float64] = np.maximum(*strands)
    return best


def meme_text(ppms: Mapping[str, Matrix], background: ArrayLike) -> str:
    """The motifs in the minimal MEME format, version 4."""
    frequencies = " ".join(f"{b} {p:.6f}" for b, p in zip(DNA.letters, np.asarray(background), strict=True))
    lines = [
        "MEME version 4",
        "",
        "ALPHABET= ACGT",
        "",
        "strands: + -",
        "",
        "Background letter frequencies",
        frequencies,
    ]
    for name, ppm in ppms.items():
        lines += ["", f"MOTIF {name}", f"letter-probability matrix: alength= 4 w= {len(ppm)}"]
        lines += [" ".join(f"{p:.6f}" for p in row) for row in ppm]
    return "\n".join(lines) + "\n"


def read_meme(path: str | Path) -> tuple[dict[str, Matrix], NDArray[np.float64]]:
    """The motifs of a file in the minimal MEME format by name, and its background, `(4,)`.

    Raises:
        SourceError: A matrix has rows that are not four numbers, or there is no motif.
        SequenceError: The file is missing or damaged.
    """
    rows: dict[str, list[list[float]]] = {}
    background = np.full(4, 0.25)
    in_matrix, name, previous = False, "", ""
    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            line = raw.decode("utf-8", "replace").strip()
            try:
                if previous.startswith("Background letter frequencies"):
                    background = np.array([float(word) for word in line.split()[1::2]])
                elif line.startswith("MOTIF "):
                    in_matrix, name = False, line.split()[1]
                elif line.startswith("letter-probability matrix"):
                    in_matrix, rows[name] = True, []
                elif in_matrix and line[:1].isdigit():
                    a, c, g, t = map(float, line.split())
                    rows[name].append([a, c, g, t])
            except ValueError:
                raise SourceError(
                    f"{line[:60]!r} is not a probability for each of A, C, G and T",
                    remedy="Give motifs in the minimal MEME format",
                    file=path,
                    record=number,
                ) from None
            previous = line
    if not any(rows.values()):
        raise SourceError("no motif in this file", remedy="Give motifs in the minimal MEME format", file=path)
    return {name: np.array(matrix) for name, matrix in rows.items()}, background
