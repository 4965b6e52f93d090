"""Whole genomes: a model's windows side by side along every chromosome, and its probabilities as tracks.

A window is scored for the stretch in its middle that labels described in training (the bundle's bin; the whole window
where there is none). These stretches begin at 0, `stride`, 2 `stride` ... of each chromosome:

    stride = bin    they lie side by side
    stride < bin    they overlap, and each place gets the mean of those that cover it
    stride > bin    places between them get no value

Windows reach over a chromosome's ends as N. A stretch that is N altogether is not scored and gets no value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA
from seqclass.atomic import check_free
from seqclass.bundle import Bundle
from seqclass.data.genome import Genome
from seqclass.errors import SeqclassError
from seqclass.predict.processes import processes
from seqclass.predict.records import Prediction, Tell, Write
from seqclass.predict.run import Work, run
from seqclass.predict.stretches import Stretch, letter_reader
from seqclass.predict.tracks import MARKER, Block, WriteBlock, is_hdf5, open_tracks


@dataclass(frozen=True)
class Tiling:
    """How windows lie on a genome, in bp.

    Attributes:
        window: Length of a window.
        bin: Length of the stretch in its middle that is scored.
        stride: From one such stretch to the next.
    """

    window: int
    bin: int
    stride: int

    @classmethod
    def of(cls, bundle: Bundle, stride: int | None) -> Tiling:
        """That of a bundle.

        Raises:
            SeqclassError: The model does not read windows of DNA, or the stride is below 1 or a part of the bin that
                does not divide it.
        """
        window = bundle.length or bundle.window
        if bundle.model.input_kind != "tokens" or bundle.alphabet is not DNA or window is None:
            raise SeqclassError(
                "a genome can be scored only with a model of windows of DNA letters",
                remedy="Give a bundle trained on windows of a genome, or score a FASTA file without --genome",
                file=bundle.path,
            )
        bin = bundle.bin or window
        stride = bin if stride is None else stride
        if stride < 1 or (stride < bin and bin % stride):
            fitting = ", ".join(f"{bin // parts}" for parts in (1, 2, 4, 5, 10) if bin % parts == 0)
            raise SeqclassError(
                f"a stride of {stride} bp, where a window is scored for {bin} bp",
                remedy=f"Let --stride divide that ({fitting}), or be longer",
            )
        return cls(window, bin, stride)

    def stretches(self, genome: Genome) -> Iterator[Stretch]:
        """The windows to score, chromosome by chromosome."""
        before = (self.window - self.bin) // 2
        for chrom, length in genome.lengths.items():
            for start in range(0, length, self.stride):
                if (genome.read(chrom, start, min(start + self.bin, length)) != DNA.unknown_token).any():
                    first = start - before
                    yield Stretch(chrom, first, genome.read(chrom, first, first + self.window), length)

    def cells(self, length: int) -> int:
        """How many strides a chromosome of that length has, the last one perhaps in part."""
        return -(-length // self.stride)


class Means:
    """From windows, in their order, to the mean of those that cover each place.

    Args:
        tiling: How they lie.
        lengths: Of each chromosome, in bp.
        write: Takes what is complete.
    """

    def __init__(self, tiling: Tiling, lengths: dict[str, int], write: WriteBlock) -> None:
        self._tiling, self._lengths, self._write = tiling, lengths, write
        self._cover = max(1, tiling.bin // tiling.stride)
        self._chrom: str | None = None
        self._cells = np.empty(0, dtype=np.int64)
        self._sums = np.empty((0, 0))
        self._counts = np.empty(0, dtype=np.int64)

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Takes further windows."""
        begin = 0
        while begin < len(predictions):
            chrom, end = predictions[begin].id, begin
            while end < len(predictions) and predictions[end].id == chrom:
                end += 1
            if chrom != self._chrom:
                self.finish()
                self._chrom = chrom
            middle = (self._tiling.window - self._tiling.bin) // 2
            starts = np.array([one.start for one in predictions[begin:end]], dtype=np.int64) + middle
            self._add(starts // self._tiling.stride, np.stack([one.probabilities for one in predictions[begin:end]]))
            begin = end

    def finish(self) -> None:
        """Writes the rest of a chromosome; no further window of it comes."""
        self._emit(len(self._cells))

    def _add(self, first: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        covered = first[:, None] + np.arange(self._cover)
        cells = np.union1d(self._cells, covered)
        assert self._chrom is not None
        cells = cells[cells < self._tiling.cells(self._lengths[self._chrom])]
        sums, counts = np.zeros((len(cells), values.shape[1])), np.zeros(len(cells), dtype=np.int64)
        at = np.searchsorted(cells, self._cells)
        if len(at):
            sums[at], counts[at] = self._sums, self._counts
        for step in covered.T:
            inside = np.flatnonzero(step <= cells[-1])
            at = np.searchsorted(cells, step[inside])
            sums[at] += values[inside]
            counts[at] += 1
        self._cells, self._sums, self._counts = cells, sums, counts
        # What lies before the last window is covered by none that is yet to come.
        self._emit(int(np.searchsorted(cells, first[-1], side="right")))

    def _emit(self, count: int) -> None:
        if count and self._chrom is not None:
            means = (self._sums[:count] / self._counts[:count, None]).astype(np.float32)
            self._write(Block(self._chrom, self._cells[:count], means))
        self._cells, self._sums, self._counts = self._cells[count:], self._sums[count:], self._counts[count:]


def write_tracks(
    bundle: Bundle,
    genome: str | Path,
    out: str | Path,
    *,
    stride: int | None = None,
    calibrated: bool = True,
    resume: bool = False,
    force: bool = False,
    tell: Tell = warnings.warn,
) -> int:
    """Scores a genome into a folder of bigWig files, one a target, or into HDF5.

    Memory does not grow with the genome, which is held in a scratch file. As with `write_predictions`, a run that was
    killed goes on with `resume`, and processes that torchrun started share the work.

    Args:
        bundle: A model of windows of DNA.
        genome: FASTA, plain or gzip.
        out: A folder for `TARGET.bw` and `tracks.tsv`, which names them; or, ending in .h5, an HDF5 file with a data
            set `tracks/CHROMOSOME` `(strides, targets)` each, NaN where there is no value.
        stride: From one scored stretch to the next, in bp. Default: the bundle's bin.
        calibrated: Whether the bundle's calibration is applied, if it has one.
        resume: Go on with a run that was left unfinished, if there is one.
        force: Replace what stands at `out`, and begin anew where a run was left unfinished.
        tell: Is given sentences on letters that were read as others. Default: a warning.

    Returns:
        The number of windows scored.

    Raises:
        SequenceError: The genome is no FASTA of DNA, two chromosomes share a name, or all of it is N.
        OutputExistsError: Something stands at `out` and `force` is false.
        MissingPackageError: pyBigWig is not installed.
        SeqclassError: The model does not read windows of DNA, the stride does not fit, a run was left unfinished that
            is not to be gone on with, or the disk is full.
    """
    bundle = bundle if calibrated else replace(bundle, calibration=None)
    out, tiling, reader = Path(out), Tiling.of(bundle, stride), letter_reader(bundle)
    check_free(out, force, holding=None if is_hdf5(out) else MARKER, inputs=(genome, bundle.path))
    with processes() as team:
        with team.step():
            read = Genome(genome, reader)
            _refuse_all_unknown(tiling, read)
        count = sum(map(tiling.cells, read.lengths.values()))
        identity: dict[str, str | int] = {"genome": read.digest, "stride": tiling.stride}
        work = Work(lambda: tiling.stretches(read), count, "tile", identity)
        writer = _means(out, bundle, tiling, read.lengths, force)
        windows = run(bundle, work, out, writer, team, resume=resume, force=force)
        if team.is_first:
            for note in reader.notes():
                tell(note)
        return windows


@contextmanager
def _means(out: Path, bundle: Bundle, tiling: Tiling, lengths: dict[str, int], force: bool) -> Iterator[Write]:
    with open_tracks(out, bundle, lengths, tiling.stride, tiling.bin, force=force) as write:
        means = Means(tiling, lengths, write)
        yield means.add
        means.finish()


def _refuse_all_unknown(tiling: Tiling, genome: Genome) -> None:
    if next(tiling.stretches(genome), None) is None:
        raise SeqclassError("all of the genome is N", remedy="Give one with bases", file=genome.path)
