"""DeepLoc: eukaryotic proteins, the location in the cell of each, and whether it lies in a membrane.

DeepLoc 1.0 is a FASTA file with headers `>ACCESSION Location-M [test]`; behind the last hyphen stands M (membrane), S
(soluble) or U (unknown), and `test` marks the test set (Almagro Armenteros et al., Bioinformatics 33, 3387-3395, 2017).
DeepLoc 2.0 is a CSV file with a column of 0 and 1 a location, so that a protein may have several, and partitions
between which no two proteins are more than 30 % identical (Thumuluri et al., Nucleic Acids Research 50, W228, 2022).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqclass.alphabets import PROTEIN
from seqclass.atomic import check_free
from seqclass.data.delimited import read_rows
from seqclass.data.fasta import open_maybe_gzip, read_fasta
from seqclass.data.sources.records import Policies, Question, Record, import_records
from seqclass.data.store import Store
from seqclass.errors import SourceError

LOCATIONS = (
    "Cytoplasm",
    "Nucleus",
    "Extracellular",
    "Cell membrane",
    "Mitochondrion",
    "Plastid",
    "Endoplasmic reticulum",
    "Lysosome/Vacuole",
    "Golgi apparatus",
    "Peroxisome",
)

# Sorting signals sit at both ends: of a longer protein, half of this is kept from either.
POLICIES = Policies(max_length=1000, too_long="both-ends")

_MEMBRANE_LETTERS = {"M": True, "S": False, "U": None}
_FLAGS = {"0": False, "0.0": False, "1": True, "1.0": True}
_PARTITION = re.compile(r"([0-9]{1,4})(\.0*)?")


def import_deeploc(
    path: str | Path,
    out: str | Path,
    *,
    multi_label: bool | None = None,
    valid: float = 0.1,
    seed: int = 0,
    valid_partitions: Collection[int] = (3,),
    test_partitions: Collection[int] = (4,),
    policies: Policies = POLICIES,
    force: bool = False,
) -> Store:
    """Turns DeepLoc's proteins, 1.0 (FASTA) or 2.0 (CSV), into one store; which it is, the content tells.

    The questions are "location", with the ten of `LOCATIONS`, named alike for both versions; and "membrane", yes or no,
    missing where it is unknown, and left out where it is never known.

    Args:
        path: `deeploc_data.fasta`; or a CSV with the columns ACC, Sequence and the ten locations, and where there are
            such, Membrane, Partition and Kingdom. Plain or gzip.
        out: The store to write.
        multi_label: Whether a protein may have several locations, each a yes-or-no target. If not, the location is one
            of ten classes, and proteins with another number of locations than one are dropped and counted. Default: as
            published, so not for 1.0, whose `Cytoplasm-Nucleus` is dropped, but for 2.0.
        valid: For FASTA: the share of the proteins not marked `test`, of each location, that becomes the split valid.
        seed: Of that choice, which is made at random and not by homology.
        valid_partitions: For CSV: the partitions that become the split valid.
        test_partitions: For CSV: those that become the split test. The partition is also each sample's group.
        policies: What becomes of unusual letters, long and identical sequences. By default, the first and the last 500
            residues of a protein of more than 1,000 are kept.
        force: Replace what stands at `out`.

    Raises:
        SourceError: A header, a cell or a partition is not as described, two proteins share a name, or the share or the
            seed is out of range.
        SequenceError: The file is missing or damaged, or a sequence is refused by the policies.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: `out` is the file that is read.
        StoreError: The store could not be written.
    """
    path = Path(path)
    check_free(out, force, inputs=[path])
    if not 0 <= valid < 1 or seed < 0:
        raise SourceError(
            f"a share of {valid} for valid, with seed {seed}",
            remedy="Give a share of at least 0 and below 1, and a seed of at least 0",
        )
    is_fasta = _is_fasta(path)
    provenance: dict[str, object] = {"source": "deeploc", "file": {"path": str(path), "bytes": path.stat().st_size}}
    kingdoms: Counter[str] = Counter()
    if is_fasta:
        proteins, split_note = _set_aside(list(_read_fasta(path)), valid, seed)
        provenance |= {"version": "1.0", "valid": valid, "seed": seed}
    else:
        proteins, split_note = _split_by_partition(
            list(_read_csv(path, kingdoms)), valid_partitions, test_partitions, path
        )
        provenance |= {
            "version": "2.0",
            "valid_partitions": list(valid_partitions),
            "test_partitions": list(test_partitions),
            "kingdoms": dict(kingdoms.most_common()),
        }
    if multi_label is None:
        multi_label = not is_fasta
    provenance["multi_label"] = multi_label
    notes = [split_note]
    if multi_label:
        nowhere = sum(not protein.locations for protein in proteins)
        if nowhere:
            notes.append(f"{nowhere:,} of {len(proteins):,} proteins are in none of the locations.")
    else:
        proteins, dropped = _with_one_location(proteins)
        notes += dropped
    if not proteins:
        raise SourceError("there are no proteins to be kept", remedy="Give a file with at least some", file=path)
    questions = [Question("location", "several" if multi_label else "class", LOCATIONS)]
    if any(protein.membrane is not None for protein in proteins):
        questions.append(Question("membrane", "yes-no"))
    else:
        notes.append("Of no protein is it known whether it lies in a membrane, so this question is left out.")

    def records() -> Iterator[Record]:
        for protein in proteins:
            location = protein.locations if multi_label else next(iter(protein.locations))
            yield Record(
                name=protein.name,
                letters=protein.letters,
                labels=(location, protein.membrane)[: len(questions)],
                file=path,
                record=protein.line,
                split=protein.split,
                group=None if protein.partition is None else f"partition {protein.partition}",
            )

    return import_records(
        records(),
        questions,
        out,
        alphabet=PROTEIN,
        provenance=provenance,
        notes=notes,
        policies=policies,
        force=force,
    )


class _Protein(NamedTuple):
    """What either version says of a protein; the membrane is None where it is unknown."""

    line: int
    name: str
    letters: bytes
    locations: frozenset[str]
    membrane: bool | None
    split: str | None = None
    partition: int | None = None


def _is_fasta(path: Path) -> bool:
    if path.is_fifo():
        raise SourceError("this is a pipe, and it is read twice", remedy="Write it to a file first", file=path)
    with open_maybe_gzip(path) as stream:
        return stream.read(4096).decode("utf-8-sig", "replace").lstrip().startswith(">")


def _read_fasta(path: Path) -> Iterator[_Protein]:
    for record in read_fasta(path):
        label, *marks = record.description.split() or [""]
        written, _, membrane = label.rpartition("-")
        locations = written.replace(".", " ").split("-")
        if membrane not in _MEMBRANE_LETTERS or marks not in ([], ["test"]):
            raise SourceError(
                f"behind the name stands '{record.description[:60]}', where Location-M, Location-S or Location-U is "
                "expected, and for a protein of the test set the word test",
                remedy="Give DeepLoc's FASTA file, or read other headers with: seqclass data import fasta",
                file=path,
                record=record.line,
            )
        if not set(locations) <= set(LOCATIONS):
            raise SourceError(
                f"location '{written[:60]}' is none of DeepLoc's (expected {', '.join(LOCATIONS)}, or two with a "
                "hyphen between)",
                remedy="Correct it, or read other locations with: seqclass data import fasta",
                file=path,
                record=record.line,
            )
        split = "test" if marks else "train"
        yield _Protein(
            record.line, record.name, record.letters, frozenset(locations), _MEMBRANE_LETTERS[membrane], split
        )


def _set_aside(proteins: list[_Protein], share: float, seed: int) -> tuple[list[_Protein], str]:
    """The proteins with a share of those of train, of each location, in valid; and a note on it."""
    of_location: defaultdict[str, list[int]] = defaultdict(list)
    for index, protein in enumerate(proteins):
        if protein.split == "train":
            of_location[_names(protein.locations)].append(index)
    generator = np.random.default_rng(seed)
    chosen: set[int] = set()
    for _, indices in sorted(of_location.items()):
        chosen.update(generator.permutation(indices)[: round(share * len(indices))].tolist())
    proteins = [
        protein._replace(split="valid") if index in chosen else protein for index, protein in enumerate(proteins)
    ]
    if not share:
        return proteins, "The proteins marked test are the split test, and nothing is set aside for valid."
    return proteins, (
        f"The proteins marked test are the split test; of the others, {100 * share:.4g} % of each location are valid, "
        f"drawn at random (seed {seed}) and not by homology."
    )


def _read_csv(path: Path, kingdoms: Counter[str]) -> Iterator[_Protein]:
    """Yields the proteins of a table, and counts the kingdoms."""
    columns = ("ACC", "Sequence", *LOCATIONS)
    for line, cells in read_rows(path, columns, ("Membrane", "Partition", "Kingdom")):
        name, letters, *flags, membrane, partition, kingdom = cells
        if kingdom:
            kingdoms[kingdom] += 1
        yield _Protein(
            line,
            name,
            letters.encode(),
            frozenset(
                location
                for location, flag in zip(LOCATIONS, flags, strict=True)
                if _yes_or_no(location, flag, path, line)
            ),
            _yes_or_no("Membrane", membrane, path, line) if membrane else None,
            partition=_partition(partition, path, line) if partition else None,
        )


def _yes_or_no(column: str, cell: str, path: Path, line: int) -> bool:
    if cell not in _FLAGS:
        raise SourceError(
            f"column '{column}' is {cell[:60]!r}, where 0 or 1 is expected",
            remedy="Correct the cell",
            file=path,
            record=line,
        )
    return _FLAGS[cell]


def _partition(cell: str, path: Path, line: int) -> int:
    match = _PARTITION.fullmatch(cell)
    if match is None:
        raise SourceError(
            f"column 'Partition' is {cell[:60]!r}, where a number like 0 is expected",
            remedy="Correct the cell",
            file=path,
            record=line,
        )
    return int(match[1])


def _split_by_partition(
    proteins: list[_Protein], valid: Collection[int], test: Collection[int], path: Path
) -> tuple[list[_Protein], str]:
    """The proteins with the splits that follow from their partitions; and a note on it."""
    if set(valid) & set(test):
        raise SourceError(
            f"partitions {_listed(valid)} for valid and {_listed(test)} for test overlap",
            remedy="Name each partition once",
        )
    found = {protein.partition for protein in proteins}
    if found <= {None}:
        return proteins, "There are no partitions, so nothing is set aside for valid and test."
    for protein in proteins:
        if protein.partition is None:
            raise SourceError(
                "column 'Partition' is empty, where other rows have a number",
                remedy="Write the partition there, or leave it out in all rows",
                file=path,
                record=protein.line,
            )
    if not {*valid, *test} <= found:
        raise SourceError(
            f"there is no partition {_listed({*valid, *test} - found)}; there are: {_listed(found)}",
            remedy="Name the partitions for valid and test (--valid-partitions, --test-partitions)",
            file=path,
        )
    splits = dict.fromkeys(found, "train") | dict.fromkeys(valid, "valid") | dict.fromkeys(test, "test")
    proteins = [protein._replace(split=splits[protein.partition]) for protein in proteins]
    return proteins, (
        f"The splits are partitions, which are apart by homology: valid {_listed(valid)}, test {_listed(test)}, train "
        f"{_listed(found - {*valid, *test})}."
    )


def _with_one_location(proteins: list[_Protein]) -> tuple[list[_Protein], list[str]]:
    """Those with exactly one location; and where others were dropped, a note on it."""
    kept = [protein for protein in proteins if len(protein.locations) == 1]
    dropped = Counter(_names(protein.locations) for protein in proteins if len(protein.locations) != 1)
    if not dropped:
        return kept, []
    shown = [f"{names}: {count:,}" for names, count in dropped.most_common(3)] + ["..."][: len(dropped) > 3]
    return kept, [
        f"{dropped.total():,} of {len(proteins):,} proteins do not have exactly one location and were dropped "
        f"({', '.join(shown)}); --multi-label keeps them."
    ]


def _names(locations: frozenset[str]) -> str:
    return " and ".join(location for location in LOCATIONS if location in locations) or "none"


def _listed(partitions: Collection[int | None]) -> str:
    return ", ".join(map(str, sorted(number for number in partitions if number is not None))) or "none"
