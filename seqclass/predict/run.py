"""Long runs: scored portion by portion, each kept beside the output, by one process or many; then merged in order.

A run that was killed goes on with the portions that it has, and ends in the same bytes. Processes that torchrun started
share the portions out among them, and the first merges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from seqclass import __version__
from seqclass.bundle import Bundle
from seqclass.errors import SeqclassError
from seqclass.predict.judge import evaluating
from seqclass.predict.portions import RecentRows, Rows, portions
from seqclass.predict.processes import Processes
from seqclass.predict.records import Assembly, Write, score_portion, width
from seqclass.predict.stretches import LengthPolicy, Stretch
from seqclass.progress import Advance, progress
from seqclass.unfinished import Unfinished


class Work(NamedTuple):
    """What a run scores.

    Attributes:
        stretches: Gives them, as often as asked, always the same.
        total: How many there are, or about so many.
        policy: How sequences were cut.
        identity: All that they follow from, as JSON can hold it.
    """

    stretches: Callable[[], Iterator[Stretch]]
    total: int
    policy: LengthPolicy
    identity: Mapping[str, str | int]


def run(
    bundle: Bundle,
    work: Work,
    out: Path,
    writer: AbstractContextManager[Write],
    team: Processes,
    *,
    resume: bool,
    force: bool,
) -> int:
    """Scores and writes.

    Args:
        bundle: The model.
        work: The same in all processes.
        out: What is written, beside which portions are kept until it stands.
        writer: Takes all predictions, in order; of the first process.
        team: The processes that call this.
        resume: Go on with an unfinished run.
        force: Begin anew where another run was left unfinished.

    Returns:
        How many predictions were written.

    Raises:
        SeqclassError: A run was left unfinished that is not to be gone on with, what it kept is damaged, or the disk is
            full.
    """
    whole = {**work.identity, "model": bundle.version, "seqclass": __version__}
    with team.step():
        if team.is_first:
            Unfinished(out, whole, force=force, resume=resume)
    unfinished = Unfinished(out, whole)
    with team.step():
        _score(bundle, work, unfinished, team)
    written = 0
    with team.step():
        if team.is_first:
            with writer as write:
                written = _merge(bundle, work, unfinished, write)
            unfinished.remove()
    return team.from_first(written)


def _score(bundle: Bundle, work: Work, unfinished: Unfinished, team: Processes) -> None:
    bar: AbstractContextManager[Advance] = nullcontext(_say_nothing)
    if team.is_first:
        bar = progress("Predicting", work.total, "stretches")
    with evaluating(bundle.model) as device, bar as advance:
        for number, portion in enumerate(portions(work.stretches(), width(bundle))):
            if number % team.count != team.rank or unfinished.has(number):
                advance(len(portion.entries))
            else:
                unfinished.save(number, score_portion(portion, bundle, device, advance))


def _say_nothing(done: float = 1) -> None:
    """One bar is enough for all processes."""


def _merge(bundle: Bundle, work: Work, unfinished: Unfinished, write: Write) -> int:
    recent, about, written = RecentRows(width(bundle)), Assembly(bundle, work.policy), 0
    with progress("Writing", work.total, "stretches") as advance:
        for number, portion in enumerate(portions(work.stretches(), width(bundle))):
            new: Rows = unfinished.load(number)
            if new.shape != (len(portion.tokens), width(bundle)):
                raise SeqclassError(
                    "what was read changed while it was scored",
                    remedy="Run it again with --force, and leave the input as it is meanwhile",
                    file=unfinished.folder,
                )
            predictions = list(about.predictions(portion, recent.of(portion, new)))
            write(predictions)
            written += len(predictions)
            advance(len(predictions))
    return written
