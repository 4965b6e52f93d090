"""From the letters of a file to tokens: what becomes of lower case, gaps, stops, U and ambiguous letters.

Each rule is "strict" (an error that names the place), "mask" (the residue becomes unknown, N or X) or "map" (the letter
is read as what it means). Nothing is changed silently: `LetterReader.notes` says what was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import IntFlag
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Alphabet, Tokens
from seqclass.errors import SeqclassError, SequenceError

Rule = Literal["strict", "mask", "map"]
Place = Callable[[int], tuple[Path | None, str | int]]

# The residue that another resembles most: selenocysteine, pyrrolysine, Asx, Glx, and leucine or isoleucine.
_NEAREST = {"U": "C", "O": "K", "B": "D", "Z": "E", "J": "L"}
_GAPS, _STOP = "-.", "*"


class _Trait(IntFlag):
    """What can be said of a letter; the first five are named like the rules about them."""

    LOWER_CASE = 1
    GAPS = 2
    STOP = 4
    URACIL = 8
    AMBIGUOUS = 16
    FOREIGN = 32


_RULED = tuple(trait for trait in _Trait if trait != _Trait.FOREIGN)

# Added to the token of a letter of which anything is to be said, so that one look tells whether there is any.
_REMARKABLE = 128


@dataclass(frozen=True)
class LetterPolicy:
    """What becomes of letters that are not plain residues: for each kind "strict", "mask" or "map".

    Strict is an error and mask makes the residue unknown, which is N in DNA and X in proteins.

    Args:
        lower_case: map reads it as upper case; mask is for soft-masked repeats.
        gaps: `.` and `-`; map removes them.
        stop: A `*` at the end; map removes it. One elsewhere is always an error.
        uracil: U in DNA; map reads it as T.
        ambiguous: Letters that stand for several residues; in proteins, map reads the residue that is most alike: C for
            U, K for O, D for B, E for Z, L for J. Strict refuses N and X as well.

    Raises:
        SeqclassError: A rule is none of the three.
    """

    lower_case: Rule = "map"
    gaps: Rule = "strict"
    stop: Rule = "map"
    uracil: Rule = "map"
    ambiguous: Rule = "mask"

    def __post_init__(self) -> None:
        for name, rule in asdict(self).items():
            if rule not in get_args(Rule):
                raise SeqclassError(
                    f"the rule {_option(name)} is {rule!r}", remedy="Choose one of strict, mask and map"
                )


class LetterReader:
    """Reads sequences under a policy, thousands at a time, and counts what it changes.

    Args:
        alphabet: Of the sequences.
        policy: What becomes of letters that are not plain residues.

    Raises:
        SeqclassError: Ambiguous letters of DNA are to be mapped, though none resembles one base most.
    """

    def __init__(self, alphabet: Alphabet, policy: LetterPolicy) -> None:
        if alphabet == DNA and policy.ambiguous == "map":
            raise SeqclassError(
                "ambiguous letters of DNA cannot be mapped: each stands for several bases alike",
                remedy="Pass --ambiguous mask to read them as N, or --ambiguous strict to refuse them",
            )
        self.alphabet, self.policy = alphabet, policy
        self._rules = {trait: str(getattr(policy, str(trait.name).lower())) for trait in _RULED}
        self._refused = sum(trait for trait in _RULED if self._rules[trait] == "strict") | _Trait.FOREIGN
        self._removed = sum(trait for trait in (_Trait.GAPS, _Trait.STOP) if self._rules[trait] == "map")
        meanings = [self._meaning(chr(byte)) for byte in range(256)]
        self._tokens = bytes(token | (_REMARKABLE if traits else 0) for token, traits in meanings)
        self._traits = bytes(traits for _, traits in meanings)
        self._letters: dict[_Trait, set[int]] = {trait: set() for trait in _RULED}
        self._residues: Counter[_Trait] = Counter()
        self._records: Counter[_Trait] = Counter()

    def _meaning(self, letter: str) -> tuple[int, int]:
        """The token that a letter becomes, and its traits."""
        alphabet, unknown = self.alphabet, self.alphabet.unknown_token
        if letter in _GAPS:
            return unknown, _Trait.GAPS
        if letter == _STOP:
            return unknown, _Trait.STOP
        upper = letter.upper() if letter.isascii() else letter
        if upper not in alphabet.letters + alphabet.unknown + alphabet.ambiguous and not (
            alphabet == DNA and upper == "U"
        ):
            return unknown, _Trait.FOREIGN
        traits = 0 if letter == upper else int(_Trait.LOWER_CASE)
        if traits and self.policy.lower_case == "mask":
            return unknown, traits
        if upper in alphabet.letters:
            return alphabet.letters.index(upper), traits
        if alphabet == DNA and upper == "U":
            traits |= _Trait.URACIL
            return alphabet.letters.index("T") if self.policy.uracil == "map" else unknown, traits
        if upper in alphabet.ambiguous:
            traits |= _Trait.AMBIGUOUS
            return alphabet.letters.index(_NEAREST[upper]) if self.policy.ambiguous == "map" else unknown, traits
        return unknown, traits | (_Trait.AMBIGUOUS if self.policy.ambiguous == "strict" else 0)

    def read(self, letters: Sequence[bytes], place: Place) -> tuple[Tokens, NDArray[np.int64]]:
        """Tokens `(residues,)` of sequences, one after the other, and the length of each, `(sequences,)`, at least 1.

        Args:
            letters: Of each sequence.
            place: Gives the file and the record that the sequence of an index comes from, for messages.

        Raises:
            SequenceError: A letter is not of the alphabet, or refused by the policy; a stop is not at the end; or
                nothing is left of a sequence.
        """
        lengths = np.fromiter(map(len, letters), dtype=np.int64, count=len(letters))
        _refuse_empty(lengths, place)
        joined = b"".join(letters)
        tokens = np.frombuffer(joined.translate(self._tokens), dtype=np.uint8)
        if tokens.max(initial=0) < _REMARKABLE:
            return tokens, lengths
        tokens = tokens & np.uint8(_REMARKABLE - 1)
        traits = np.frombuffer(joined.translate(self._traits), dtype=np.uint8)
        starts = np.cumsum(lengths) - lengths
        self._refuse(letters, traits, starts, place)
        self._count(np.frombuffer(joined, dtype=np.uint8), traits, starts)
        removed = (traits & self._removed) != 0
        if removed.any():
            lengths = lengths - np.add.reduceat(removed, starts, dtype=np.int64)
            _refuse_empty(lengths, place)
            tokens = tokens[~removed]
        return tokens, lengths

    def notes(self) -> list[str]:
        """What has been changed so far: a sentence for each rule that met anything."""
        notes = []
        for trait, rule in self._rules.items():
            if not self._records[trait]:
                continue
            letters = sorted({chr(byte).upper() for byte in self._letters[trait]})
            kinds = {_Trait.LOWER_CASE: "lower-case residue", _Trait.GAPS: "gap", _Trait.STOP: "stop"}
            if rule == "mask":
                became = f"mapped to {self.alphabet.unknown}"
            elif trait == _Trait.LOWER_CASE:
                became = "read as upper case"
            elif trait == _Trait.AMBIGUOUS:
                became = "mapped to " + ", ".join(_NEAREST[letter] for letter in letters)
            else:
                became = "mapped to T" if trait == _Trait.URACIL else "removed"
            what = _counted(self._residues[trait], kinds.get(trait, "residue"))
            shown = f" ({', '.join(letters)})" if letters else ""
            notes.append(f"{what}{shown} in {_counted(self._records[trait], 'record')} {became}.")
        return notes

    def _count(self, letters: NDArray[np.uint8], traits: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        of_records = np.bitwise_or.reduceat(traits, starts)
        for trait in _RULED:
            records = int(np.count_nonzero(of_records & trait))
            if records:
                self._records[trait] += records
                where = (traits & trait) != 0
                self._residues[trait] += int(np.count_nonzero(where))
                # Lower case can be half of a genome, and nobody asks which letters.
                if trait != _Trait.LOWER_CASE:
                    self._letters[trait].update(letters[where].tobytes())

    def _refuse(
        self, letters: Sequence[bytes], traits: NDArray[np.uint8], starts: NDArray[np.int64], place: Place
    ) -> None:
        """Raises the error of the first letter that is refused, if there is one."""
        refused = np.flatnonzero(traits & self._refused)[:1].tolist() + self._inner_stops(letters, traits, starts)[:1]
        if not refused:
            return
        first = min(refused)
        index = int(np.searchsorted(starts, first, side="right")) - 1
        position = first - int(starts[index])
        problem, remedy = self._complaint(letters[index], position, _Trait(int(traits[first])))
        file, record = place(index)
        raise SequenceError(problem, remedy=remedy, file=file, record=record)

    def _inner_stops(self, letters: Sequence[bytes], traits: NDArray[np.uint8], starts: NDArray[np.int64]) -> list[int]:
        """Where stops stand that are not at the end of their sequence, gaps aside where they are removed."""
        stops = np.flatnonzero(traits & _Trait.STOP)
        owners = np.searchsorted(starts, stops, side="right") - 1
        at_end = stops == np.append(starts[1:], len(traits))[owners] - 1
        trailing = _GAPS.encode() if self._removed & _Trait.GAPS else b""
        return [
            stop
            for stop, owner in zip(stops[~at_end].tolist(), owners[~at_end].tolist(), strict=True)
            if letters[owner][stop - int(starts[owner]) + 1 :].strip(trailing)
        ]

    def _complaint(self, sequence: bytes, position: int, traits: _Trait) -> tuple[str, str]:
        """What is wrong with the letter of a sequence at a 0-based position, and what to do about it."""
        alphabet, unknown = self.alphabet, self.alphabet.unknown
        shown = f"letter {sequence[position : position + 1].decode('latin-1')!r} at position {position + 1}"
        if traits & _Trait.FOREIGN:
            kind = alphabet.name.upper()
            return (
                f"{shown} is not {kind} (expected {alphabet.letters}, or {unknown} for an unknown residue)",
                f"Check that this is {kind}, and take out numbers and other signs",
            )
        if traits & _Trait.STOP and self._rules[_Trait.STOP] != "strict":
            return (
                f"{shown} is a stop within a sequence of {len(sequence):,}, where one is expected at the end only",
                "Check the reading frame, or end the sequence there",
            )
        trait = next(trait for trait in _RULED if traits & trait and self._rules[trait] == "strict")
        masked, option = f"mask to read it as {unknown}", _option(str(trait.name).lower())
        if trait == _Trait.LOWER_CASE:
            return f"{shown} is lower case", f"Pass {option} map to read it as upper case, or {masked}"
        if trait == _Trait.GAPS:
            return f"{shown} is a gap", f"Pass {option} map to remove gaps, or {masked}"
        if trait == _Trait.STOP:
            return f"{shown} is a stop", f"Pass {option} map to remove it at the end of a sequence, or {masked}"
        if trait == _Trait.URACIL:
            return f"{shown} is RNA, where DNA is expected", f"Pass {option} map to read it as T, or {masked}"
        stands = "an unknown residue" if sequence[position : position + 1].upper() == unknown.encode() else "several"
        return f"{shown} stands for {stands}, where one residue is expected", f"Pass {option} {masked}"


def _refuse_empty(lengths: NDArray[np.int64], place: Place) -> None:
    if len(lengths) and not lengths.all():
        file, record = place(int(lengths.argmin()))
        raise SequenceError(
            "no residue is left of this sequence",
            remedy="Remove the record, or add its sequence",
            file=file,
            record=record,
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
