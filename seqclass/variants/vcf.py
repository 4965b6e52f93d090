"""VCF and BCF, plain or compressed, one record at a time; what is wrong is named with its file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from seqclass.data.fasta import open_maybe_gzip
from seqclass.errors import MissingPackageError, SourceError

if TYPE_CHECKING:
    from pysam import VariantFile, VariantRecord


def open_vcf(path: str | Path) -> VariantFile:
    """A VCF or BCF file for reading, indexed or not.

    Raises:
        MissingPackageError: pysam is not installed.
        SequenceError: There is no such file, or it may not be read.
        SourceError: It is no VCF, its header is not one, or it is packed by gzip and not by bgzip.
    """
    try:
        import pysam
    except ImportError:
        raise MissingPackageError("reading VCF", "pysam", "variants") from None
    with open_maybe_gzip(path) as stream:
        begin = stream.read(3)
    # It would print of its own accord what becomes an error here, and that a contig is not in the header.
    before = pysam.set_verbosity(0)
    try:
        return pysam.VariantFile(str(path))
    except NotImplementedError:
        raise SourceError(
            "this is packed by gzip, where VCF is packed by bgzip",
            remedy=f"Pack it again: gunzip -c {Path(path).name} | bgzip > new.vcf.gz",
            file=path,
        ) from None
    except (ValueError, OSError) as error:
        shown = "nothing" if not begin else f"'{begin.decode('latin-1')}...'"
        raise SourceError(
            f"this is no VCF or BCF with a whole header (it begins with {shown})",
            remedy="Give a VCF whose header ends with the line '#CHROM POS ID REF ALT ...', separated by tabs",
            file=path,
        ) from error
    finally:
        pysam.set_verbosity(before)


def read_records(file: VariantFile, path: str | Path) -> Iterator[VariantRecord]:
    """The records of an open file, in order.

    Raises:
        SourceError: A line is not a record, or the file is cut short.
    """
    import pysam

    number = 0
    before = pysam.set_verbosity(0)
    try:
        for record in file:
            number += 1
            yield record
    except (ValueError, OSError) as error:
        raise SourceError(
            "this is not a record of a VCF (8 columns or more between tabs, POS a number, a column a sample)",
            remedy="Correct the line; 'bcftools view' shows more; or copy the file again if it is cut short",
            file=path,
            record=place_of(path, number),
        ) from error
    finally:
        pysam.set_verbosity(before)


def place_of(path: str | Path, number: int) -> str:
    """Where the record of a number (from 0) stands: its line, or in BCF, which has no lines, its count."""
    with open_maybe_gzip(path) as stream:
        if stream.read(3) == b"BCF":
            return f"record {number + 1}"
    header = 0
    with open_maybe_gzip(path) as stream:
        for line in stream:
            if not line.startswith(b"#"):
                break
            header += 1
    return f"line {header + number + 1}"


def carried_alleles(record: VariantRecord, sample: str) -> Iterator[tuple[int, frozenset[int] | None, str | None]]:
    """The alternative alleles in a sample's genotype.

    Yields:
        The allele's number (from 1); the copies of the chromosome that have it (from 0), None where that is not known;
        and the set within which its phase holds, None where it needs none, as all copies have the allele.
    """
    call = record.samples[sample]
    genotype = call.allele_indices or ()
    phase = str(call["PS"]) if "PS" in record.format and call["PS"] is not None else "all"
    for allele in sorted({index for index in genotype if index}):
        copies = frozenset(copy for copy, index in enumerate(genotype) if index == allele)
        if len(copies) == len(genotype):
            yield allele, copies, None
        elif call.phased:
            yield allele, copies, phase
        else:
            yield allele, None, None
