"""A simulated genome with motif sites, and a VCF of variants that destroy them, create them, or do neither.

What an allele does is counted, not assumed: the sites of each motif (any match of its consensus, on either strand) in
the stretch around the variant, with the reference allele and with the alternative one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens, reverse_complement
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.motifs import CONSENSUS, consensus_ppm, draw
from seqclass.data.simulate.writing import write_fasta, write_table
from seqclass.errors import SourceError
from seqclass.progress import track

_MARK = "effects.tsv"
_BACKGROUND = np.array([0.3, 0.2, 0.2, 0.3])
# One variant stands in each stretch of so many bp, so no two touch or meet one site.
_STRETCH, _MARGIN = 100, 20
_AROUND = max(map(len, CONSENSUS.values())) - 1
_MOST_BASES = 6
_KINDS = ("snv", "insertion", "deletion", "multi-allelic")
_README = """\
Simulated variants on a genome with motif sites.

genome.fa       {chromosomes} chromosomes of {length} bp
variants.vcf    {variants} records with one sample's genotypes: SNVs, insertions, deletions, and records of two
                alternative alleles; REF is the genome's, indels are left-aligned
sites.tsv       every match of a motif in the genome: chrom, start, end (0-based, half-open), strand, motif
effects.tsv     what each alternative allele does to each motif: chrom, pos (1-based, as in the VCF), ref, alt, kind,
                motif, effect (destroys, creates, none), and how many sites there are around it, before and after
