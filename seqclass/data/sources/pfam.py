"""The Pfam seed split: protein domains, each of one family, in train, dev and test.

Bileschi et al., "Using deep learning to annotate the protein universe", Nature Biotechnology 40, 932-937 (2022), with
the seeds of Pfam 32: 1,339,083 domains of 17,929 families. The folder `random_split` holds `train`, `dev` and `test`,
each with files `data-00000-of-00080` and on, comma-separated, with the columns family_id, sequence_name,
family_accession, aligned_sequence and sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from seqclass.alphabets import PROTEIN
from seqclass.atomic import check_free
from seqclass.data.delimited import read_rows
from seqclass.data.sources.records import Policies, Question, Record, import_records
from seqclass.data.store import Store
from seqclass.errors import SourceError

_FOLDERS = {"train": "train", "dev": "valid", "test": "test"}
_SHARD = re.compile(r"data-([0-9]+)-of-([0-9]+)(\.csv)?(\.gz)?")
_TABLES = (".csv", ".csv.gz")
_ACCESSION = re.compile(r"(PF[0-9]{5,})(\.[0-9]+)?")


def import_pfam(folder: str | Path, out: str | Path, *, policies: Policies | None = None, force: bool = False) -> Store:
    """Turns the Pfam seed split into one store: a domain a sample, its family the question.

    The label is the accession without its version (PF00001.21 becomes PF00001); dev becomes the split valid. A domain
    is called `sequence_name|family`, since one stretch of a protein may be in the seeds of two families; where there is
    no sequence_name, `split/file:line`. Where there is a family_id, `provenance["family_ids"]` gives the one of each
    family, as in PF00001: 7tm_1.

    Args:
        folder: `random_split`, a folder above it, or another one with the folders train, dev and test. In each,
            `data-*-of-*`, or one table; with or without .csv, plain or gzip, with at least the columns family_accession
            and sequence. Or one such file, which has no splits, so that all is train.
        out: The store to write.
        policies: What becomes of unusual letters, long and identical sequences, and families that train never has.
        force: Replace what stands at `out`.

    Raises:
        SourceError: The folder has another layout, a file `data-*-of-*` is missing, a table is damaged or lacks a
            column, an accession is none of Pfam, or two domains have one name.
        SequenceError: A sequence is refused by the policies, or a file's compression is damaged.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: `out` is one of the files that are read, or there are fewer than two families.
        StoreError: The store could not be written.
    """
    shards = _find_shards(Path(folder))
    check_free(out, force, inputs=[shard.path for shard in shards])
    family_ids: dict[str, str] = {}
    return import_records(
        _read(shards, family_ids),
        [Question("family", "class")],
        out,
        alphabet=PROTEIN,
        provenance={
            "source": "pfam",
            "files": [{"path": str(shard.path), "bytes": shard.path.stat().st_size} for shard in shards],
            "family_ids": family_ids,
        },
        policies=policies or Policies(),
        force=force,
    )


class _Shard(NamedTuple):
    """A file with domains, the name of its folder where that says the split, and the split."""

    path: Path
    folder: str | None = None
    split: str | None = None


def _find_shards(place: Path) -> list[_Shard]:
    if not place.exists():
        raise SourceError("there is no such file or folder", remedy="Check the path", file=place)
    if not place.is_dir():
        return [_Shard(place)]
    top = place
    # Unpacked archives hold a folder of the same name in a folder.
    while not (top / "train").is_dir() and (top / "random_split").is_dir():
        top = top / "random_split"
    if not (top / "train").is_dir():
        raise SourceError(
            "there is no folder 'train' here",
            remedy="Give the folder random_split, which holds train, dev and test, or one file",
            file=top,
        )
    return [
        _Shard(path, name, split)
        for name, split in _FOLDERS.items()
        if (top / name).is_dir()
        for path in _files_of_split(top / name)
    ]


def _files_of_split(folder: Path) -> list[Path]:
    """The files `data-*-of-*` in their order, or the only table that is there."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    numbered: dict[int, Path] = {}
    total, written = 0, ""
    for path in paths:
        match = _SHARD.fullmatch(path.name)
        if match is None:
            continue
        if written and int(match[2]) != total:
            raise SourceError(
                f"{path.name} is of {int(match[2])} files, but {numbered[min(numbered)].name} of {total}",
                remedy="Keep the files of one data set in this folder",
                file=folder,
            )
        total, written = int(match[2]), match[2]
        double = numbered.setdefault(int(match[1]), path)
        if double != path:
            raise SourceError(
                f"{double.name} and {path.name} are the same part", remedy="Keep one of them", file=folder
            )
    if not numbered:
        tables = [path for path in paths if path.name.endswith(_TABLES)]
        if len(tables) != 1:
            raise SourceError(
                f"there is no file data-*-of-* here, and {len(tables)} tables (.csv), where one would do",
                remedy="Put the files of this split here, named as in the original",
                file=folder,
            )
        return tables
    missing = list(islice((number for number in range(total) if number not in numbered), 6))
    if missing:
        shown = [f"data-{number:0{len(written)}d}-of-{written}" for number in missing[:5]]
        raise SourceError(
            f"of {total:,} files, {total - sum(number < total for number in numbered):,} are missing: "
            + ", ".join(shown)
            + (", ..." if len(missing) > 5 else ""),
            remedy="Download them again, or rename the files that are here",
            file=folder,
        )
    beyond = [path.name for number, path in numbered.items() if number >= total]
    if beyond:
        raise SourceError(
            f"{beyond[0]} has a number that is not below {total}", remedy="Keep the files of one data set", file=folder
        )
    return [numbered[number] for number in range(total)]


def _read(shards: list[_Shard], family_ids: dict[str, str]) -> Iterator[Record]:
    """Yields the domains of all files, and enters the family_id of each family."""
    families: dict[str, str] = {}
    for path, folder, split in shards:
        place = f"{folder}/{path.name}" if folder else path.name
        rows = read_rows(path, ("family_accession", "sequence"), ("sequence_name", "family_id"))
        for line, (accession, sequence, name, family_id) in rows:
            family = families.get(accession)
            if family is None:
                families[accession] = family = _family(accession, path, line)
            if family_id:
                family_ids.setdefault(family, family_id)
            yield Record(
                name=f"{name}|{family}" if name else f"{place}:{line}",
                letters=sequence.encode(),
                labels=(family,),
                file=path,
                record=line,
                split=split,
            )
    if not families:
        raise SourceError("there are no domains, only a header", remedy="Give the whole table", file=shards[0].path)


def _family(accession: str, path: Path, line: int) -> str:
    match = _ACCESSION.fullmatch(accession)
    if match is None:
        raise SourceError(
            f"family_accession is {accession[:60]!r}, where an accession like PF00001 or PF00001.21 is expected",
            remedy="Correct it; families of other kinds are read from a table (seqclass data import table)",
            file=path,
            record=line,
        )
    return match[1]
