"""Substitutions in proteins: those of a list (`A123V`), or all there are (a deep mutational scan)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.alphabets import PROTEIN, Tokens
from seqclass.bundle import Bundle
from seqclass.data.chromosomes import listing
from seqclass.data.fasta import open_maybe_gzip, read_fasta
from seqclass.data.letters import LetterPolicy, LetterReader
from seqclass.errors import SequenceError, SourceError, find_name
from seqclass.predict import cut
from seqclass.variants.vcf_variants import REF_MISMATCHES, RefMismatch

_SUBSTITUTION = re.compile(r"([A-Za-z])([1-9]\d*)([A-Za-z])")


class _Protein(NamedTuple):
    name: str
    tokens: Tokens
    line: int


class _Listed(NamedTuple):
    """A line of a list: its substitutions as written, and each as residue expected, place (from 0), and new residue."""

    text: str
    changes: tuple[tuple[int, int, int], ...]
    line: int


@dataclass(frozen=True, slots=True)
class ResidueRow:
    """A protein with one or more residues replaced: its labels as the source's columns."""

    labels: tuple[str | int, ...]
    tokens: Tokens
    changes: tuple[tuple[int, int], ...]
    length: int | None

    def windows(self) -> tuple[Tokens, Tokens]:
        changed = self.tokens.copy()
        for place, residue in self.changes:
            changed[place] = residue
        if self.length is None or len(changed) == self.length:
            return self.tokens, changed
        places = [place for place, _ in self.changes]
        start = (min(places) + max(places) + 1) // 2 - (self.length - 1) // 2
        return _around(self.tokens, start, self.length), _around(changed, start, self.length)


def _around(tokens: Tokens, start: int, length: int) -> Tokens:
    """Residues `[start, start + length)`, X where the protein does not reach."""
    out = np.full(length, PROTEIN.unknown_token, dtype=np.uint8)
    first, last = max(0, start), min(len(tokens), start + length)
    out[first - start : last - start] = tokens[first:last]
    return out


class DeepMutationalScan:
    """Each residue of each protein replaced by each of the other 19; unknown residues are left as they are.

    A model that takes any length sees the whole protein, one of a fixed length a window with the residue in the middle.

    Args:
        fasta: Proteins, plain or gzip.
        bundle: The model, for what it takes.

    Attributes:
        columns: Names of the rows' labels: protein, substitution, pos (1-based), ref, alt.
        count: How many there are.
        notes: Sentences on what was changed on reading.

    Raises:
        SequenceError: The file is missing, empty or no FASTA, two records share a name, a letter is no residue, or a
            protein is longer than the model takes.
    """

    columns = ("protein", "substitution", "pos", "ref", "alt")

    def __init__(self, fasta: str | Path, bundle: Bundle) -> None:
        self.path, self._bundle = Path(fasta), bundle
        self.notes: list[str] = []
        self.count = sum(1 for _ in self.rows())

    @property
    def identity(self) -> dict[str, object]:
        """All that the rows follow from."""
        return {"fasta": _digest(self.path), "scan": True}

    def rows(self) -> Iterator[ResidueRow]:
        """By protein and position."""
        for protein in _read(self.path, self._bundle, self.notes):
            for place, residue in enumerate(protein.tokens.tolist()):
                if residue == PROTEIN.unknown_token:
                    continue
                ref = PROTEIN.letters[residue]
                for other, alt in enumerate(PROTEIN.letters):
                    if other == residue:
                        continue
                    labels = (protein.name, f"{ref}{place + 1}{alt}", place + 1, ref, alt)
                    yield ResidueRow(labels, protein.tokens, ((place, other),), self._bundle.length)


