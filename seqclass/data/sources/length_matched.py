"""Sequences of no class beside those of a table, drawn to be as long: so that a model cannot tell the two by length.

Negatives come from tables of other proteins and differ in length from the positives, often by so much that length alone
tells them apart. Among them, homologues of the positives are the hard ones; there are few, and all of them stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.atomic import atomic_file, check_free
from seqclass.data.delimited import read_header, read_rows
from seqclass.data.homology import find_homologues
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.writing import write_table
from seqclass.data.sources.annotations import Columns
from seqclass.data.sources.negatives import draw_near, ks_distance
from seqclass.data.store import Indices
from seqclass.errors import SourceError

LENGTH_REACH = 10
"""By so many residues a negative may be longer or shorter than the positive for which it is drawn."""

COLUMNS = ("origin", "homologue")


class _Protein(NamedTuple):
    id: str
    label: str
    group: str
    origin: str
    sequence: str


def add_negatives(
    positives: str | Path,
    negatives: Sequence[str | Path],
    out: str | Path,
    *,
    label: str,
    none: str = "none",
    sequence: str = "sequence",
    group: Sequence[str] = (),
    ratio: float = 1.0,
    homologues: bool = False,
    seed: int = 0,
    force: bool = False,
) -> list[str]:
    """Writes one table of proteins that have a class and of such as have none, which are as long.

    It has the columns id, `label`, `group` (where one was named), origin (the table a protein is from), homologue (yes,
    no, or nothing where it was not looked for or the protein has a class) and sequence: for
    `seqclass data import table`, and for accuracy by origin and homologue in a report. Of proteins with the sequence of
    an earlier one only that is written.

    Args:
        positives: CSV or TSV with a row a protein; see `seqclass.data.delimited.read_rows`. Names are in the column id,
            name or accession, the first that there is, here and in the other tables.
        negatives: Tables of proteins of no class.
        out: The table to write, separated by tabs.
        label: The column of classes in `positives`.
        none: What is written there for the others.
        sequence: The column of sequences, in all tables.
        group: Columns of what a split must not tear apart; of each table, the first of these that it has.
        ratio: Negatives for each positive.
        homologues: Also take, whatever their length, all that phmmer finds with one positive of each group (each
            positive where there are no groups) at an E-value up to 0.001, and tell them apart.
        seed: Of the choice.
        force: Replace what stands at `out`.

    Returns:
        Sentences on what was found and drawn.

    Raises:
        SourceError: A table is damaged or lacks a column, a positive has no class or the class of the others, or no
            negative is of a positive's length.
        MissingPackageError: Homologues are asked for, and pyhmmer is not installed.
        OutputExistsError: Something stands at `out` and `force` is false.
    """
    tables = [Path(path) for path in negatives]
    check_free(out, force, inputs=[positives, *tables])
    if not ratio > 0 or not tables:
        raise SourceError(
            f"{ratio:g} negatives for each positive, from {len(tables)} tables",
            remedy="Give a number above 0 and at least one table",
        )
    distinct: dict[str, _Protein] = {}
    for protein in _read(Path(positives), sequence, group, label, none):
        distinct.setdefault(protein.sequence, protein)
    ours = list(distinct.values())
    read = 0
    for path in tables:
        for protein in _read(path, sequence, group, None, none):
            read += 1
            distinct.setdefault(protein.sequence, protein)
    others = list(distinct.values())[len(ours) :]
    notes = [
        f"{len(ours):,} positives; {len(others):,} negatives to draw from, {read - len(others):,} more have the "
        "sequence of an earlier protein."
    ]
    found: dict[int, str] = {}
    if homologues:
        found = _homologues(ours, others)
        shown = "; ".join(f"{others[row].id} ({found[row]})" for row in list(found)[:3])
        notes.append(f"{len(found):,} of these are homologues of a positive, and stay; the nearest: {shown}.")

    length, offered = (np.array([len(each.sequence) for each in part]) for part in (ours, others))
    plain = np.setdiff1d(seeded_generator(seed).permutation(len(others)), list(found), assume_unique=True)
    drawn = plain[draw_near(length, offered[plain], ratio, LENGTH_REACH)]
    if not len(drawn):
        raise SourceError(
            f"none of {len(others):,} negatives is about as long as a positive ({length.min():,} to "
            f"{length.max():,} residues)",
            remedy="Give other tables",
        )
    notes += _about(length, offered, offered[drawn], round(ratio * len(ours)))
    rows = sorted([*drawn.tolist(), *found])
    header = ["id", label, *(["group"] if group else []), *COLUMNS, "sequence"]
    chosen = [(each, "") for each in ours]
    chosen += [(others[row], ("yes" if row in found else "no") if homologues else "") for row in rows]
    with atomic_file(out, force=force) as partial:
        write_table(partial, header, (_cells(each, known, bool(group)) for each, known in chosen))
    return notes


def _cells(protein: _Protein, homologue: str, grouped: bool) -> list[str]:
    group = [protein.group] if grouped else []
    return [protein.id, protein.label, *group, protein.origin, homologue, protein.sequence]


def _read(path: Path, sequence: str, groups: Iterable[str], label: str | None, none: str) -> Iterator[_Protein]:
    header = {name.casefold() for name in read_header(path)}
    group = next((name for name in groups if name.casefold() in header), None)
    id = Columns.find(path, [label or sequence], None, None, group).id
    if id is None:
        raise SourceError(
            "there is no column id, name or accession", remedy="Call the column of names one of these", file=path
        )
    origin = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    for line, (name, letters, family, answer) in read_rows(path, [id, sequence, group, label]):
        if not name or not letters or (label is not None and answer in ("", none)):
            fault = "its name is empty" if not name else "its sequence is empty"
            if name and letters:
                fault = f"its {label} is '{answer}'"
            raise SourceError(
                fault, remedy="Complete the row or take it out, or call the negatives otherwise", file=path, record=line
            )
        yield _Protein(name, answer if label is not None else none, family, origin, letters.upper().rstrip("*"))


def _homologues(ours: Sequence[_Protein], others: Sequence[_Protein]) -> dict[int, str]:
    """Rows of `others`, the nearest first, and of each what it is a homologue of."""
    representatives = {each.group or each.id: each for each in reversed(ours)}
    queries = {each.id: each.sequence for each in representatives.values()}
    hits = find_homologues(queries, [each.sequence for each in others])
    return {hit.row: f"E-value {hit.evalue:.1g} with {hit.query}" for hit in hits}


def _about(length: Indices, offered: Indices, drawn: Indices, wanted: int) -> list[str]:
    return [
        f"Drawn: {len(drawn):,} of {wanted:,} negatives wanted, of a positive's length give or take {LENGTH_REACH}. "
        f"Median length: positives {np.median(length):.0f}, negatives {np.median(drawn):.0f}, all to draw from "
        f"{np.median(offered):.0f} residues.",
        "Kolmogorov-Smirnov distance of lengths from the positives': negatives "
        f"{ks_distance(length, drawn):.3f}, all to draw from {ks_distance(length, offered):.3f}.",
    ]
