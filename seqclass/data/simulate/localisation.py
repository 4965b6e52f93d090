"""Simulated proteins with sorting signals at the right terminus, in the formats of DeepLoc 1.0 and 2.0.

Each location has the signal that sends a protein there, built after the consensus in the literature:

    Extracellular           signal peptide: n-, h- and c-region, A-x-A before the cleavage (von Heijne 1985)
    Cell membrane           signal peptide, and a membrane helix with its stop-transfer sequence near the C-terminus
    Lysosome/Vacuole        the same, and G-Y-x-x-hydrophobic at the very C-terminus (Williams & Fukuda 1990)
    Endoplasmic reticulum   signal peptide, and KDEL or HDEL at the very C-terminus (Munro & Pelham 1987)
    Golgi apparatus         uncleaved N-terminal anchor of 17 residues (type II membrane protein; Munro 1995)
    Mitochondrion           amphipathic N-terminal helix without acids (von Heijne 1986)
    Plastid                 N-terminal transit peptide rich in S and T, without acids (Gavel & von Heijne 1990)
    Nucleus                 K-[KR]-x-[KR], alone or bipartite, anywhere (Robbins et al. 1991)
    Peroxisome              S-K-L or a close variant at the very C-terminus (Gould et al. 1989)
    Cytoplasm               none

Signals that only a terminus makes work are also planted in the middle of proteins, where they mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.amino_acids import random_protein
from seqclass.data.simulate.writing import write_fasta, write_table
from seqclass.data.sources.deeploc import LOCATIONS
from seqclass.errors import SourceError
from seqclass.progress import track

_MARK = "signals.tsv"
_BOTH = "Cytoplasm-Nucleus"
_IN_MEMBRANES = ("Cell membrane", "Golgi apparatus", "Lysosome/Vacuole")
_HEAD_OF = {
    "Cell membrane": "signal peptide",
    "Endoplasmic reticulum": "signal peptide",
    "Extracellular": "signal peptide",
    "Golgi apparatus": "signal anchor",
    "Lysosome/Vacuole": "signal peptide",
    "Mitochondrion": "presequence",
    "Plastid": "transit peptide",
}
_TAIL_OF = {"Endoplasmic reticulum": "KDEL", "Lysosome/Vacuole": "GYxxO", "Peroxisome": "SKL"}
_KINGDOMS = ("Fungi", "Metazoa", "Other", "Viridiplantae")
_PARTITIONS = 5
_TEST_SHARE, _BOTH_SHARE = 0.2, 0.02
_MEDIAN_LENGTH, _LENGTH_SPREAD, _SHORTEST, _LONGEST = 320, 0.5, 200, 2000
# A decoy lies so far from either end that no reading of the terminus meets it.
_INTERIOR = 70
_NUCLEAR = re.compile("K[KR].[KR]")
_C_TERMINAL = re.compile("([KH]DEL|GY..[AFILMV]|[SAC][KRH][LM])$")
_README = """\
Simulated proteins with sorting signals: {proteins} of them.

deeploc.fasta   as DeepLoc 1.0: >NAME Location-M [test]; the letter is M (membrane), S (soluble) or U (unknown)
deeploc2.csv    the same proteins as in DeepLoc 2.0: a column a location, Membrane always known, five partitions
signals.tsv     every planted signal: name, signal, start, end (0-based, half-open), and whether it acts there (yes)
                or lies where it means nothing (no)

    seqclass data import deeploc deeploc.fasta --out deeploc.h5