class Substitutions:
    """The substitutions of a list, one variant a line: the protein's name, a tab, and `A123V` or `A123V:L45P`.

    Residues are numbered from 1. The name may be left out where the FASTA file has one protein. Rows come in the order
    of the proteins.

    Args:
        listed: The list.
        fasta: Proteins, plain or gzip.
        bundle: The model, for what it takes; see `DeepMutationalScan`.
        ref_mismatch: What becomes of a line whose residue is not the protein's: "error", "skip", or "flag", which
            makes the substitution all the same and tells in a column.

    Attributes:
        columns: Names of the rows' labels: protein, substitution, and ref_matches where mismatches are flagged.
        count: How many there are.
        notes: Sentences on what was skipped or changed on reading.

    Raises:
        SequenceError: As for a scan.
        SourceError: A line is written otherwise, a protein is not in the FASTA file, or the residue is not there.
        UnknownNameError: There is no such way with mismatches.
    """

    def __init__(
        self, listed: str | Path, fasta: str | Path, bundle: Bundle, *, ref_mismatch: RefMismatch = "error"
    ) -> None:
        self.path, self.fasta, self._bundle = Path(listed), Path(fasta), bundle
        self.ref_mismatch = find_name("way with REF mismatches", ref_mismatch, REF_MISMATCHES)
        self.columns = ["protein", "substitution", *(["ref_matches"] if self.ref_mismatch == "flag" else [])]
        self.notes: list[str] = []
        self._by_protein = self._parse()
        self._skipped = 0
        self.count = sum(1 for _ in self.rows())
        if self._skipped:
            self.notes.append(f"lines left out whose residue is not the protein's: {self._skipped:,}")

    @property
    def identity(self) -> dict[str, object]:
        """All that the rows follow from."""
        return {"fasta": _digest(self.fasta), "list": _digest(self.path), "ref_mismatch": self.ref_mismatch}

    def rows(self) -> Iterator[ResidueRow]:
        """By protein, each one's in the order of the list."""
        self._skipped = 0
        missing = dict(self._by_protein)
        seen: list[str] = []
        for protein in _read(self.fasta, self._bundle, self.notes):
            seen.append(protein.name)
            if len(seen) > 1 and None in self._by_protein:
                self._refuse(self._by_protein[None][0], "no protein is named, and the FASTA file has several")
            for listed in (*missing.pop(None, ()), *missing.pop(protein.name, ())):
                wrong = self._wrong(protein, listed)
                if wrong and self.ref_mismatch == "error":
                    self._refuse(listed, wrong, "Check the numbering, or pass --ref-mismatch skip or flag")
                if wrong and self.ref_mismatch == "skip":
                    self._skipped += 1
                    continue
                flag = () if self.ref_mismatch != "flag" else ("no" if wrong else "yes",)
                changes = tuple((place, alt) for _, place, alt in listed.changes)
                yield ResidueRow((protein.name, listed.text, *flag), protein.tokens, changes, self._bundle.length)
        for name, lines in missing.items():
            self._refuse(lines[0], f"there is no protein '{name}' in {self.fasta}, which has {listing(seen)}")

    def _wrong(self, protein: _Protein, listed: _Listed) -> str | None:
        """What is expected of the protein and is not there, if anything."""
        for ref, place, _ in listed.changes:
            if place >= len(protein.tokens):
                length = len(protein.tokens)
                self._refuse(listed, f"residue {place + 1} of '{protein.name}', which has {length:,}")
            if protein.tokens[place] not in (ref, PROTEIN.unknown_token):
                found = PROTEIN.letters[protein.tokens[place]]
                return (
                    f"{PROTEIN.decode(np.array([ref]))} expected at {place + 1} of '{protein.name}', which has {found}"
                )
        return None

    def _parse(self) -> dict[str | None, list[_Listed]]:
        found: dict[str | None, list[_Listed]] = {}
        with open_maybe_gzip(self.path) as stream:
            for line, raw in enumerate(stream, start=1):
                text = raw.decode("utf-8", "replace").removeprefix("\ufeff").strip()
                if not text or text.startswith("#"):
                    continue
                name, _, written = text.rpartition("\t")
                changes = []
                for part in written.strip().split(":"):
                    match = _SUBSTITUTION.fullmatch(part)
                    if not match or not {match[1].upper(), match[3].upper()} <= set(PROTEIN.letters):
                        self._refuse(
                            _Listed(text, (), line),
                            f"{part[:30]!r} is no substitution",
                            "Write the protein's name, a tab, and a substitution such as A123V (one-letter residues, "
                            "numbered from 1); join those of one variant by ':'",
                        )
                    assert match is not None
                    ref, alt = PROTEIN.encode(match[1] + match[3]).tolist()
                    changes.append((ref, int(match[2]) - 1, alt))
                found.setdefault(name.strip() or None, []).append(_Listed(written.strip(), tuple(changes), line))
        if not found:
            raise SourceError("no substitution in this file", remedy="Write one a line, such as A123V", file=self.path)
        return found

    def _refuse(self, listed: _Listed, problem: str, remedy: str = "Correct the line") -> None:
        raise SourceError(problem, remedy=remedy, file=self.path, record=listed.line)


def _read(path: Path, bundle: Bundle, notes: list[str]) -> Iterator[_Protein]:
    """The proteins of a FASTA file; `notes` becomes what was changed."""
    reader = LetterReader(PROTEIN, LetterPolicy())
    seen: dict[str, int] = {}
    for record in read_fasta(path):
        place = f"line {record.line}, record '{record.name}'"
        if seen.setdefault(record.name, record.line) != record.line:
            raise SequenceError(
                f"a second record is called '{record.name}'; the first is in line {seen[record.name]}",
                remedy="Rename one, or leave it out",
                file=path,
                record=record.line,
            )
        tokens = _tokens(reader, record.letters, path, place)
        if bundle.length is None:
            try:
                list(cut(bundle, tokens, "error"))
            except SequenceError as error:
                raise SequenceError(
                    error.problem, remedy="Leave the record out, or cut the protein", file=path, record=place
                ) from None
        yield _Protein(record.name, tokens, record.line)
    notes[:] = reader.notes()


def _tokens(reader: LetterReader, letters: bytes, path: Path, place: str) -> Tokens:
    return reader.read([letters], lambda _: (path, place))[0]


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
