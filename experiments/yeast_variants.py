"""Do variants inside motif hits at bound sites move their factor's logit more than matched ones outside?

Data      Variants of three yeast strains, ChIP-exo peaks and motifs; a bundle trained on the same peaks, such as that
          of experiments/yeast_chip_exo.py.
Inside    SNVs within a hit of a factor's motif that lies within 50 bp of one of its peaks.
Outside   For each of them an SNV of the same change (REF and ALT, or their complements) that lies in no hit of that
          motif but within 50 bp of a peak of that factor, and as near to the peak as can be; and, as a second control,
          such a variant inside a hit of the motif that is in no peak's neighbourhood.
Expect    |delta logit| of the factor larger inside: share of pairs above one half, with a 95 % interval by bootstrap
          over pairs. See experiments/README.md for what was measured.

    python experiments/yeast_variants.py BUNDLE --genome sacCer3.fa --peaks peaks/ --variants variants/ \
        --motifs yeast.meme [--factors Reb1 Cbf1] [--chroms IV]
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.data.chromosomes import ChromosomeNames
from seqclass.data.intervals import read_intervals
from seqclass.data.simulate.motifs import read_meme, scan
from seqclass.errors import SourceError
from seqclass.variants import Genome, VcfVariants, score_variants
from seqclass.variants.score import window_length

NEAR = 50
BACKGROUND = (0.31, 0.19, 0.19, 0.31)


class Site(NamedTuple):
    """An SNV as one factor sees it: distance to the nearest peak in bp, whether a motif hit covers it, its change."""

    row: int
    distance: int
    in_hit: bool
    change: str


def is_of(factor: str, name: str) -> bool:
    """Whether a target, motif or file is of a factor: `Reb1`, `REB1`, `Reb1_CX`."""
    return name.casefold().split("_")[0] == factor.casefold()


def strandless(ref: str, alt: str) -> str:
    """A change, the same as on the other strand."""
    complement = str.maketrans("ACGT", "TGCA")
    return min(f"{ref}>{alt}", f"{ref}>{alt}".translate(complement))


def summits(file: Path, genome: Genome) -> dict[str, np.ndarray]:
    """The middles of a factor's peaks on each chromosome, rising."""
    peaks = read_intervals(file)
    names = ChromosomeNames(list(genome.lengths), file=genome.path).find(peaks.chroms)
    middle = (peaks.start + peaks.end) // 2
    return {
        names[name]: np.sort(middle[peaks.chrom == number]) for number, name in enumerate(peaks.chroms) if name in names
    }


def covered(genome: Genome, ppm: np.ndarray, share: float) -> dict[str, np.ndarray]:
    """On each chromosome, which bases lie in a hit: the best sites of the genome, one in 1 / share positions."""
    scores = {chrom: scan(genome.read(chrom, 0, length), ppm, BACKGROUND) for chrom, length in genome.lengths.items()}
    least = np.quantile(np.concatenate(list(scores.values())), 1 - share)
    inside = {}
    for chrom, values in scores.items():
        mask = np.zeros(genome.lengths[chrom], dtype=bool)
        for start in np.flatnonzero(values >= max(least, 1e-9)):
            mask[start : start + len(ppm)] = True
        inside[chrom] = mask
    return inside


def pairs_of(sites: list[Site], generator: np.random.Generator) -> dict[str, list[tuple[int, int]]]:
    """Each SNV in a bound hit with one control of the same change, by kind of control; no control serves twice."""
    bound = [site for site in sites if site.in_hit and site.distance <= NEAR]
    controls = {
        "bound, outside the motif": [site for site in sites if not site.in_hit and site.distance <= NEAR],
        "in the motif, unbound": [site for site in sites if site.in_hit and site.distance > 10 * NEAR],
    }
    found: dict[str, list[tuple[int, int]]] = {}
    for name, pool in controls.items():
        left, found[name] = list(pool), []
        for site in [bound[i] for i in generator.permutation(len(bound))]:
            same = [each for each in left if each.change == site.change]
            if same:
                match = min(same, key=lambda each: abs(each.distance - site.distance))
                left.remove(match)
                found[name].append((site.row, match.row))
    return found


