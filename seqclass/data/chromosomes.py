"""Chromosome names, which differ between files: `IV`, `chrIV`, `chr4`; `Mito`, `chrM`, `MT`.

A name is matched only where there is no doubt: it is the genome's own, or differs from exactly one of the genome's by
a `chr` before it, by case or leading zeros, by what the mitochondrion is called, or as a Roman numeral from an Arabic.
Numerals count as Roman only where a file's numerals form a whole series I, II, ... N, so that the sex chromosome X of
man, fly or worm never passes for chromosome 10. A table of aliases goes before all that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seqclass.data.fasta import open_maybe_gzip
from seqclass.errors import IntervalError

_PREFIX = re.compile(r"^(chromosome|chr)_?(?=.)", re.IGNORECASE)
_MITOCHONDRION = {"M", "MT", "MITO", "MTDNA", "MITOCHONDRION"}
_ROMAN = re.compile(r"(?=[CLXVI])(C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


class ChromosomeNames:
    """The names of a genome's chromosomes, and what other files may call them.

    Args:
        names: The genome's own names.
        file: The genome's file, for messages.
        aliases: A table with two or more names of one chromosome a line, tab-separated, in any order; one of them is
            the genome's. Lines about other sequences are passed over.

    Raises:
        IntervalError: The table names no chromosome of the genome, or one name for two of them.
    """

    def __init__(self, names: Sequence[str], *, file: str | Path, aliases: str | Path | None = None) -> None:
        self.names = list(names)
        self.file = Path(file)
        self._aliases = {} if aliases is None else _read_aliases(Path(aliases), set(names))

    def find(self, names: Iterable[str]) -> dict[str, str]:
        """The genome's name for each of another file's names that can be matched without doubt."""
        names = list(names)
        own_names = set(self.names)
        matched = {name: self._aliases.get(name, name) for name in names if name in own_names | self._aliases.keys()}
        for keys, own_keys in (
            (_plain_keys(names), _plain_keys(self.names)),
            (_arabic_keys(names), _arabic_keys(self.names)),
        ):
            owners: dict[str, list[str]] = {}
            for own, key in own_keys.items():
                owners.setdefault(key, []).append(own)
            for name, key in keys.items():
                if name not in matched and len(owners.get(key, ())) == 1:
                    matched[name] = owners[key][0]
        return matched

    def require(self, matched: Mapping[str, str], places: Mapping[str, tuple[Path, int]]) -> None:
        """Refuses names that found no match.

        Args:
            matched: What `find` returned.
            places: All names that need a match, each with the file and line in which it first occurs.

        Raises:
            IntervalError: A name has no match; both files' names are shown.
        """
        missing = [name for name in places if name not in matched]
        if not missing:
            return
        file, line = places[missing[0]]
        if len(missing) == len(places):
            problem = "no chromosome in common with the genome"
            remedy = "Give the genome on which these intervals were called, or a table of names with --chrom-alias FILE"
        else:
            problem = f"chromosome {listing(missing)} cannot be matched with the genome's names"
            remedy = (
                f"Name them with --chrom-alias FILE, or leave them out with --exclude-chroms {' '.join(missing[:3])}"
            )
        raise IntervalError(
            f"{problem}; here: {listing(places, 30)}; in {self.file.name}: {listing(self.names, 30)}",
            remedy=remedy,
            file=file,
            record=line,
        )


def same_chromosome(one: str, other: str) -> bool:
    """Whether two names are the same but for `chr`, case, leading zeros or the mitochondrion's names."""
    return _plain_key(one) == _plain_key(other)


def renaming_note(matched: Mapping[str, str], what: str) -> list[str]:
    """A sentence on the names of `what` that were read as others, or nothing."""
    ordered = sorted(matched.items(), key=lambda pair: (len(pair[0]), pair[0]))
    changed = [f"{name} -> {own}" for name, own in ordered if name != own]
    return [f"chromosome names of {what} mapped: {listing(changed)}"] if changed else []


def listing(names: Iterable[str], shown: int = 6) -> str:
    """Names behind commas; after the first few only how many more there are."""
    names = list(names)
    more = len(names) - shown
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:shown])} and {more:,} more"


def _plain_key(name: str) -> str:
    key = _PREFIX.sub("", name).upper()
    return "M" if key in _MITOCHONDRION else key.lstrip("0") or key


def _plain_keys(names: Iterable[str]) -> dict[str, str]:
    return {name: _plain_key(name) for name in names}


def _arabic_keys(names: Iterable[str]) -> dict[str, str]:
    """The chromosomes' numbers, Roman numerals among them only where they form a whole series from I."""
    keys = _plain_keys(names)
    romans = {name: _roman_number(key) for name, key in keys.items() if key != "M" and _ROMAN.fullmatch(key)}
    series = set(romans.values())
    if len(series) < 2 or series != set(range(1, len(series) + 1)):
        romans = {}
    return {name: key for name, key in keys.items() if key.isdigit()} | {n: str(i) for n, i in romans.items()}


def _roman_number(numeral: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(-value if value < after else value for value, after in zip(values, following, strict=True))


def _read_aliases(path: Path, genome: set[str]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            text = raw.decode("utf-8", "replace").removeprefix("\ufeff").strip()
            if not text or text.startswith("#"):
                continue
            names = {name.strip() for name in text.split("\t")} - {""}
            if len(names) < 2:
                raise IntervalError(
                    f"one name ({text[:60]!r}), where two or more names of one chromosome are expected",
                    remedy="Separate the names by tabs",
                    file=path,
                    record=number,
                )
            own = names & genome
            if not own:
                continue
            claimed = own | {aliases[name] for name in names - own if name in aliases}
            if len(claimed) > 1:
                raise IntervalError(
                    f"this line would make one of {listing(sorted(claimed))}, which are different in the genome",
                    remedy="Leave one chromosome of the genome in each line, and each alias in one line",
                    file=path,
                    record=number,
                )
            aliases.update(dict.fromkeys(names - own, next(iter(own))))
    if not aliases:
        raise IntervalError(
            f"no line names a chromosome of the genome, which has {listing(sorted(genome))}",
            remedy="Write the genome's name and the other name behind a tab, one chromosome a line",
            file=path,
        )
    return aliases
