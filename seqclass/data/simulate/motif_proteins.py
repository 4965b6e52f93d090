"""Simulated proteins with or without two motifs, as FASTA or as a table.

The motifs are two patterns of PROSITE: the P-loop of ATP- and GTP-binding proteins (PS00017) and the zinc finger C2H2
(PS00028). Every protein holds a stretch for each of them: the motif, or a decoy of the same letters shuffled, so
composition tells nothing. A protein has a motif where, and only where, its pattern matches.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.alphabets import PROTEIN
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.amino_acids import random_protein, random_residues
from seqclass.data.simulate.writing import write_fasta, write_table
from seqclass.data.store import SPLITS
from seqclass.errors import SourceError
from seqclass.progress import track

_MARK = "motifs.tsv"
_P_LOOP, _ZINC_FINGER, _NEITHER = "P-loop", "zinc-finger", "neither"
_CLASSES = (_P_LOOP, _ZINC_FINGER, _NEITHER)
# Letters allowed (none: any), and how many such residues at least and at most.
_PARTS = {
    _P_LOOP: [("AG", 1, 1), ("", 4, 4), ("G", 1, 1), ("K", 1, 1), ("ST", 1, 1)],
    _ZINC_FINGER: [
        ("C", 1, 1),
        ("", 2, 4),
        ("C", 1, 1),
        ("", 3, 3),
        ("CFILMVWY", 1, 1),
        ("", 8, 8),
        ("H", 1, 1),
        ("", 3, 5),
        ("H", 1, 1),
    ],
}
_PATTERNS = {
    motif: re.compile(
        "".join(f"{f'[{letters}]' if letters else '.'}{{{least},{most}}}" for letters, least, most in parts)
    )
    for motif, parts in _PARTS.items()
}
_SHORTEST, _LONGEST = 100, 300
_SHARES = (0.7, 0.15, 0.15)
_GROUP, _REDRAWN = 4, 0.2
_TRUTH = """\
motifs.tsv     every stretch planted: id, motif, start, end (0-based, half-open), and whether it is the motif (yes) or a
               decoy of the same letters shuffled (no)
"""
_FASTA_README = """\
Simulated proteins with motifs: {proteins} of them, of the classes {classes}.