def interval(wins: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """95 % of the means of resampled pairs."""
    means = generator.choice(wins, (2000, len(wins))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    for name in ("genome", "peaks", "variants", "motifs"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--factors", nargs="+", help="default: all targets with peaks and a motif")
    parser.add_argument(
        "--chroms", nargs="+", default=[], help="the genome's names; such as those held out (default: all)"
    )
    parser.add_argument("--hits", type=float, default=1e-4, help="share of positions that count as hits")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    bundle, genome = Bundle.load(options.bundle), Genome(options.genome)
    others = [chrom for chrom in genome.lengths if options.chroms and chrom not in options.chroms]
    seen: dict[tuple[str, int, str, str], np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(options.variants.glob("*.vcf")):
            source = VcfVariants(path, genome, window_length(bundle), pass_only=True, exclude_chroms=others)
            out = Path(scratch) / f"{path.stem}.h5"
            score_variants(bundle, source, out)
            with h5py.File(out) as file:
                for row, effect in zip(source.rows(), np.abs(file["delta_logit"][:]), strict=True):
                    if len(row.edit.ref) == len(row.edit.alt) == 1:
                        key = (row.chrom, row.edit.start, DNA.decode(row.edit.ref), DNA.decode(row.edit.alt))
                        seen[key] = effect
    variants, effects = list(seen), np.array(list(seen.values()))
    print(f"{len(variants):,} different SNVs that passed")

    ppms, _ = read_meme(options.motifs)
    wins: dict[str, list[np.ndarray]] = {}
    print("factor\tcontrol\tpairs\tinside (median |delta logit|)\tcontrol (median)\tshare of pairs larger inside")
    known = [name for name in sorted(ppms) if any(is_of(name, target.name) for target in bundle.targets)]
    for factor in options.factors or known:
        column = next((i for i, target in enumerate(bundle.targets) if is_of(factor, target.name)), None)
        if column is None:
            raise SourceError(f"the model has no target {factor}", remedy="Choose other --factors", file=options.bundle)
        file = next((path for path in sorted(options.peaks.glob("*.bed")) if is_of(factor, path.stem)), None)
        motif = next((name for name in ppms if is_of(factor, name)), None)
        if (file is None or motif is None) and not options.factors:
            continue
        if file is None or motif is None:
            raise SourceError(f"no peaks or no motif of {factor}", remedy="Choose other --factors", file=options.peaks)
        peaks, inside = summits(file, genome), covered(genome, ppms[motif], options.hits)
        sites = []
        for row, (chrom, start, ref, alt) in enumerate(variants):
            middles = peaks.get(chrom, np.array([-(10**9)]))
            at = np.clip(np.searchsorted(middles, start), 1, len(middles) - 1) if len(middles) > 1 else 0
            distance = int(np.abs(middles[max(0, at - 1) : at + 1] - start).min())
            sites.append(Site(row, distance, bool(inside[chrom][start]), strandless(ref, alt)))
        for control, pairs in pairs_of(sites, generator).items():
            if not pairs:
                print(f"{factor}\t{control}\t0\t-\t-\t-")
                continue
            ours, theirs = (effects[[pair[side] for pair in pairs], column] for side in (0, 1))
            larger = (ours > theirs) + 0.5 * (ours == theirs)
            wins.setdefault(control, []).append(larger)
            medians = f"{np.median(ours):.3f}\t{np.median(theirs):.3f}"
            print(f"{factor}\t{control}\t{len(pairs)}\t{medians}\t{larger.mean():.2f}")
    for control, each in wins.items():
        joined = np.concatenate(each)
        low, high = interval(joined, generator)
        print(f"all\t{control}\t{len(joined)}\t\t\t{joined.mean():.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
