"""Simulated genome and peaks with planted motifs, in the real formats, and the score that knows the truth.

Every bin holds one site of each built-in motif: a true one, drawn from its PPM, or a decoy, which is such a site with
its letters shuffled. So neither composition nor GC content tells positives from negatives. Two of the motifs stand side
by side, and a fifth target is present only where both are true at one spacing and in one orientation; decoys stand at
that spacing too, and true pairs at others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens, reverse_complement
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.motifs import CONSENSUS, Matrix, consensus_ppm, draw, meme_text, read_meme, scan
from seqclass.data.simulate.writing import write_fasta
from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.errors import SourceError

PAIR = ("Reb1", "Rap1")
PAIR_TARGET = "+".join(PAIR)
PAIR_GAP = 6

_OTHER_GAPS = (16, 50)
_BACKGROUND = np.array([0.3, 0.2, 0.2, 0.3])
_PEAK_WIDTH = 100
_MARK = "plants.tsv"
_SAMPLES_AT_ONCE = 2048
_README = """\
Simulated ChIP peaks with planted motifs.

genome.fa     {chromosomes} chromosomes of {length} bp
peaks/        one narrowPeak file a target; the summit is the motif's centre
plants.tsv    every site: chromosome, start, end (0-based, half-open), strand, motif, and the target that it makes
              present (empty: a decoy of shuffled letters). The sites of {pair} are listed once more under that target.
motifs.meme   the true motif of each target; {pair} needs both motifs, {gap} bp apart and on one strand

    seqclass data import peaks --genome genome.fa --peaks peaks --out peaks.h5 --bin {bin} --window {window} {splits}