proteins.fasta     >ID class=CLASS split=SPLIT
labels.tsv         the same classes and splits as a table: id, class, split
by_class/*.fasta   the same proteins, one file a class
{truth}
    seqclass data import fasta proteins.fasta --alphabet protein --out proteins.h5 \\
        --label-regex 'class=(\\S+)' --split-regex 'split=(\\S+)'
"""
_TABLE_README = """\
Simulated proteins with motifs: {proteins} of them.

proteins.csv   id, sequence, two yes-or-no columns (1, 0, or empty where missing), split, and group: proteins of a
               group are relatives, and never in two splits
{truth}
    seqclass data import table proteins.csv --alphabet protein --out proteins.h5 \\
        --labels P-loop zinc-finger --split split --group group
"""


def simulate_fasta(out: str | Path, *, proteins: int = 600, seed: int = 0, force: bool = False) -> Path:
    """Writes a folder with proteins of three classes as FASTA: with a P-loop, with a zinc finger, with neither.

    The folder holds `proteins.fasta`, class and split in the header; `labels.tsv` and `by_class/CLASS.fasta`, the same
    in two other forms; `motifs.tsv`, where each motif and each decoy lies; and `README.txt`.

    Args:
        out: The folder to write.
        proteins: How many there are, of 100 to 300 residues.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: There are fewer than three proteins, or the seed is negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    _check_count(proteins)
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    classes = [_CLASSES[index] for index in generator.permutation(np.arange(proteins) % len(_CLASSES)).tolist()]
    splits = generator.choice(SPLITS, size=proteins, p=_SHARES).tolist()
    made = [
        _protein(random_protein(int(generator.integers(_SHORTEST, _LONGEST + 1)), generator), {name}, generator)
        for name in track(classes, "Making proteins", proteins, "proteins")
    ]
    names = [f"p{number:05d}" for number in range(1, proteins + 1)]
    with atomic_folder(out, force=force, holding=_MARK) as folder:
        headers = [f"{n} class={c} split={s}" for n, c, s in zip(names, classes, splits, strict=True)]
        letters = [protein.letters for protein in made]
        write_fasta(folder / "proteins.fasta", zip(headers, letters, strict=True))
        write_table(folder / "labels.tsv", ("id", "class", "split"), zip(names, classes, splits, strict=True))
        (folder / "by_class").mkdir()
        for name in _CLASSES:
            members = [i for i, each in enumerate(classes) if each == name]
            write_fasta(folder / "by_class" / f"{name}.fasta", ((names[i], letters[i]) for i in members))
        _write_truth(folder, names, made)
        text = _FASTA_README.format(proteins=proteins, classes=", ".join(_CLASSES), truth=_TRUTH)
        (folder / "README.txt").write_text(text, encoding="ascii")
    return Path(out)


def simulate_table(
    out: str | Path, *, proteins: int = 600, missing: float = 0.1, seed: int = 0, force: bool = False
) -> Path:
    """Writes a folder with proteins and two yes-or-no labels as a table, some of the labels missing.

    The folder holds `proteins.csv` (id, sequence, P-loop, zinc-finger, split, group); `motifs.tsv`, where each motif
    and each decoy lies; and `README.txt`. Four proteins at a time form a group: their residues outside the motifs come
    from one ancestor, a fifth of them drawn anew; a group lies in one split.

    Args:
        out: The folder to write.
        proteins: How many there are, of 100 to 300 residues; each motif is in half of them.
        missing: The share of labels whose cell is empty.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: There are fewer than three proteins, a share is none, or the seed is negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    _check_count(proteins)
    if not 0 <= missing < 1:
        raise SourceError(f"{missing} is not a share of missing labels", remedy="Choose a number from 0 to below 1")
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    names = [f"p{number:05d}" for number in range(1, proteins + 1)]
    made, rows = [], []
    for index, name in enumerate(track(names, "Making proteins", proteins, "proteins")):
        if index % _GROUP == 0:
            ancestor = random_residues(int(generator.integers(_SHORTEST, _LONGEST + 1)), generator)
            split = str(generator.choice(SPLITS, p=_SHARES))
        redrawn = generator.random(len(ancestor)) < _REDRAWN
        body = PROTEIN.decode(np.where(redrawn, random_residues(len(ancestor), generator), ancestor))
        wanted = {motif for motif in _PATTERNS if generator.random() < 0.5}
        made.append(_protein(body, wanted, generator))
        cells = ["" if generator.random() < missing else int(motif in wanted) for motif in _PATTERNS]
        rows.append((name, made[-1].letters, *cells, split, f"g{index // _GROUP + 1:04d}"))
    with atomic_folder(out, force=force, holding=_MARK) as folder:
        write_table(folder / "proteins.csv", ("id", "sequence", *_PATTERNS, "split", "group"), rows, delimiter=",")
        _write_truth(folder, names, made)
        (folder / "README.txt").write_text(_TABLE_README.format(proteins=proteins, truth=_TRUTH), encoding="ascii")
    return Path(out)


def _check_count(proteins: int) -> None:
    if proteins < len(_CLASSES):
        raise SourceError(f"{proteins} proteins are too few", remedy=f"Take {len(_CLASSES)} or more")


class _Stretch(NamedTuple):
    motif: str
    start: int
    end: int
    true: str


class _Protein(NamedTuple):
    letters: str
    stretches: list[_Stretch]


def _protein(body: str, wanted: set[str], generator: np.random.Generator) -> _Protein:
    """`body` with a stretch for each motif, one in either half: the motif where wanted, else its letters shuffled."""
    while any(pattern.search(body) for pattern in _PATTERNS.values()):
        for pattern in _PATTERNS.values():
            body = pattern.sub(lambda match: random_protein(len(match.group()), generator), body)
    half = len(body) // 2
    while True:
        letters, stretches = body, []
        for motif, begin in zip(_PATTERNS, generator.permutation([0, half]).tolist(), strict=True):
            inset = _motif(motif, generator)
            if motif not in wanted:
                inset = "".join(generator.permutation(list(inset)).tolist())
            start = begin + int(generator.integers(half - len(inset) + 1))
            end = start + len(inset)
            letters = letters[:start] + inset + letters[end:]
            stretches.append(_Stretch(motif, start, end, "yes" if motif in wanted else "no"))
        # By chance a shuffled motif may be one, or a motif may arise where a stretch meets the body.
        if all(
            [match.start() for match in _PATTERNS[each.motif].finditer(letters)] == [each.start] * (each.true == "yes")
            for each in stretches
        ):
            return _Protein(letters, stretches)


def _motif(motif: str, generator: np.random.Generator) -> str:
    parts = []
    for letters, least, most in _PARTS[motif]:
        count = int(generator.integers(least, most + 1))
        parts.append(
            "".join(generator.choice(list(letters), size=count).tolist())
            if letters
            else random_protein(count, generator)
        )
    return "".join(parts)


def _write_truth(folder: Path, names: list[str], made: list[_Protein]) -> None:
    rows = ((name, *stretch) for name, protein in zip(names, made, strict=True) for stretch in protein.stretches)
    write_table(folder / _MARK, ("id", "motif", "start", "end", "true"), rows)
