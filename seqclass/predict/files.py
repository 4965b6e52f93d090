"""A FASTA file in, a file of predictions out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from seqclass.atomic import check_free
from seqclass.bundle import Bundle
from seqclass.errors import SeqclassError
from seqclass.predict.formats import STDOUT, find_format, open_predictions
from seqclass.predict.processes import Processes, processes
from seqclass.predict.records import Prediction, Tell, Write, predict
from seqclass.predict.run import Work, run
from seqclass.predict.stretches import LengthPolicy, letter_reader, read_stretches
from seqclass.progress import track

_STDIN = "/dev/stdin"
_ROWS = 1024


class _Survey(NamedTuple):
    """What is known of a file once it has been read: how many stretches, a checksum, and what was read as what."""

    total: int
    sha256: str
    notes: list[str]


def write_predictions(
    bundle: Bundle,
    fasta: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    top_k: int | None = None,
    length_policy: LengthPolicy = "error",
    calibrated: bool = True,
    resume: bool = False,
    force: bool = False,
    tell: Tell = warnings.warn,
) -> int:
    """Scores a FASTA file into a table (TSV, CSV), JSON lines or HDF5; docs/prediction.md says what is in them.

    The file is read through before anything is scored, so that a bad record at its end costs no time. Memory does not
    grow with the number of sequences. What is scored is kept beside `out`: a run that was killed goes on with `resume`,
    to the same bytes. Processes that torchrun started share the work. Of a pipe, what is read is scored and written at
    once, and nothing is kept.

    Args:
        bundle: The model.
        fasta: Sequences, plain or gzip; "-" for standard input.
        out: The file to write, or "-" for standard output.
        format: One of `FORMATS`. Default: what the ending of `out` says; without one, TSV.
        top_k: Tell of so many of the most probable targets. Default: of all.
        length_policy: What becomes of sequences that a model of a fixed length cannot take; see `cut`.
        calibrated: Whether the bundle's calibration is applied, if it has one.
        resume: Go on with a run that was left unfinished, if there is one.
        force: Replace what stands at `out`, and begin anew where a run was left unfinished.
        tell: Is given sentences on letters that were read as others. Default: a warning.

    Returns:
        The number of rows.

    Raises:
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is an input or no file, the disk is full, a run was left unfinished that is
            not to be gone on with, or the format does not fit.
        SequenceError: As in `predict`; nothing is written then, unless to standard output from a pipe.
    """
    bundle = bundle if calibrated else replace(bundle, calibration=None)
    if out != STDOUT:
        check_free(out, force, inputs=(None if fasta == STDOUT else fasta, bundle.path))
    kind = find_format(out, format)
    if kind == "beta-lactamase" and length_policy == "tile":
        raise SeqclassError(
            "the beta-lactamase table has one row a protein, and windows have several",
            remedy="Choose another --length-policy, or another --format",
        )
    writer = open_predictions(out, kind, bundle, top_k=top_k, force=force)
    source = Path(_STDIN if fasta == STDOUT else fasta)
    piped = source.is_fifo() or source.is_char_device()
    with processes() as team:
        if out != STDOUT and not piped:
            return _kept(bundle, source, Path(out), length_policy, writer, team, tell, resume=resume, force=force)
        if resume or team.count > 1:
            raise SeqclassError(
                "what comes from a pipe or goes to one cannot be "
                + ("gone on with" if resume else "shared by several processes"),
                remedy="Name a file to read and one to write",
            )
        if not piped:
            _survey(bundle, source, length_policy)
        return _passed_on(predict(bundle, source, length_policy=length_policy, tell=tell), writer)


def _kept(
    bundle: Bundle,
    fasta: Path,
    out: Path,
    policy: LengthPolicy,
    writer: AbstractContextManager[Write],
    team: Processes,
    tell: Tell,
    *,
    resume: bool,
    force: bool,
) -> int:
    """The rows of a run that can be gone on with."""
    survey = None
    with team.step():
        if team.is_first:
            survey = _survey(bundle, fasta, policy)
    survey = team.from_first(survey)
    assert survey is not None
    identity: dict[str, str | int] = {"sequences": survey.sha256, "length_policy": policy}
    work = Work(lambda: read_stretches(bundle, fasta, policy), survey.total, policy, identity)
    rows = run(bundle, work, out, writer, team, resume=resume, force=force)
    if team.is_first:
        for note in survey.notes:
            tell(note)
    return rows


def _passed_on(predictions: Iterator[Prediction], writer: AbstractContextManager[Write]) -> int:
    """The rows of what is written as it comes."""
    rows = 0
    with writer as write:
        while some := list(islice(predictions, _ROWS)):
            write(some)
            rows += len(some)
    return rows


def _survey(bundle: Bundle, fasta: Path, policy: LengthPolicy) -> _Survey:
    reader = letter_reader(bundle)
    stretches = read_stretches(bundle, fasta, policy, reader)
    count = sum(1 for _ in track(stretches, "Reading sequences", unit="stretches"))
    with open(fasta, "rb") as stream:
        return _Survey(count, hashlib.file_digest(stream, "sha256").hexdigest(), reader.notes())
