"""Simulated windows with planted motifs, in the MATLAB files of the DeepSEA data set.

Each target has a random 12-bp motif and is present where it stands in the window's central 200 bp. Sites stand in the
flanks just as often, where they mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens, reverse_complement
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.matlab_files import RowArray, write_version_5, write_version_73
from seqclass.data.simulate.motifs import consensus_ppm, draw, meme_text
from seqclass.data.simulate.writing import write_table
from seqclass.errors import SourceError
from seqclass.progress import track

_MARK = "sites.tsv"
_BACKGROUND = np.array([0.3, 0.2, 0.2, 0.3])
_WINDOW, _BIN, _WIDTH = 1000, 200, 12
_SHARPNESS = 0.97
# Per token A, C, G, T: the channels A, G, C, T.
_ONE_HOT = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.uint8)
_README = """\
Simulated windows in DeepSEA's layout: {train} in train, {valid} in valid, {test} in test; {targets} targets.

train.mat    MATLAB 7.3: trainxdata (samples, 4, {window}), channels A, G, C, T; traindata (samples, targets)
valid.mat    MATLAB 5: validxdata, validdata
test.mat     MATLAB 5: testxdata, testdata
             The second half of each split is the reverse complement of the first.
motifs.meme  the motif of each target
sites.tsv    every site in the first half of each split: split, sample, start, end (0-based, half-open), strand, target,
             and whether it stands in the central {bin} bp and makes the target present (yes) or not (no)

    seqclass data import deepsea --train train.mat --valid valid.mat --test test.mat --out deepsea.h5
"""


def simulate_deepsea(
    out: str | Path,
    *,
    train: int = 4000,
    valid: int = 400,
    test: int = 800,
    targets: int = 16,
    positives: float = 0.05,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Writes a folder with windows and labels in DeepSEA's MATLAB files, and where the motifs lie.

    The folder holds `train.mat` (7.3), `valid.mat` and `test.mat` (5); `motifs.meme`; `sites.tsv`; and `README.txt`.
    With 919 targets the importer gives them DeepSEA's names.

    Args:
        out: The folder to write.
        train: How many windows of 1,000 bp, both strands counted.
        valid: As `train`.
        test: As `train`.
        targets: How many, each with a motif of its own.
        positives: How often a motif is planted in a bin; where more than 16 meet in a bin, some are left out, so with
            many targets fewer are present.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: A split's size is not even, there is no target, a share is none, or the seed is negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    for split, size in sizes.items():
        if size < 2 or size % 2:
            raise SourceError(
                f"{size} samples of {split} are not both strands of some windows",
                remedy="Take an even number from 2 on",
            )
    if targets < 1 or not 0 < positives <= 0.5:
        raise SourceError(
            f"{targets} targets with a share of positives of {positives} cannot be planted",
            remedy="Take at least one target, and a share above 0 and up to 0.5",
        )
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    consensus = [DNA.decode(tokens) for tokens in generator.integers(0, 4, (targets, _WIDTH), dtype=np.uint8)]
    ppms = [consensus_ppm(letters, _SHARPNESS) for letters in consensus]
    sites: list[tuple[object, ...]] = []
    with atomic_folder(out, force=force, holding=_MARK) as folder:
        for split, size in track(sizes.items(), "Planting", len(sizes), "splits"):
            tokens, labels = _windows(split, size // 2, ppms, positives, sites, generator)
            arrays = _arrays(split, tokens, labels)
            if split == "train":
                write_version_73(folder / "train.mat", arrays, [(8, 4, min(size, 4096)), (1, size)])
            else:
                write_version_5(folder / f"{split}.mat", arrays)
        names = [f"target_{number}" for number in range(targets)]
        meme = meme_text(dict(zip(names, ppms, strict=True)), _BACKGROUND)
        (folder / "motifs.meme").write_text(meme, encoding="ascii")
        write_table(folder / _MARK, ("split", "sample", "start", "end", "strand", "target", "acts"), sites)
        text = _README.format(targets=targets, window=_WINDOW, bin=_BIN, **sizes)
        (folder / "README.txt").write_text(text, encoding="ascii")
    return Path(out)


def _windows(
    split: str,
    count: int,
    ppms: list[NDArray[np.float64]],
    positives: float,
    sites: list[tuple[object, ...]],
    generator: np.random.Generator,
) -> tuple[Tokens, NDArray[np.uint8]]:
    """Windows of one strand `(count, window)` and labels `(count, targets)`; adds what was planted to `sites`."""
    tokens = generator.choice(4, size=(count, _WINDOW), p=_BACKGROUND).astype(np.uint8)
    labels = np.zeros((count, len(ppms)), dtype=np.uint8)
    first = (_WINDOW - _BIN) // 2
    inside = np.arange(first, first + _BIN - _WIDTH + 1, _WIDTH)
    left = np.arange(0, first - _WIDTH + 1, _WIDTH)
    outside = np.concatenate([left, left + first + _BIN])
    for sample in range(count):
        for starts, acts in ((inside, "yes"), (outside, "no")):
            drawn = generator.permutation(np.flatnonzero(generator.random(len(ppms)) < positives))
            for target, start in zip(drawn.tolist(), generator.permutation(starts).tolist(), strict=False):
                site = draw(ppms[target], 1, generator)[0]
                forward = generator.random() < 0.5
                tokens[sample, start : start + _WIDTH] = site if forward else reverse_complement(site)
                strand = "+" if forward else "-"
                sites.append((split, sample, start, start + _WIDTH, strand, f"target_{target}", acts))
                if acts == "yes":
                    labels[sample, target] = 1
    return tokens, labels


def _arrays(split: str, tokens: Tokens, labels: NDArray[np.uint8]) -> tuple[RowArray, RowArray]:
    """The two arrays of a split, of both strands."""
    both = np.concatenate([tokens, reverse_complement(tokens)])

    def onehot(position: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(_ONE_HOT[both[:, position]].T)

    def label(target: int) -> NDArray[np.uint8]:
        return np.tile(labels[:, target], 2)

    return (
        RowArray(f"{split}xdata", (_WINDOW, 4, len(both)), onehot),
        RowArray(f"{split}data", (labels.shape[1], len(both)), label),
    )
