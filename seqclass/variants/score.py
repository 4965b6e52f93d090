"""Scoring the rows of any source: equal windows once, what was scored kept for a run that is stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass import __version__
from seqclass.alphabets import Tokens
from seqclass.atomic import check_free
from seqclass.bundle import Bundle
from seqclass.errors import SeqclassError
from seqclass.predict import evaluating, score_tokens
from seqclass.progress import Advance, progress
from seqclass.targets import find_target
from seqclass.unfinished import Unfinished
from seqclass.variants.background import Background
from seqclass.variants.edits import Row
from seqclass.variants.effects import effects
from seqclass.variants.writers import Writer, open_writer

# A portion is read, scored and kept as one: so many rows, or fewer of long windows.
_PORTION_ROWS, _PORTION_RESIDUES = 4096, 1 << 24


class Source(Protocol):
    """Where rows come from, as often as asked, always the same; see `VcfVariants` and its like."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def count(self) -> int: ...

    @property
    def notes(self) -> list[str]: ...

    @property
    def identity(self) -> dict[str, object]: ...

    def rows(self) -> Iterator[Row]: ...


def window_length(bundle: Bundle) -> int:
    """The length in bp of the windows in which a model of DNA judges variants: that which it takes, or was trained on.

    Raises:
        SeqclassError: The model reads something else, or was trained on sequences of many lengths.
    """
    _refuse_other_input(bundle, "dna", "a VCF or a region")
    length = bundle.length or bundle.window
    if length is None:
        raise SeqclassError(
            "the model was trained on sequences of many lengths, so there is no window in which to judge a variant",
            remedy="Give a bundle trained on windows of a genome",
            file=bundle.path,
        )
    return length


def refuse_other_than_proteins(bundle: Bundle) -> None:
    """Refuses a model that does not read proteins as letters."""
    _refuse_other_input(bundle, "protein", "substitutions")


def _refuse_other_input(bundle: Bundle, alphabet: str, what: str) -> None:
    reads = f"{bundle.alphabet.name} {bundle.model.input_kind}"
    if reads != f"{alphabet} tokens":
        raise SeqclassError(
            f"the model reads {reads}, and {what} can be scored only with one that reads {alphabet} tokens",
            remedy="Use --vcf or --ism with a model of DNA letters, and --fasta with one of protein letters",
            file=bundle.path,
        )


def score_variants(
    bundle: Bundle,
    source: Source,
    out: str | Path,
    *,
    targets: Sequence[str] = (),
    background: Background | None = None,
    also: Sequence[Writer] = (),
    inputs: Sequence[str | Path | None] = (),
    force: bool = False,
) -> list[str]:
    """Scores every row of a source with either allele, and writes what changes.

    Probabilities are those of `seqclass.predict`: calibrated, for DNA the mean of both strands. Equal windows are
    scored once. Memory does not grow with the number of rows. What is scored is kept beside `out`, so that the same
    call goes on where a killed one was.

    Args:
        bundle: The model.
        source: The rows, such as `VcfVariants`.
        out: File to write; its ending says what: a table (.tsv, .tsv.gz), HDF5 (.h5, .hdf5), or for a VCF the same VCF
            annotated (.vcf, .vcf.gz, .bcf). See docs/variants.md for the columns.
        targets: Those that tables and VCFs show: their names, or the beginnings of them. Default: in a table all, in a
            VCF the most affected of each allele. HDF5 holds all, always.
        background: For E-values. Stored within HDF5, or beside other results as `OUT.background.h5`.
        also: Are given all rows and their effects too, such as a map of a region.
        inputs: What was read for this, and so is not replaced.
        force: Replace what stands at `out`, and begin anew where another run was left unfinished.

    Returns:
        Sentences on what was done.

    Raises:
        UnknownNameError: There is no such target.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: The ending of `out` says nothing, there are no rows, another run was left unfinished, or the disk
            is full.
    """
    out = Path(out)
    check_free(out, force, inputs=(bundle.path, *inputs))
    columns = [find_target(bundle.targets, name) for name in targets]
    writer = open_writer(out, source, bundle.targets, columns, background, force=force)
    if source.count == 0:
        raise SeqclassError(
            "nothing is left to score" + "".join(f"; {note}" for note in source.notes),
            remedy="Check the input and what is to be left out",
        )
    run = {"model": _digest(bundle), **source.identity, "seqclass": __version__}
    unfinished = Unfinished(out, run, force=force)
    windows, resumed = 0, 0
    with evaluating(bundle.model) as device, progress("Scoring variants", source.count, "alleles") as advance:
        for number, rows in enumerate(_portions(source, bundle)):
            if unfinished.has(number):
                resumed += len(rows)
                advance(len(rows))
                continue
            either, scored = _score_portion(rows, bundle, device, advance)
            windows += scored
            unfinished.save(number, either)
    with writer as write:
        for number, rows in enumerate(_portions(source, bundle)):
            reference, alternative = unfinished.load(number)
            scores = effects(reference, alternative, background)
            for each in (write, *also):
                each.write(rows, scores)
    unfinished.remove()
    notes = [*source.notes]
    if resumed:
        notes.append(f"{resumed:,} of {source.count:,} alleles were scored by a run that did not end.")
    notes.append(f"{source.count:,} alleles, {windows:,} windows scored on {device}.")
    return notes


def _portions(source: Source, bundle: Bundle) -> Iterator[list[Row]]:
    longest = bundle.length or bundle.window or 1
    size = max(1, min(_PORTION_ROWS, _PORTION_RESIDUES // longest))
    rows = source.rows()
    while portion := list(islice(rows, size)):
        yield portion


def _score_portion(
    rows: Sequence[Row], bundle: Bundle, device: torch.device, advance: Advance
) -> tuple[NDArray[np.float32], int]:
    """Probabilities `(2, rows, targets)` with reference and alternative alleles, and how many windows differ."""
    known: dict[bytes, int] = {}
    windows: list[Tokens] = []
    which = np.empty((2, len(rows)), dtype=np.int64)
    for number, row in enumerate(rows):
        for allele, tokens in enumerate(row.windows()):
            index = which[allele, number] = known.setdefault(tokens.tobytes(), len(windows))
            if index == len(windows):
                windows.append(tokens)

    def of_windows(done: float = 1) -> None:
        advance(done * len(rows) / len(windows))

    scores, _ = score_tokens(windows, bundle, device, of_windows)
    return scores[which], len(windows)


def _digest(bundle: Bundle) -> str:
    """What probabilities follow from: the weights and the calibration."""
    digest = hashlib.sha256(repr(bundle.calibration).encode())
    for name, value in sorted(bundle.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
