"""In-silico saturation mutagenesis of a region: every base replaced by each of the other three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqclass.alphabets import DNA, Tokens
from seqclass.data.chromosomes import ChromosomeNames, listing
from seqclass.data.genome import Genome
from seqclass.data.intervals import parse_region
from seqclass.errors import IntervalError
from seqclass.variants.edits import Edit, window


@dataclass(frozen=True, slots=True)
class BaseRow:
    """One base replaced by another: its labels as the columns of `RegionSubstitutions`, and where it stands."""

    labels: tuple[str | int, ...]
    genome: Genome
    chrom: str
    edit: Edit
    length: int

    def windows(self) -> tuple[Tokens, Tokens]:
        return (
            window(self.genome, self.chrom, self.edit, self.edit.ref, self.length),
            window(self.genome, self.chrom, self.edit, self.edit.alt, self.length),
        )


class RegionSubstitutions:
    """Every substitution in a region, each in a window with it in the middle; positions of N are left out.

    Args:
        region: As in a genome browser: `chr:start-end`, 1-based, both ends included; or a whole chromosome.
        genome: With the chromosome, which may go by another name; see `seqclass.data.chromosomes`.
        length: Of the windows, in bp.

    Attributes:
        columns: Names of the rows' labels: chrom, pos (1-based), ref, alt.
        count: How many there are.
        notes: Sentences on what was left out.
        chrom, start, end: The region with the genome's name, 0-based, half-open.

    Raises:
        IntervalError: The region is written otherwise, empty, or not in the genome, or all of it is N.
    """

    columns = ("chrom", "pos", "ref", "alt")

    def __init__(self, region: str, genome: Genome, length: int) -> None:
        self.genome, self.length = genome, length
        wanted = parse_region(region)
        names = list(genome.lengths)
        found = ChromosomeNames(names, file=genome.path).find([wanted.chrom])
        if wanted.chrom not in found:
            raise IntervalError(
                f"there is no chromosome '{wanted.chrom}'; there are: {listing(names, 30)}",
                remedy="Choose one of them",
                file=genome.path,
            )
        self.chrom = found[wanted.chrom]
        self.start, self.end = wanted.start or 0, wanted.end or genome.lengths[self.chrom]
        limit = genome.lengths[self.chrom]
        if not 0 <= self.start < self.end <= limit:
            raise IntervalError(
                f"{region} is not within {self.chrom} of {limit:,} bp", remedy="Choose start and end from 1 to that"
            )
        self.bases = genome.read(self.chrom, self.start, self.end)
        known = int((self.bases != DNA.unknown_token).sum())
        if not known:
            raise IntervalError(f"all of {region} is N", remedy="Choose another region", file=genome.path)
        self.count = 3 * known
        unknown = len(self.bases) - known
        self.notes = [f"positions left out, as the genome has N there: {unknown:,}"] if unknown else []

    @property
    def identity(self) -> dict[str, object]:
        """All that the rows follow from."""
        region = f"{self.chrom}:{self.start}-{self.end}"
        return {"region": region, "genome": self.genome.digest, "length": self.length}

    def rows(self) -> Iterator[BaseRow]:
        """Each position's three, from left to right."""
        for offset, base in enumerate(self.bases.tolist()):
            if base == DNA.unknown_token:
                continue
            for other in range(len(DNA.letters)):
                if other == base:
                    continue
                start = self.start + offset
                edit = Edit(start, np.array([base], dtype=np.uint8), np.array([other], dtype=np.uint8))
                labels = (self.chrom, start + 1, DNA.letters[base], DNA.letters[other])
                yield BaseRow(labels, self.genome, self.chrom, edit, self.length)
