"""Variants in motif hits at bound sites, each beside a variant of the same change that is not: a test of a model.

A model that knows what a factor binds moves its logit more for the first than for the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.data.chromosomes import ChromosomeNames
from seqclass.data.genome import Genome
from seqclass.data.intervals import read_intervals
from seqclass.data.simulate.motifs import scan
from seqclass.errors import SourceError

NEAR = 50
"""A site is bound that lies within so many bp of the middle of a peak; ten times as far from all of them it is not."""

SHARE = 1e-4
"""The best so many of a genome's positions are hits."""

BACKGROUND = (0.31, 0.19, 0.19, 0.31)
"""Shares of A, C, G and T in yeast."""

_NOWHERE = 10**9


class Site(NamedTuple):
    """An SNV as one factor sees it.

    Attributes:
        row: Which of the SNVs.
        distance: To the middle of the nearest peak, in bp.
        in_hit: Whether a hit of the motif covers it.
        change: Such as "A>G", the same on both strands.
    """

    row: int
    distance: int
    in_hit: bool
    change: str


def peak_middles(file: str | Path, genome: Genome) -> dict[str, NDArray[np.int64]]:
    """The middles of a factor's peaks on each chromosome of a genome, rising, 0-based.

    Raises:
        SourceError: The file has no peaks, or their chromosomes are not the genome's.
    """
    peaks = read_intervals(file)
    names = ChromosomeNames(list(genome.lengths), file=genome.path).find(peaks.chroms)
    if not any(name in names for name in peaks.chroms):
        raise SourceError(
            f"none of the chromosomes ({', '.join(peaks.chroms[:5])}) is one of the genome's",
            remedy="Give the peaks of this genome",
            file=file,
        )
    middle = (peaks.start + peaks.end) // 2
    return {
        names[name]: np.sort(middle[peaks.chrom == number]) for number, name in enumerate(peaks.chroms) if name in names
    }


def motif_hits(genome: Genome, ppm: NDArray[np.float64], share: float = SHARE) -> dict[str, NDArray[np.bool_]]:
    """Which bases of each chromosome lie in a hit of a motif on either strand.

    Args:
        genome: All of it is scanned.
        ppm: `(length, 4)`: probabilities of A, C, G and T.
        share: The best so many of its positions are hits; see `SHARE`.
    """
    scores = {chrom: scan(genome.read(chrom, 0, length), ppm, BACKGROUND) for chrom, length in genome.lengths.items()}
    least = max(np.quantile(np.concatenate(list(scores.values())), 1 - share), 1e-9)
    inside = {}
    for chrom, values in scores.items():
        inside[chrom] = np.zeros(genome.lengths[chrom], dtype=bool)
        for start in np.flatnonzero(values >= least):
            inside[chrom][start : start + len(ppm)] = True
    return inside


def sites_of(
    variants: Iterable[tuple[str, int, str, str]],
    middles: Mapping[str, NDArray[np.int64]],
    hits: Mapping[str, NDArray[np.bool_]],
) -> list[Site]:
    """SNVs (chromosome, 0-based position, REF, ALT) as a factor with these peaks and hits sees them."""
    sites = []
    for row, (chrom, start, ref, alt) in enumerate(variants):
        peaks = middles.get(chrom, np.empty(0, dtype=np.int64))
        at = int(np.searchsorted(peaks, start))
        distance = min((abs(int(peak) - start) for peak in peaks[max(0, at - 1) : at + 1]), default=_NOWHERE)
        sites.append(Site(row, distance, bool(hits[chrom][start]), _strandless(ref, alt)))
    return sites


def matched_pairs(sites: list[Site], generator: np.random.Generator) -> dict[str, list[tuple[int, int]]]:
    """Each SNV in a bound hit with a control of the same change, and as near to a peak as can be; none serves twice.

    Returns:
        By kind of control, the rows of both: "bound, outside the motif" and "in the motif, unbound".
    """
    bound = [site for site in sites if site.in_hit and site.distance <= NEAR]
    controls = {
        "bound, outside the motif": [site for site in sites if not site.in_hit and site.distance <= NEAR],
        "in the motif, unbound": [site for site in sites if site.in_hit and site.distance > 10 * NEAR],
    }
    found: dict[str, list[tuple[int, int]]] = {}
    for name, left in controls.items():
        found[name] = []
        for site in [bound[each] for each in generator.permutation(len(bound))]:
            same = [each for each in left if each.change == site.change]
            if same:
                match = min(same, key=lambda each: abs(each.distance - site.distance))
                left.remove(match)
                found[name].append((site.row, match.row))
    return found


def _strandless(ref: str, alt: str) -> str:
    complement = str.maketrans("ACGT", "TGCA")
    return min(f"{ref}>{alt}", f"{ref}>{alt}".translate(complement))