"""

Allowed = NDArray[np.bool_]


def simulate_vcf(
    out: str | Path,
    *,
    chromosomes: int = 2,
    length: int = 50_000,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Writes a folder with a genome, a VCF, and what each allele does to the sites of four motifs.

    The folder holds `genome.fa`, `variants.vcf` (4.2, one record in each 100 bp), `sites.tsv`, `effects.tsv` and
    `README.txt`. About half of the variants lie in a planted site; a sixth in a site that lacks one base, which some of
    them restore; the rest between sites.

    Args:
        out: The folder to write.
        chromosomes: How many there are: chr1, chr2, ...
        length: Of each chromosome, in bp.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: There is no chromosome, they are too short, or the seed is negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    if chromosomes < 1 or length < 1000:
        raise SourceError(
            f"{chromosomes} chromosomes of {length} bp cannot hold variants",
            remedy="Take at least one chromosome of 1000 bp or more",
        )
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    allowed = {name: consensus_ppm(consensus, 1.0) > 0 for name, consensus in CONSENSUS.items()}
    names = [f"chr{number}" for number in range(1, chromosomes + 1)]
    genome, records, effects, sites = [], [], [], []
    for name in names:
        tokens = generator.choice(4, size=length, p=_BACKGROUND).astype(np.uint8)
        variants = []
        begins = range(0, length - _STRETCH + 1, _STRETCH)
        for begin in track(begins, f"Drawing variants of {name}", len(begins), "variants"):
            place = _prepare(tokens, begin, allowed, generator)
            variants.append(_draw_variant(tokens, place, generator))
        for variant in variants:
            records.append((name, variant, _genotype(len(variant.alts), generator)))
        for variant in track(variants, f"Counting sites on {name}", len(variants), "variants"):
            effects += [(name, *row) for row in _effects(tokens, variant, allowed)]
        sites += [(name, *site) for site in _sites(tokens, allowed)]
        genome.append((name, DNA.decode(tokens)))

    with atomic_folder(out, force=force, holding=_MARK) as folder:
        write_fasta(folder / "genome.fa", genome)
        contigs = "".join(f"##contig=<ID={name},length={length}>\n" for name in names)
        with open(folder / "variants.vcf", "w", encoding="ascii", newline="\n") as file:
            file.write(f"##fileformat=VCFv4.2\n{contigs}")
            file.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
            file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tsimulated\n")
            for name, (start, ref, alts, _), genotype in records:
                file.write(f"{name}\t{start + 1}\t.\t{ref}\t{','.join(alts)}\t100\tPASS\t.\tGT\t{genotype}\n")
        write_table(folder / "sites.tsv", ("chrom", "start", "end", "strand", "motif"), sites)
        columns = ("chrom", "pos", "ref", "alt", "kind", "motif", "effect", "sites_before", "sites_after")
        write_table(folder / _MARK, columns, effects)
        text = _README.format(chromosomes=chromosomes, length=length, variants=len(records))
        (folder / "README.txt").write_text(text, encoding="ascii")
    return Path(out)


class _Variant(NamedTuple):
    """A record of a VCF: first base of REF (0-based), REF, the alternative alleles, its kind."""

    start: int
    ref: str
    alts: tuple[str, ...]
    kind: str


class _Place(NamedTuple):
    """Where a variant should be: an interval, and the base that would restore a spoiled site (None: any)."""

    start: int
    end: int
    restores: str | None = None


def _prepare(tokens: Tokens, begin: int, allowed: dict[str, Allowed], generator: np.random.Generator) -> _Place:
    """Plants a site, whole or lacking one base, into a stretch; says where its variant should be."""
    motif = list(CONSENSUS)[generator.integers(len(CONSENSUS))]
    width = len(CONSENSUS[motif])
    start = begin + _MARGIN + int(generator.integers(_STRETCH - 2 * _MARGIN - width + 1))
    site = draw(allowed[motif] / allowed[motif].sum(axis=1, keepdims=True), 1, generator)[0]
    reverse = generator.random() < 0.5
    drawn = generator.random()
    spoiled = int(generator.choice(np.flatnonzero(allowed[motif].sum(axis=1) == 1)))
    whole = DNA.decode(reverse_complement(site) if reverse else site)
    if drawn < 1 / 6:
        site[spoiled] = (site[spoiled] + generator.integers(1, 4)) % 4
    tokens[start : start + width] = reverse_complement(site) if reverse else site
    if drawn < 1 / 6:
        spoiled = width - 1 - spoiled if reverse else spoiled
        return _Place(start + spoiled, start + spoiled + 1, whole[spoiled])
    if drawn < 2 / 3:
        return _Place(start, start + width)
    # Upstream, where a site at the right end of the stretch leaves no room downstream.
    return _Place(begin + 1, start - _MOST_BASES)


def _draw_variant(tokens: Tokens, place: _Place, generator: np.random.Generator) -> _Variant:
    kind = _KINDS[generator.choice(len(_KINDS), p=(0.4, 0.2, 0.2, 0.2))]
    at = int(generator.integers(place.start, place.end))
    ref = DNA.decode(tokens[at : at + 1])
    others = generator.permutation([base for base in DNA.letters if base != ref]).tolist()
    if place.restores is not None and kind in ("snv", "multi-allelic"):
        others = [place.restores, *(base for base in others if base != place.restores)]
    if kind == "snv":
        return _Variant(at, ref, (others[0],), kind)
    count = int(generator.integers(1, _MOST_BASES + 1))
    if kind == "multi-allelic":
        longer = DNA.decode(tokens[at : at + count + 1])
        if longer[0] == longer[-1] or generator.random() < 0.5:
            return _Variant(at, ref, (others[0], others[1]), kind)
        return _Variant(at, longer, (others[0] + longer[1:], longer[0]), kind)
    if kind == "deletion":
        longer = DNA.decode(tokens[at - 1 : at + count])
        return _left_aligned(tokens, _Variant(at - 1, longer, (longer[0],), kind))
    inserted = DNA.decode(generator.choice(4, size=count, p=_BACKGROUND).astype(np.uint8))
    anchor = DNA.decode(tokens[at - 1 : at])
    return _left_aligned(tokens, _Variant(at - 1, anchor, (anchor + inserted,), kind))


def _left_aligned(tokens: Tokens, variant: _Variant) -> _Variant:
    """The same insertion or deletion as far left as it can be told (Tan et al., Bioinformatics 31, 2202-2204, 2015)."""
    start, ref, (alt,), kind = variant
    while ref[-1] == alt[-1] and start > 0:
        start -= 1
        before = DNA.decode(tokens[start : start + 1])
        ref, alt = before + ref[:-1], before + alt[:-1]
    return _Variant(start, ref, (alt,), kind)


def _genotype(alternatives: int, generator: np.random.Generator) -> str:
    return str(generator.choice(["1/2"] if alternatives > 1 else ["0/1", "1/1"]))


def _effects(tokens: Tokens, variant: _Variant, allowed: dict[str, Allowed]) -> list[tuple[object, ...]]:
    """A row for each alternative allele and motif."""
    end = variant.start + len(variant.ref)
    left = tokens[max(0, variant.start - _AROUND) : variant.start]
    right = tokens[end : end + _AROUND]
    rows: list[tuple[object, ...]] = []
    for alt in variant.alts:
        for motif, table in allowed.items():
            before, after = (
                len(_matches(np.concatenate([left, DNA.encode(allele), right]), table)) for allele in (variant.ref, alt)
            )
            effect = "destroys" if after < before else "creates" if after > before else "none"
            rows.append((variant.start + 1, variant.ref, alt, variant.kind, motif, effect, before, after))
    return rows


def _matches(tokens: Tokens, allowed: Allowed) -> list[tuple[int, int]]:
    """Begin and strand of every match; one that reads the same on both strands counts once, on the first."""
    if len(tokens) < len(allowed):
        return []
    windows = np.lib.stride_tricks.sliding_window_view(tokens, len(allowed))
    position = np.arange(len(allowed))
    forward = np.all(allowed[position, windows], axis=1)
    backward = np.all(allowed[::-1, ::-1][position, windows], axis=1)
    return [(int(i), 1 if forward[i] else -1) for i in np.flatnonzero(forward | backward)]


def _sites(tokens: Tokens, allowed: dict[str, Allowed]) -> list[tuple[int, int, str, str]]:
    return sorted(
        (start, start + len(table), "+" if strand > 0 else "-", motif)
        for motif, table in allowed.items()
        for start, strand in _matches(tokens, table)
    )
