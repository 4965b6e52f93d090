"""The alleles of a VCF as rows to be scored: filtered, compared with the genome, brought to their least form."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from seqclass.alphabets import DNA, Tokens
from seqclass.data.chromosomes import ChromosomeNames, renaming_note
from seqclass.data.genome import Genome
from seqclass.errors import IntervalError, SequenceError, SourceError, find_name
from seqclass.progress import track
from seqclass.variants.edits import Edit, least_edit, window
from seqclass.variants.haplotypes import Carried, haplotypes
from seqclass.variants.vcf import carried_alleles, open_vcf, place_of, read_records

if TYPE_CHECKING:
    from pysam import VariantHeader, VariantRecord

RefMismatch = Literal["error", "skip", "flag"]
REF_MISMATCHES: tuple[str, ...] = get_args(RefMismatch)
Genotype = Literal["any", "het", "hom"]
GENOTYPES: tuple[str, ...] = get_args(Genotype)

# Of so many alleles, most and at least so many mismatches tell that the VCF was called on another build.
_LOOKED_AT, _SUSPICIOUS = 200, 5

_SYMBOLIC = "symbolic alleles (<...>, *, breakends)"
_MISMATCH = "alleles of records whose REF is not the genome's"


class _Allele(NamedTuple):
    """One alternative allele of a record, as the record has it and as the genome is changed by it."""

    record: int
    alternative: int
    labels: tuple[str | int, ...]
    matches: bool


@dataclass(frozen=True, slots=True)
class VcfRow:
    """One alternative allele to be scored.

    Attributes:
        labels: As the columns of `VcfVariants` are.
        record: Number of its record in the file, from 0.
        alternative: Number of the allele among the record's, from 0.
        matches: Whether REF is what the genome has.
        copies: Those of the chromosome that have it with its neighbours, as in the column; "" where it stands alone.
    """

    labels: tuple[str | int, ...]
    record: int
    alternative: int
    matches: bool
    copies: str
    genome: Genome
    chrom: str
    edit: Edit
    neighbours: Sequence[Edit]
    length: int

    @property
    def letters(self) -> str:
        """The allele, as the record has it."""
        return str(self.labels[4])

    def windows(self) -> tuple[Tokens, Tokens]:
        return (
            window(self.genome, self.chrom, self.edit, self.edit.ref, self.length),
            window(self.genome, self.chrom, self.edit, self.edit.alt, self.length, self.neighbours),
        )


class VcfVariants:
    """The alternative alleles of a VCF or BCF. The whole file is checked before the first is given out.

    Each allele is brought to its least form, insertions and deletions to the left; both windows have it in the middle.
    A base that the genome does not know (N) agrees with any REF.

    Args:
        path: VCF or BCF, plain or compressed, sorted; an index is not needed.
        genome: That the variants were called on.
        length: Of the windows, in bp.
        pass_only: Leave out records whose FILTER is not PASS.
        sample: Leave out alleles that this sample does not carry.
        genotype: Of the sample's alleles, all of them, the heterozygous or the homozygous.
        with_haplotypes: Make the window of each allele with all that stands on the same copy of the chromosome in the
            sample (the only one, if none is named): a row a copy that differs.
        ref_mismatch: What becomes of records whose REF is not the genome's: "error", "skip", or "flag", which scores
            them with the VCF's REF in the place of the genome's and tells in a column.
        chrom_alias: Table of chromosome names; see `seqclass.data.chromosomes`.
        exclude_chroms: Chromosomes to leave out, by either name.

    Attributes:
        columns: Names of the rows' labels.
        count: How many rows there are.
        notes: Sentences on what was skipped or renamed.
        header: Of the file, with all that its records name.

    Raises:
        MissingPackageError: pysam is not installed.
        SourceError: The file is no VCF, a line is not a record, records are not sorted, an allele has letters that are
            none or is longer than the window, REF is not the genome's, or no sample is of that name.
        IntervalError: A chromosome is not the genome's, or a position beyond its end.
        UnknownNameError: There is no such sample or genotype, or no such way with mismatches.
    """

    header: VariantHeader

    def __init__(
        self,
        path: str | Path,
        genome: Genome,
        length: int,
        *,
        pass_only: bool = False,
        sample: str | None = None,
        genotype: Genotype = "any",
        with_haplotypes: bool = False,
        ref_mismatch: RefMismatch = "error",
        chrom_alias: str | Path | None = None,
        exclude_chroms: Sequence[str] = (),
    ) -> None:
        self.path, self.genome, self.length, self.pass_only = Path(path), genome, length, pass_only
        self.genotype = find_name("genotype", genotype, GENOTYPES)
        self.ref_mismatch = find_name("way with REF mismatches", ref_mismatch, REF_MISMATCHES)
        self.with_haplotypes = with_haplotypes
        self._skipped: Counter[str] = Counter()
        self._mismatches = 0
        places = self._look_through()
        self.sample = self._find_sample(sample)
        names = ChromosomeNames(list(genome.lengths), file=genome.path, aliases=chrom_alias)
        matched = names.find(places)
        self._excluded = {name for name in places if {name, matched.get(name, name)} & set(exclude_chroms)}
        needed = {name: place for name, place in places.items() if name not in self._excluded}
        if needed:
            lines = {name: (self.path, number) for name, number in needed.items()}
            self._require(names, matched, lines)
        self._chroms = matched
        self.columns = ["chrom", "pos", "id", "ref", "alt"]
        if self.ref_mismatch == "flag":
            self.columns.append("ref_matches")
        if with_haplotypes:
            self.columns += ["copies", "neighbours"]
        self._refuse_other_build()
        self.count = sum(1 for _ in self.rows())
        self.notes = renaming_note({name: matched[name] for name in needed}, "the VCF")
        self.notes += [f"{reason} left out: {count:,}" for reason, count in sorted(self._skipped.items())]
        if self._mismatches:
            self.notes.append(f"{_MISMATCH}, flagged: {self._mismatches:,}")

    @property
    def identity(self) -> dict[str, object]:
        """All that the rows follow from."""
        with open(self.path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {
            "vcf": digest,
            "genome": self.genome.digest,
            "length": self.length,
            "pass_only": self.pass_only,
            "sample": self.sample,
            "genotype": self.genotype,
            "haplotypes": self.with_haplotypes,
            "ref_mismatch": self.ref_mismatch,
            "chromosomes": sorted(f"{name} {self._chroms.get(name)}" for name in set(self._chroms) - self._excluded),
        }

    def rows(self) -> Iterator[VcfRow]:
        """The alleles, in the file's order."""
        self._skipped.clear()
        self._mismatches = 0
        alleles = self._alleles(self.ref_mismatch)
        if not self.with_haplotypes:
            for allele in alleles:
                yield self._row(allele, "", ())
            return
        for allele, copies, neighbours in haplotypes(alleles, self.length):
            yield self._row(allele, "|".join(str(copy + 1) for copy in copies) or "unphased", neighbours)

    def _row(self, allele: Carried[_Allele], copies: str, neighbours: Sequence[Carried[_Allele]]) -> VcfRow:
        key, edits = allele.key, [other.edit for other in neighbours]
        labels = key.labels
        if self.with_haplotypes:
            labels = (*labels, copies, ",".join("{1}{3}>{4}".format(*other.key.labels) for other in neighbours) or ".")
        return VcfRow(
            labels,
            key.record,
            key.alternative,
            key.matches,
            copies,
            self.genome,
            allele.chrom,
            allele.edit,
            edits,
            self.length,
        )

    def _look_through(self) -> dict[str, int]:
        """Makes sure that all is sorted records; returns the chromosomes with the number of each one's first record."""
        first: dict[str, int] = {}
        chrom, position = "", 0
        with open_vcf(self.path) as file:
            records = track(read_records(file, self.path), "Checking the VCF", unit="records")
            for number, record in enumerate(records):
                if record.chrom != chrom:
                    if record.chrom in first:
                        self._unsorted(number, f"chromosome {record.chrom} again, after {chrom}")
                    chrom, position = record.chrom, 0
                    first[chrom] = number
                if record.pos < position:
                    self._unsorted(number, f"position {record.pos:,} after {position:,}")
                position = record.pos
            self.header = file.header.copy()
        return first

    def _unsorted(self, number: int, found: str) -> None:
        raise SourceError(
            f"{found}, where records are to be sorted",
            remedy="Sort it, as in: bcftools sort -o sorted.vcf FILE",
            file=self.path,
            record=place_of(self.path, number),
        )

    def _find_sample(self, sample: str | None) -> str | None:
        samples = list(self.header.samples)
        if sample is not None:
            if not samples:
                raise SourceError("there is no sample in this VCF", remedy="Leave out --sample", file=self.path)
            return find_name("sample", sample, samples)
        if not self.with_haplotypes and self.genotype == "any":
            return None
        if len(samples) != 1:
            raise SourceError(
                f"{len(samples)} samples, where haplotypes and genotypes are one sample's",
                remedy=f"Name one with --sample ({', '.join(samples[:8])})" if samples else "Give a VCF with genotypes",
                file=self.path,
            )
        return samples[0]

    def _require(self, names: ChromosomeNames, matched: dict[str, str], needed: dict[str, tuple[Path, int]]) -> None:
        try:
            names.require(matched, needed)
        except IntervalError as error:
            number = next(number for name, (_, number) in needed.items() if name not in matched)
            raise IntervalError(
                error.problem, remedy=error.remedy, file=self.path, record=place_of(self.path, number)
            ) from None

    def _refuse_other_build(self) -> None:
        """Where most of the first REFs are not the genome's, it is another genome, and nothing else is worth saying."""
        matches = [allele.key.matches for allele in islice(self._alleles("flag"), _LOOKED_AT)]
        wrong = matches.count(False)
        if wrong >= _SUSPICIOUS and wrong > len(matches) / 2:
            raise SourceError(
                f"REF is not what {self.genome.path} has at {wrong} of the first {len(matches)} alleles: "
                "another build of the genome, or other chromosome names",
                remedy="Give the genome that the variants were called on",
                file=self.path,
            )

    def _alleles(self, ref_mismatch: str) -> Iterator[Carried[_Allele]]:
        with open_vcf(self.path) as file:
            for number, record in enumerate(read_records(file, self.path)):
                if record.chrom in self._excluded:
                    self._skipped["alleles on excluded chromosomes"] += len(record.alts or ())
                elif self.pass_only and list(record.filter) != ["PASS"]:
                    self._skipped["alleles of records that are not PASS"] += len(record.alts or ())
                elif not record.alts:
                    self._skipped["records without an alternative allele"] += 1
                else:
                    yield from self._of_record(number, record, ref_mismatch)

    def _of_record(self, number: int, record: VariantRecord, ref_mismatch: str) -> Iterator[Carried[_Allele]]:
        carried = self._carried(record)
        ref: Tokens | None = None
        chrom = self._chroms[record.chrom]
        for alternative, letters in enumerate(record.alts or ()):
            if carried is not None and alternative + 1 not in carried:
                self._skipped[f"alleles that the sample does not carry as asked ({self.genotype})"] += 1
                continue
            if not letters.isalpha():
                self._refuse_symbolic(letters, number)
                self._skipped[_SYMBOLIC] += 1
                continue
            if ref is None:
                ref = self._read(record.ref or "", number)
                self._refuse_beyond(chrom, record, number)
                known = self.genome.read(chrom, record.start, record.start + len(ref))
                matches = bool(((known == ref) | (known == DNA.unknown_token)).all())
            if not matches and ref_mismatch != "flag":
                if ref_mismatch == "error":
                    self._mismatch(number, record, DNA.decode(known))
                self._skipped[_MISMATCH] += 1
                continue
            alt = self._read(letters, number)
            if max(len(ref), len(alt)) > self.length:
                raise SourceError(
                    f"an allele of {max(len(ref), len(alt)):,} bp is longer than the model's window of {self.length:,}",
                    remedy="Leave such records out, as in: bcftools view -i 'STRLEN(REF)<100 && STRLEN(ALT)<100'",
                    file=self.path,
                    record=place_of(self.path, number),
                )
            if np.array_equal(ref, alt):
                self._skipped["alleles that are equal to REF"] += 1
                continue
            edit = least_edit(self.genome, chrom, record.start, ref, alt)
            labels: list[str | int] = [record.chrom, record.pos, record.id or ".", record.ref or "", letters]
            if self.ref_mismatch == "flag":
                labels.append("yes" if matches else "no")
                self._mismatches += not matches
            copies, phase = (frozenset({0}), None) if carried is None else carried[alternative + 1]
            yield Carried(chrom, edit, copies, phase, _Allele(number, alternative, tuple(labels), matches))

    def _carried(self, record: VariantRecord) -> dict[int, tuple[frozenset[int] | None, str | None]] | None:
        """The alternative alleles that the sample carries as asked; None where no sample is asked for."""
        if self.sample is None:
            return None
        return {
            allele: (copies, phase)
            for allele, copies, phase in carried_alleles(record, self.sample)
            if self.genotype == "any" or (phase is None and copies is not None) == (self.genotype == "hom")
        }

    def _read(self, letters: str, number: int) -> Tokens:
        try:
            return DNA.encode(letters)
        except SequenceError as error:
            raise SourceError(
                f"the allele {letters[:30]!r} is not DNA: {error.problem}",
                remedy="Write alleles with A, C, G, T and N",
                file=self.path,
                record=place_of(self.path, number),
            ) from None

    def _refuse_symbolic(self, letters: str, number: int) -> None:
        """Refuses what is neither bases nor one of VCF's symbols."""
        if (
            letters == "*"
            or (letters[0] == "<" and letters[-1] == ">")
            or (len(letters) > 1 and set("[].") & set(letters))
        ):
            return
        raise SourceError(
            f"the alternative allele {letters[:30]!r} is neither bases nor symbolic",
            remedy="Write alleles with A, C, G, T and N, one behind each comma",
            file=self.path,
            record=place_of(self.path, number),
        )

    def _refuse_beyond(self, chrom: str, record: VariantRecord, number: int) -> None:
        length = self.genome.lengths[chrom]
        if record.pos < 1 or record.start + len(record.ref or "") > length:
            raise IntervalError(
                f"REF of {len(record.ref or '')} bp at {record.pos:,} does not lie in {chrom} of {length:,} bp",
                remedy="Give the genome that the variants were called on",
                file=self.path,
                record=place_of(self.path, number),
            )

    def _mismatch(self, number: int, record: VariantRecord, known: str) -> None:
        raise SourceError(
            f"REF is {(record.ref or '')[:30]} at {record.chrom}:{record.pos}, where the genome has {known[:30]}",
            remedy="Give the genome that the variants were called on, or pass --ref-mismatch skip or flag",
            file=self.path,
            record=place_of(self.path, number),
        )
