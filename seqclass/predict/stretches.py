"""From sequences to the stretches of them that are scored: letters as in training, lengths as the model takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from seqclass.alphabets import Tokens
from seqclass.bundle import Bundle
from seqclass.data.fasta import read_fasta
from seqclass.data.letters import LetterPolicy, LetterReader
from seqclass.errors import SequenceError, find_name
from seqclass.predict.memory import limit_exceeded

LengthPolicy = Literal["error", "centre", "tile"]
LENGTH_POLICIES: tuple[str, ...] = get_args(LengthPolicy)

Sequences: TypeAlias = str | Path | Mapping[str, str] | Iterable[str | tuple[str, str]]
"""A FASTA file (plain or gzip); or sequences, with or without names."""


class Stretch(NamedTuple):
    """What of a sequence is scored at once.

    Attributes:
        name: The sequence's.
        start: Where on it this begins, 0-based; negative where N was put before.
        tokens: `(length,)`.
        whole: The sequence's length, in residues.
    """

    name: str
    start: int
    tokens: Tokens
    whole: int


def letter_reader(bundle: Bundle) -> LetterReader:
    """Reads letters as they were read for training, so far as that is known.

    What training refused is not refused here, if the rule is about letters that stand for several residues: a model
    takes unknown residues, and these are some.
    """
    members = bundle.provenance.get("members")
    recorded = [_recorded_letters(origin) for origin in (members or [bundle.provenance])]
    policy = recorded[0] if all(each == recorded[0] for each in recorded) else LetterPolicy()
    return LetterReader(bundle.alphabet, policy)


def _recorded_letters(provenance: Any) -> LetterPolicy:
    letters = provenance
    for key in ("data", "policies", "letters"):
        letters = letters.get(key) if isinstance(letters, dict) else None
    default = LetterPolicy()
    if not isinstance(letters, dict):
        return default
    known = {name: rule for name, rule in letters.items() if name in vars(default) and rule in ("mask", "map")}
    return LetterPolicy(**known)


def read_stretches(
    bundle: Bundle, sequences: Sequences, policy: LengthPolicy, reader: LetterReader | None = None
) -> Iterator[Stretch]:
    """The stretches to be scored of sequences; see `cut`.

    Args:
        bundle: The model.
        sequences: A FASTA file; names and sequences, in pairs or a mapping; or sequences alone, which are called
            "sequence_1" and so on.
        policy: What becomes of sequences that a model of a fixed length cannot take.
        reader: Keeps count of the letters that were read as something else. Default: `letter_reader`.

    Raises:
        SequenceError: The file is missing, empty or no FASTA, a sequence is empty, a letter is not of the model's
            alphabet, or a length does not fit; file and record are named. Or the model reads vectors.
    """
    if bundle.model.input_kind != "tokens":
        raise SequenceError(
            f"sequences, where the model reads {what_is_read(bundle.model.input_kind, bundle.model.vector_size)}",
            remedy="Turn them into vectors with 'seqclass embed', import those, and judge the store with "
            "'seqclass evaluate'",
        )
    reader = reader or letter_reader(bundle)
    file = sequences if isinstance(sequences, str | Path) else None
    for place, name, letters in _named(sequences):
        try:
            tokens, _ = reader.read([letters], lambda _: (None, ""))
            for start, window in cut(bundle, tokens, policy):
                yield Stretch(name, start, window, len(tokens))
        except SequenceError as error:
            raise SequenceError(error.problem, remedy=error.remedy, file=file, record=place) from None


def _named(sequences: Sequences) -> Iterator[tuple[str, str, bytes]]:
    """Of each sequence where it stands, for messages, its name and its letters."""
    if isinstance(sequences, str | Path):
        for name, _, letters, line in read_fasta(sequences):
            yield f"line {line}, record '{name}'", name, letters
        return
    given: Iterable[str | tuple[str, str]] = sequences.items() if isinstance(sequences, Mapping) else sequences
    for number, each in enumerate(given, start=1):
        name, written = (f"sequence_{number}", each) if isinstance(each, str) else each
        yield f"record '{name}'", name, written.encode("latin-1", "replace")


def what_is_read(kind: str, vector_size: int | None) -> str:
    """In words, what a model reads or a store holds."""
    return kind if vector_size is None else f"{kind} of {vector_size:,} numbers"


def cut(bundle: Bundle, tokens: Tokens, policy: LengthPolicy) -> Iterator[tuple[int, Tokens]]:
    """The stretches of a sequence that are scored, each with its start.

    A model that takes any length scores the whole sequence, unless tiles are asked for. One of a fixed length scores
    what the policy says: "error" refuses sequences of another length; "centre" takes the middle of a longer one and
    puts N around a shorter one; "tile" scores windows a bin apart over a longer one, and puts N around a shorter one.

    Raises:
        SequenceError: The sequence is empty, or its length does not fit and the policy is "error"; or it is longer than
            the model's attention takes at once.
        UnknownNameError: There is no such policy.
    """
    chosen = find_name("length policy", policy, LENGTH_POLICIES)
    if not len(tokens):
        raise SequenceError("the sequence is empty", remedy="Leave it out")
    length = bundle.length if chosen != "tile" else bundle.length or bundle.window
    if length is None:
        _refuse_too_long(bundle, len(tokens))
        yield 0, tokens
    elif len(tokens) == length:
        yield 0, tokens
    elif chosen == "error":
        raise SequenceError(
            f"{len(tokens)} residues, where the model takes exactly {length}",
            remedy=f"Pass --length-policy centre (crop or pad with {bundle.alphabet.unknown} around the middle) "
            "or tile (score every window)",
        )
    elif chosen == "tile" and len(tokens) > length:
        last = len(tokens) - length
        for start in [*range(0, last, bundle.bin or length), last]:
            yield start, tokens[start : start + length]
    else:
        start = (len(tokens) - length) // 2
        window = np.full(length, bundle.alphabet.unknown_token, dtype=np.uint8)
        inner = tokens[max(0, start) : max(0, start) + length]
        window[max(0, -start) : max(0, -start) + len(inner)] = inner
        yield start, window


def _refuse_too_long(bundle: Bundle, length: int) -> None:
    limit = limit_exceeded(bundle, length)
    if limit is not None:
        remedy = f"Pass --length-policy tile (score every window of {bundle.window} residues)"
        raise SequenceError(
            f"{length} residues, where the model's attention takes at most {limit} at once",
            remedy=remedy if bundle.window else "Cut it into shorter ones",
        )
