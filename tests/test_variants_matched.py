"""Matched controls of variants in motif hits, on a genome whose one motif is where we put it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqclass.data.genome import Genome
from seqclass.errors import SourceError
from seqclass.variants.matched import Site, matched_pairs, motif_hits, peak_middles, sites_of

MOTIF = "ACGTTGCA"[:6] + "GG"


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    """Two chromosomes; the motif at 100 and, reverse complemented, at 300 of the first."""
    generator = np.random.default_rng(0)
    first = list("".join(generator.choice(list("AT"), 500)))
    first[100:108] = MOTIF
    first[300:308] = MOTIF[::-1].translate(str.maketrans("ACGT", "TGCA"))
    second = "".join(generator.choice(list("AT"), 400))
    (tmp_path / "genome.fa").write_text(f">chrA\n{''.join(first)}\n>chrB\n{second}\n")
    return Genome(tmp_path / "genome.fa")


def test_hits_are_the_planted_sites_on_both_strands(genome: Genome) -> None:
    ppm = np.full((8, 4), 0.01)
    ppm[np.arange(8), ["ACGT".index(letter) for letter in MOTIF]] = 0.97
    hits = motif_hits(genome, ppm, share=2 / 900)
    assert np.flatnonzero(hits["chrA"]).tolist() == [*range(100, 108), *range(300, 308)]
    assert not hits["chrB"].any()


def test_distances_are_to_the_nearest_middle_of_a_peak(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "peaks.bed").write_text("chrA\t90\t110\nchrA\t290\t300\n")
    middles = peak_middles(tmp_path / "peaks.bed", genome)
    assert middles["chrA"].tolist() == [100, 295]
    hits = {chrom: np.zeros(length, dtype=bool) for chrom, length in genome.lengths.items()}
    variants = [("chrA", start, "A", "G") for start in (0, 100, 197, 198, 499)] + [("chrB", 10, "A", "G")]
    sites = sites_of(variants, middles, hits)
    nearest = [min(abs(start - middle) for middle in (100, 295)) for start in (0, 100, 197, 198, 499)]
    assert [site.distance for site in sites[:5]] == nearest
    assert sites[5].distance > 10**6


def test_a_change_is_the_same_on_both_strands(genome: Genome) -> None:
    hits = {chrom: np.zeros(length, dtype=bool) for chrom, length in genome.lengths.items()}
    variants = [("chrA", 1, "A", "G"), ("chrA", 2, "T", "C"), ("chrA", 3, "A", "C")]
    changes = [site.change for site in sites_of(variants, {}, hits)]
    assert changes[0] == changes[1] != changes[2]


def test_a_control_has_the_same_change_and_serves_once() -> None:
    generator = np.random.default_rng(0)
    sites = [
        Site(row, int(generator.integers(0, 800)), bool(generator.integers(2)), ("A>C", "A>G", "A>T")[row % 3])
        for row in range(600)
    ]
    found = matched_pairs(sites, generator)
    assert set(found) == {"bound, outside the motif", "in the motif, unbound"}
    for name, pairs in found.items():
        assert pairs
        assert len({control for _, control in pairs}) == len(pairs)
        for ours, control in pairs:
            assert sites[ours].in_hit
            assert sites[ours].distance <= 50
            assert sites[ours].change == sites[control].change
            if name == "in the motif, unbound":
                assert sites[control].in_hit
                assert sites[control].distance > 500
            else:
                assert not sites[control].in_hit
                assert sites[control].distance <= 50


def test_peaks_of_another_genome_are_refused(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "peaks.bed").write_text("chrQ\t90\t110\n")
    with pytest.raises(SourceError):
        peak_middles(tmp_path / "peaks.bed", genome)