"""

Strands = NDArray[np.int8]
Mask = NDArray[np.bool_]


def simulate_peaks(
    out: str | Path,
    *,
    chromosomes: int = 6,
    length: int = 400_000,
    bin: int = 200,
    positives: float = 0.08,
    sharpness: float = 0.95,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Writes a folder with a genome, the peaks of five targets, and the truth about what was planted.

    The folder holds `genome.fa`; `peaks/TARGET.narrowPeak`, 100 bp around the motif's centre, which is the summit;
    `plants.tsv`, where each true site and each decoy lies; `motifs.meme`, the true motif of each target (that of the
    pair has background between its halves); and `README.txt`.

    Args:
        out: The folder to write.
        chromosomes: How many there are: chr1, chr2, ...
        length: Of each chromosome, in bp.
        bin: Each stretch of so many bp, from a chromosome's begin, holds one site of each motif.
        positives: The share of bins in which a target is present; twice that for the two motifs of the pair, which
            also occur alone and at other spacings.
        sharpness: The probability of the consensus at each position of a site.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: The sites do not fit into a bin, a chromosome is shorter than a bin, or a share is none.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    ppms = {name: consensus_ppm(consensus, sharpness) for name, consensus in CONSENSUS.items()}
    needed = sum(map(len, ppms.values())) + _OTHER_GAPS[1]
    if chromosomes < 1 or bin < needed or length < bin:
        raise SourceError(
            f"{chromosomes} chromosomes of {length} bp with bins of {bin} bp cannot hold the motifs",
            remedy=f"Take at least one chromosome, bins of {needed} bp or more, and chromosomes no shorter than a bin",
        )
    if not (0 < positives <= 0.25 and 0.7 <= sharpness <= 1):
        raise SourceError(
            f"positives {positives} and sharpness {sharpness} are out of range",
            remedy="Choose positives up to 0.25, and a sharpness from 0.7 to 1",
        )
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    genome = generator.choice(4, size=chromosomes * length, p=_BACKGROUND).astype(np.uint8)
    begins = (np.arange(chromosomes)[:, None] * length + np.arange(0, length - bin + 1, bin)).ravel()
    sites = _lay_out(begins, bin, positives, generator)
    for name, site in sites.items():
        if name != PAIR_TARGET:
            positions = site.start[:, None] + np.arange(site.width)
            genome[positions] = _letters(site, ppms[name], generator)
    between = np.tile(_BACKGROUND, (PAIR_GAP, 1))
    ppms[PAIR_TARGET] = np.vstack([ppms[PAIR[0]], between, ppms[PAIR[1]]])

    with atomic_folder(out, force=force, holding=_MARK) as folder:
        rows = enumerate(genome.reshape(chromosomes, length), start=1)
        write_fasta(folder / "genome.fa", ((f"chr{number}", DNA.decode(tokens)) for number, tokens in rows))
        (folder / "peaks").mkdir()
        for name, site in sites.items():
            centres = (site.start + site.width // 2)[site.true]
            (folder / "peaks" / f"{name}.narrowPeak").write_text(_narrow_peaks(centres, length), encoding="ascii")
        (folder / _MARK).write_text(_plants(sites, length), encoding="ascii")
        (folder / "motifs.meme").write_text(meme_text(ppms, _BACKGROUND), encoding="ascii")
        splits = f"--valid-chroms chr{chromosomes - 1} --test-chroms chr{chromosomes}" if chromosomes > 2 else ""
        text = _README.format(
            chromosomes=chromosomes,
            length=length,
            pair=PAIR_TARGET,
            gap=PAIR_GAP,
            bin=bin,
            window=2 * bin,
            splits=splits,
        )
        (folder / "README.txt").write_text(text, encoding="ascii")
    return Path(out)


class _Sites(NamedTuple):
    """One site a bin: first base (on all chromosomes in a row), width, strand, and whether it is true or a decoy."""

    start: Indices
    width: int
    strand: Strands
    true: Mask


def _lay_out(begins: Indices, bin: int, positives: float, generator: np.random.Generator) -> dict[str, _Sites]:
    """Where the sites of each motif lie, none over another; those of the pair's target are true at its spacing only."""
    count = len(begins)
    first, second = PAIR
    singles = [name for name in CONSENSUS if name not in PAIR]
    widths = {name: len(consensus) for name, consensus in CONSENSUS.items()}
    states = ["together", "apart", first, second, "neither"]
    shares = [positives, positives / 2, positives / 2, positives / 2, 1 - 2.5 * positives]
    state = generator.choice(len(states), size=count, p=shares)
    together, apart = state == states.index("together"), state == states.index("apart")

    spaced = together | (~apart & (generator.random(count) < 0.5))
    gap = np.where(spaced, PAIR_GAP, generator.integers(_OTHER_GAPS[0], _OTHER_GAPS[1] + 1, count))
    strand = _either(generator, count)
    second_strand = np.where(spaced, strand, _either(generator, count))
    block = widths[first] + gap + widths[second]

    elements = np.column_stack([block, *(np.full(count, widths[name]) for name in singles)])
    starts = begins[:, None] + _place(elements, bin, generator)
    forward = strand > 0
    first_start = starts[:, 0] + np.where(forward, 0, widths[second] + gap)
    second_start = starts[:, 0] + np.where(forward, widths[first] + gap, 0)
    both = together | apart
    sites = {
        first: _Sites(first_start, widths[first], strand, both | (state == states.index(first))),
        second: _Sites(second_start, widths[second], second_strand, both | (state == states.index(second))),
    }
    for column, name in enumerate(singles, start=1):
        true = generator.random(count) < positives
        sites[name] = _Sites(starts[:, column], widths[name], _either(generator, count), true)
    width = widths[first] + PAIR_GAP + widths[second]
    return sites | {PAIR_TARGET: _Sites(starts[:, 0], width, strand, together)}


def _either(generator: np.random.Generator, count: int) -> Strands:
    return generator.choice(np.array([-1, 1], dtype=np.int8), count)


def _place(lengths: Indices, room: int, generator: np.random.Generator) -> Indices:
    """Starts of elements in random order and at random distances, `(bins, elements)`, for their lengths."""
    count, elements = lengths.shape
    order = generator.permuted(np.tile(np.arange(elements), (count, 1)), axis=1)
    ordered = np.take_along_axis(lengths, order, axis=1)
    free = room - lengths.sum(axis=1, keepdims=True)
    gaps = np.sort(generator.integers(0, free + 1, size=(count, elements)), axis=1)
    starts = np.empty_like(lengths)
    np.put_along_axis(starts, order, gaps + np.cumsum(ordered, axis=1) - ordered, axis=1)
    return starts


