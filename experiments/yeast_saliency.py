"""Does a model of ChIP-exo peaks look at the motifs of Reb1, Cbf1, Gcn4 and Rap1, where they are bound and where not?

Data      sacCer3, ChIP-exo peaks, motifs; a bundle trained without chromosome IV, as by experiments/yeast_chip_exo.py.
Bound     Hits of a factor's motif on IV, of the best 1 in 10,000 places of the genome, within 50 bp of its peaks; each
          in a window whose centre lies up to 80 bp beside it, so that place alone tells nothing.
Against   Hits more than 500 bp from any of its peaks; and the same places of other bound windows, if no hit is there.
Expect    More of the window's saliency on the motif where it is bound. experiments/README.md says what was measured.

    python experiments/yeast_saliency.py BUNDLE sacCer3.fa peaks/ yeast.meme
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter1d
from yeast_variants import BACKGROUND, NEAR, interval, is_of, summits

from seqclass.attribution.attribute import attribute
from seqclass.bundle import Bundle
from seqclass.data.simulate.motifs import read_meme, scan
from seqclass.variants import Genome
from seqclass.variants.score import window_length

CHROM, FACTORS, HITS, JITTER = "IV", ("Reb1", "Cbf1", "Gcn4", "Rap1"), 1e-4, 80
METHODS = {"saliency": {}, "hirescam": {}, "integrated-gradients": {"steps": 32, "tolerance": np.inf}}


def hits_of(genome: Genome, ppm: np.ndarray) -> np.ndarray:
    """Where on the held-out chromosome the motif's hits begin, of several that overlap the best."""
    scores = {chrom: scan(genome.read(chrom, 0, length), ppm, BACKGROUND) for chrom, length in genome.lengths.items()}
    least, here = np.quantile(np.concatenate(list(scores.values())), 1 - HITS), scores[CHROM]
    return np.flatnonzero((here >= least) & (here == maximum_filter1d(here, 2 * len(ppm) - 1)))


def wins(ours: np.ndarray, theirs: np.ndarray, generator: np.random.Generator) -> str:
    """The share of pairs in which ours is larger, with 95 % by bootstrap; theirs are `(any,)` or `(ours, 1)`."""
    larger = np.sign(ours[:, None] - theirs).mean(axis=1) / 2 + 0.5
    return "{:.2f} [{:.2f}, {:.2f}]".format(larger.mean(), *interval(larger, generator))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bundle", "genome", "peaks", "motifs"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    bundle, genome, (ppms, _) = Bundle.load(options.bundle), Genome(options.genome), read_meme(options.motifs)
    length = window_length(bundle)
    print("factor\tmethod\tbound\tunbound\tmedian: bound\tunbound\tmatched\tbound > unbound\tbound > matched")
    for factor in FACTORS:
        columns = [column for column, target in enumerate(bundle.targets) if is_of(factor, target.name)]
        if not columns:
            print(f"{factor}\tis no target of this model")
            continue
        ppm = next(ppms[name] for name in ppms if is_of(factor, name))
        file = next(path for path in sorted(options.peaks.glob("*.bed")) if is_of(factor, path.stem))
        found, generator = hits_of(genome, ppm), np.random.default_rng(0)
        away = np.abs(found[:, None] + len(ppm) // 2 - summits(file, genome)[CHROM]).min(axis=1)
        centre = found + len(ppm) // 2 + generator.integers(-JITTER, JITTER + 1, len(found))
        begin = np.clip(centre - length // 2, 0, genome.lengths[CHROM] - length)
        kinds = [generator.permutation(np.flatnonzero(kind))[:100] for kind in (away <= NEAR, away > 10 * NEAR)]
        bound, chosen = kinds[0], np.concatenate(kinds)
        tokens = [genome.read(CHROM, start, start + length) for start in begin[chosen].tolist()]
        # Whose window, by at whose place in it: whether no hit lies there.
        place = (found - begin)[bound]
        free = np.abs(begin[bound][:, None, None] + place[None, :, None] - found).min(axis=2) >= len(ppm)
        for method, own in METHODS.items():
            maps = np.abs(attribute(bundle, tokens, columns[0], method=method, **own).scores)
            maps /= maps.mean(axis=1, keepdims=True)
            folds = np.lib.stride_tricks.sliding_window_view(maps, len(ppm), axis=1).mean(axis=2)
            ours, theirs = np.split(folds[np.arange(len(chosen)), (found - begin)[chosen]], [len(bound)])
            matched = np.ma.masked_array(folds[: len(bound)][:, place], ~free).mean(axis=0).filled(np.nan)
            told = [f"{np.nanmedian(each):.2f}" for each in (ours, theirs, matched)]
            told += [wins(ours, each, generator) for each in (theirs, matched[:, None])]
            print(factor, method, len(ours), len(theirs), *told, sep="\t", flush=True)


if __name__ == "__main__":
    main()
