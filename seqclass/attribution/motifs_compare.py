"""Motifs found in a model against a database of known ones, with p-values: TOMTOM, through memelite.

Gupta et al. 2007 (Genome Biol. 8, R24).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.attribution.motifs import Matrix, to_ppm
from seqclass.data.fasta import open_maybe_gzip
from seqclass.data.simulate.motifs import read_meme
from seqclass.errors import MissingPackageError, SourceError


class Match(NamedTuple):
    """A known motif that one of ours is like.

    Attributes:
        query: Name of ours.
        target: Name of the known one.
        p_value: Of so good an alignment with a random motif of the database's columns.
        e_value: How many such are to be expected in a database of that size.
        offset: Positions by which the query begins behind the known motif.
        overlap: Positions that were compared.
        reverse: Whether the query's reverse complement fits.
    """

    query: str
    target: str
    p_value: float
    e_value: float
    offset: int
    overlap: int
    reverse: bool


def read_database(path: str | Path) -> dict[str, Matrix]:
    """Probability matrices `(width, 4)` by name, from a MEME file or from one of counts in JASPAR's PFM format.

    Raises:
        SourceError: It is neither, or a matrix is not one; the line is named.
        SequenceError: The file is missing or damaged.
    """
    with open_maybe_gzip(path) as stream:
        lines = [line.decode("utf-8", "replace").strip() for line in stream]
    if not next((line for line in lines if line), "").startswith(">"):
        return read_meme(path)[0]
    counts: dict[str, list[list[float]]] = {}
    for number, line in enumerate(lines, start=1):
        if line.startswith(">"):
            name = " ".join(line[1:].split()) or f"motif at line {number}"
            counts[name] = []
        elif line:
            words = line.lstrip("ACGTacgt").replace("[", " ").replace("]", " ").split()
            try:
                counts[name].append([float(word) for word in words])
            except ValueError:
                raise SourceError(
                    f"{line[:60]!r} is not a row of counts",
                    remedy="Give JASPAR's PFM format or MEME",
                    file=path,
                    record=number,
                ) from None
    for name, rows in counts.items():
        if len(rows) != 4 or len({len(row) for row in rows}) != 1 or not rows[0]:
            raise SourceError(
                f"the motif {name} has rows of {', '.join(str(len(row)) for row in rows)} counts, where four of one "
                "length (A, C, G, T) are expected",
                remedy="Give JASPAR's PFM format or MEME",
                file=path,
            )
    return {name: to_ppm(np.array(rows).T, pseudocount=0.0001) for name, rows in counts.items()}


def compare(queries: Mapping[str, Matrix], database: Mapping[str, Matrix], *, most: int = 5) -> list[Match]:
    """The known motifs that each of ours is most like, the best first.

    P-values come from the database's own columns: of fewer than about 50 motifs they are rough.

    Args:
        queries: `(width, 4)` probabilities by name.
        database: As queries, as from `read_database`.
        most: Matches of each.

    Raises:
        MissingPackageError: memelite is not installed.
        SourceError: The database is empty.
    """
    try:
        from memelite import tomtom
    except ImportError:
        raise MissingPackageError("Comparing motifs", "memelite", "motifs") from None
    if not database:
        raise SourceError("an empty database of motifs", remedy="Give one in MEME or JASPAR format")
    if not queries:
        return []
    names = list(database)
    found = tomtom([ppm.T for ppm in queries.values()], [ppm.T for ppm in database.values()], n_jobs=1)
    p_values, _, offsets, overlaps, strands = (np.asarray(each) for each in found[:5])
    matches = []
    for row, query in enumerate(queries):
        for column in np.argsort(p_values[row], kind="stable")[:most].tolist():
            p_value = float(p_values[row, column])
            place = int(offsets[row, column]), int(overlaps[row, column]), bool(strands[row, column])
            matches.append(Match(query, names[column], p_value, p_value * len(names), *place))
    return matches
