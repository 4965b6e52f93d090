"""Do variants inside motif hits at bound sites move their factor's logit more than matched ones outside?

Data      Variants of three yeast strains, ChIP-exo peaks, motifs; a bundle of experiments/yeast_chip_exo.py.
Inside    SNVs within a hit of a factor's motif that lies within 50 bp of one of its peaks.
Outside   For each an SNV of the same change, near a peak but in no hit, or in a hit that is near no peak.
Expect    |delta logit| of the factor larger inside in more than half of the pairs. Measured: experiments/README.md

    python experiments/yeast_variants.py BUNDLE --genome sacCer3.fa --peaks peaks/ --variants vcf/ --motifs yeast.meme
"""

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy as np

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.data.simulate.motifs import read_meme
from seqclass.variants import Genome, VcfVariants, score_variants
from seqclass.variants.matched import SHARE, matched_pairs, motif_hits, peak_middles, sites_of
from seqclass.variants.score import window_length


def of_factor(factor: str, names: list[str]) -> str | None:
    """Which of these targets, motifs or files is of a factor: `Reb1`, `REB1`, `Reb1_CX`."""
    return next((name for name in names if name.casefold().split("_")[0] == factor.casefold()), None)


def scored(bundle: Bundle, genome: Genome, folder: Path, chroms: list[str]) -> dict[tuple, np.ndarray]:
    """Each different SNV (chromosome, 0-based position, REF, ALT) with |delta logit| of all targets."""
    others, seen = [chrom for chrom in genome.lengths if chroms and chrom not in chroms], {}
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(folder.glob("*.vcf")):
            source = VcfVariants(path, genome, window_length(bundle), pass_only=True, exclude_chroms=others)
            score_variants(bundle, source, Path(scratch) / f"{path.stem}.h5")
            with h5py.File(Path(scratch) / f"{path.stem}.h5") as file:
                for row, effect in zip(source.rows(), np.abs(file["delta_logit"][:]), strict=True):
                    ref, alt = DNA.decode(row.edit.ref), DNA.decode(row.edit.alt)
                    if len(ref) == len(alt) == 1:
                        seen[row.chrom, row.edit.start, ref, alt] = effect
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    for name in ("genome", "peaks", "variants", "motifs"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--chroms", nargs="+", default=[], help="such as those held out (default: all)")
    parser.add_argument("--hits", type=float, default=SHARE, help="share of positions that count as motif hits")
    options = parser.parse_args()
    generator, bundle, genome = np.random.default_rng(0), Bundle.load(options.bundle), Genome(options.genome)
    effects = scored(bundle, genome, options.variants, options.chroms)
    matrix = np.array(list(effects.values()))
    print(f"{len(effects):,} different SNVs that passed\nfactor\tcontrol\tpairs\tshare of pairs larger inside")
    ppms, _ = read_meme(options.motifs)
    targets, files = [each.name for each in bundle.targets], [path.stem for path in options.peaks.glob("*.bed")]
    wins: dict[str, list[float]] = {}
    for factor in sorted(ppms):
        target, file, motif = (of_factor(factor, names) for names in (targets, sorted(files), list(ppms)))
        if target and file and motif:
            middles = peak_middles(options.peaks / f"{file}.bed", genome)
            hits = motif_hits(genome, ppms[motif], options.hits)
            column = matrix[:, targets.index(target)]
            for control, pairs in matched_pairs(sites_of(effects, middles, hits), generator).items():
                larger = [(np.sign(column[ours] - column[theirs]) + 1) / 2 for ours, theirs in pairs]
                wins[control] = wins.get(control, []) + larger
                if larger:
                    print(f"{factor}\t{control}\t{len(larger)}\t{np.mean(larger):.2f}")
    for control, each in wins.items():
        means = generator.choice(each or [np.nan], (2000, max(1, len(each)))).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        print(f"all\t{control}\t{len(each)}\t{means.mean():.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