def _letters(site: _Sites, ppm: Matrix, generator: np.random.Generator) -> Tokens:
    """What stands at the sites, `(bins, width)`: draws from the PPM, shuffled in decoys until nothing of it is left."""
    tokens = draw(ppm, len(site.start), generator)
    looks_true = ~site.true
    while looks_true.any():
        tokens[looks_true] = generator.permuted(tokens[looks_true], axis=1)
        looks_true = ~site.true & (scan(tokens, ppm, _BACKGROUND)[:, 0] > 0)
    return np.where(site.strand[:, None] > 0, tokens, reverse_complement(tokens))


def _narrow_peaks(centres: Indices, length: int) -> str:
    lines = []
    for centre in centres.tolist():
        chrom, position = divmod(centre, length)
        start, end = max(0, position - _PEAK_WIDTH // 2), min(length, position + _PEAK_WIDTH // 2)
        lines.append(f"chr{chrom + 1}\t{start}\t{end}\t.\t1000\t.\t1\t-1\t-1\t{position - start}\n")
    return "".join(lines)


def _plants(sites: Mapping[str, _Sites], length: int) -> str:
    rows: list[tuple[int, int, int, str, str, str]] = []

    def add(motif: str, target: str, which: Mask) -> None:
        site = sites[motif]
        for start, strand in zip(site.start[which].tolist(), site.strand[which].tolist(), strict=True):
            chrom, position = divmod(start, length)
            rows.append((chrom + 1, position, position + site.width, "+" if strand > 0 else "-", motif, target))

    for motif in CONSENSUS:
        add(motif, motif, sites[motif].true)
        add(motif, "", ~sites[motif].true)
    for motif in PAIR:
        add(motif, PAIR_TARGET, sites[PAIR_TARGET].true)
    lines = (f"chr{chrom}\t" + "\t".join(map(str, rest)) + "\n" for chrom, *rest in sorted(rows))
    return "chrom\tstart\tend\tstrand\tmotif\ttarget\n" + "".join(lines)


def true_motif_scores(folder: str | Path, store: Store, samples: Indices) -> NDArray[np.float64]:
    """The scores of a scan with each target's true motif: what no model of these data can be expected to beat by much.

    A target's score is the best log2 odds, on either strand, of a site whose centre lies in the sample's bin.

    Args:
        folder: What `simulate_peaks` wrote.
        store: Imported from that folder.
        samples: Indices of samples.

    Returns:
        `(samples, targets)`, in the order of the store's targets.

    Raises:
        SourceError: A target of the store has no motif in the folder, or the store does not come from peaks.
    """
    path = Path(folder) / "motifs.meme"
    ppms, background = read_meme(path)
    missing = [target.name for target in store.targets if target.name not in ppms]
    if missing or store.provenance.get("source") != "peaks":
        raise SourceError(
            f"{store.path} was not imported from this folder" + (f": no motif of {missing[0]}" if missing else ""),
            remedy="Give the folder that 'seqclass data simulate peaks' wrote, and the store imported from it",
            file=path,
        )
    bin = int(store.provenance["bin"])
    scores = np.empty((len(samples), store.num_targets))
    for begin in range(0, len(samples), _SAMPLES_AT_ONCE):
        rows = slice(begin, begin + _SAMPLES_AT_ONCE)
        windows = read_samples(store, samples[rows])[0]
        for column, target in enumerate(store.targets):
            scores[rows, column] = _best_in_bin(windows, ppms[target.name], background, bin)
    return scores


def _best_in_bin(windows: Tokens, ppm: Matrix, background: NDArray[np.float64], bin: int) -> NDArray[np.float64]:
    width = len(ppm)
    padded = np.pad(windows, ((0, 0), (width, width)), constant_values=DNA.unknown_token)
    first = width + (windows.shape[1] - bin) // 2 - width // 2
    best: NDArray[np.float64] = scan(padded[:, first : first + bin + width - 1], ppm, background).max(axis=1)
    return best