"""

Maker = Callable[[np.random.Generator], str]


def simulate_deeploc(
    out: str | Path,
    *,
    proteins: int = 1000,
    decoys: float = 0.5,
    unknown_membrane: float = 0.4,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Writes a folder with proteins of ten locations in DeepLoc's formats, and where their signals lie.

    The folder holds `deeploc.fasta` (1.0), `deeploc2.csv` (2.0, the same proteins), `signals.tsv` and `README.txt`.
    Locations are equally common; two in a hundred proteins are more of `Cytoplasm-Nucleus`, with the nuclear signal.

    Args:
        out: The folder to write.
        proteins: How many there are, before those of two locations.
        decoys: The share of proteins with a terminal signal planted in the middle, where it means nothing.
        unknown_membrane: The share of FASTA records whose membrane letter is U.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: There are fewer than one protein a location, a share is none, or the seed is negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    if proteins < len(LOCATIONS):
        raise SourceError(
            f"{proteins} proteins cannot be of {len(LOCATIONS)} locations", remedy=f"Take {len(LOCATIONS)} or more"
        )
    if not (0 <= decoys <= 1 and 0 <= unknown_membrane <= 1):
        raise SourceError(
            f"decoys {decoys} and unknown membrane {unknown_membrane} are not both shares",
            remedy="Choose numbers from 0 to 1",
        )
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    locations = [LOCATIONS[number % len(LOCATIONS)] for number in range(proteins)]
    locations += [_BOTH] * round(proteins * _BOTH_SHARE)
    records, rows, signals = [], [], []
    order = generator.permutation(len(locations)).tolist()
    for number, index in enumerate(track(order, "Making proteins", len(order), "proteins"), start=1):
        name, location = f"SIM{number:05d}", locations[index]
        protein = _protein(location, bool(generator.random() < decoys), generator)
        membrane = location in _IN_MEMBRANES
        letter = "U" if generator.random() < unknown_membrane else "M" if membrane else "S"
        test = " test" if generator.random() < _TEST_SHARE else ""
        records.append((f"{name} {location.replace(' ', '.')}-{letter}{test}", protein.letters))
        kingdom = "Viridiplantae" if location == "Plastid" else _KINGDOMS[generator.integers(len(_KINGDOMS))]
        flags = [float(each in location.split("-")) for each in LOCATIONS]
        partition = generator.integers(_PARTITIONS)
        rows.append((number - 1, name, kingdom, partition, float(membrane), *flags, protein.letters))
        signals += [(name, *signal) for signal in protein.signals]

    with atomic_folder(out, force=force, holding=_MARK) as folder:
        write_fasta(folder / "deeploc.fasta", records)
        columns = ("", "ACC", "Kingdom", "Partition", "Membrane", *LOCATIONS, "Sequence")
        write_table(folder / "deeploc2.csv", columns, rows, delimiter=",")
        write_table(folder / _MARK, ("name", "signal", "start", "end", "acts"), signals)
        (folder / "README.txt").write_text(_README.format(proteins=len(records)), encoding="ascii")
    return Path(out)


class _Signal(NamedTuple):
    signal: str
    start: int
    end: int
    acts: str


class _Protein(NamedTuple):
    letters: str
    signals: list[_Signal]


def _protein(location: str, decoy: bool, generator: np.random.Generator) -> _Protein:
    """A protein of a location, whose only nuclear and C-terminal signals are those that were planted to act."""
    nuclear = location in ("Nucleus", _BOTH)
    while True:
        protein = _assemble(location, decoy, generator)
        acting = {each.signal for each in protein.signals if each.acts == "yes"}
        has_end = _C_TERMINAL.search(protein.letters) is not None
        if len(_NUCLEAR.findall(protein.letters)) == nuclear and has_end == bool(acting & set(_TAILS)):
            return protein


def _assemble(location: str, decoy: bool, generator: np.random.Generator) -> _Protein:
    drawn = generator.lognormal(np.log(_MEDIAN_LENGTH), _LENGTH_SPREAD)
    length = int(np.clip(drawn, _SHORTEST, _LONGEST))
    head, tail = _HEAD_OF.get(location), _TAIL_OF.get(location)
    signals = []
    begin, end = "M", ""
    if head:
        begin = _HEADS[head](generator)
        signals.append(_Signal(head, 0, len(begin), "yes"))
    if tail:
        end = _TAILS[tail](generator)
        signals.append(_Signal(tail, length - len(end), length, "yes"))
    if location in ("Cell membrane", "Lysosome/Vacuole"):
        helix = _helix(generator)
        end = helix + random_protein(int(generator.integers(10, 25)), generator) + end
        signals.append(_Signal("membrane helix", length - len(end), length - len(end) + len(helix), "yes"))
    letters = begin + random_protein(length - len(begin) - len(end), generator) + end
    if location in ("Nucleus", _BOTH):
        letters, signal = _plant("nuclear localisation", _nuclear(generator), letters, "yes", generator)
        signals.append(signal)
    elif decoy:
        makers = _HEADS | _TAILS
        name = list(makers)[generator.integers(len(makers))]
        letters, signal = _plant(name, makers[name](generator), letters, "no", generator)
        signals.append(signal)
    return _Protein(letters, signals)


def _plant(name: str, inset: str, letters: str, acts: str, generator: np.random.Generator) -> tuple[str, _Signal]:
    """Replaces letters in the interior of a protein."""
    start = int(generator.integers(_INTERIOR, len(letters) - _INTERIOR - len(inset) + 1))
    end = start + len(inset)
    return letters[:start] + inset + letters[end:], _Signal(name, start, end, acts)


def _pick(letters: str, count: int, generator: np.random.Generator) -> str:
    return "".join(letters[index] for index in generator.integers(len(letters), size=count).tolist())


def _signal_peptide(generator: np.random.Generator) -> str:
    basic = "M" + _pick("KR", 1, generator) + _pick("KNQRST", int(generator.integers(0, 4)), generator)
    hydrophobic = _pick("AFILLLLV", int(generator.integers(10, 14)), generator)
    return basic + hydrophobic + _pick("GNPQST", 3, generator) + "A" + _pick("DEHLNQS", 1, generator) + "A"


def _anchor(generator: np.random.Generator) -> str:
    basic = "M" + _pick("GNPQST", int(generator.integers(4, 10)), generator) + _pick("KR", 2, generator)
    return basic + _pick("AFFGILLLVV", 17, generator)


def _presequence(generator: np.random.Generator) -> str:
    length = int(generator.integers(20, 31))
    # Seen along the axis of a helix, 100 degrees a residue, one face is basic and the other hydrophobic.
    facing = np.cos(np.deg2rad(100 * np.arange(length)))
    faces = ["KRR" if face > 0.7 else "AFILLL" if face < -0.2 else "AGQSST" for face in facing.tolist()]
    helix = "".join(_pick(face, 1, generator) for face in faces)
    return "ML" + helix + "R" + _pick("ACS", 1, generator) + _pick("FLY", 1, generator)


def _transit_peptide(generator: np.random.Generator) -> str:
    body = _pick("AAGKLNPQRSSSSTTTV", int(generator.integers(35, 51)), generator)
    return "MA" + body + _pick("IV", 1, generator) + _pick("NQRS", 1, generator) + _pick("AC", 1, generator) + "A"


def _helix(generator: np.random.Generator) -> str:
    return _pick("AFGILLLLVVV", 21, generator) + "RRS"


def _nuclear(generator: np.random.Generator) -> str:
    if generator.random() < 0.5:
        return "PKK" + _pick("KR", 1, generator) + "RKV"
    spacer = random_protein(int(generator.integers(10, 13)), generator)
    return "KR" + spacer + "KK" + _pick("AGLPST", 1, generator) + "K"


def _retrieval(generator: np.random.Generator) -> str:
    return _pick("KKKH", 1, generator) + "DEL"


def _lysosomal(generator: np.random.Generator) -> str:
    return "GY" + _pick("EQST", 2, generator) + _pick("FILV", 1, generator)


def _peroxisomal(generator: np.random.Generator) -> str:
    return _pick("SSSAC", 1, generator) + _pick("KKKRH", 1, generator) + _pick("LLLM", 1, generator)


_HEADS: dict[str, Maker] = {
    "signal peptide": _signal_peptide,
    "signal anchor": _anchor,
    "presequence": _presequence,
    "transit peptide": _transit_peptide,
}
_TAILS: dict[str, Maker] = {"KDEL": _retrieval, "GYxxO": _lysosomal, "SKL": _peroxisomal}
