"""The VCF that was read, with what its alleles do in INFO; records that were left out stand there as they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from seqclass.atomic import atomic_file
from seqclass.variants.edits import Row
from seqclass.variants.effects import Effects, summarise
from seqclass.variants.vcf import open_vcf, read_records
from seqclass.variants.vcf_variants import VcfRow, VcfVariants

if TYPE_CHECKING:
    from pysam import VariantFile, VariantHeader, VariantRecord

_EFFECTS, _LARGEST, _MISMATCH = "SEQCLASS", "SEQCLASS_MAX", "SEQCLASS_REF_MISMATCH"
_MODES: dict[str, Literal["w", "wz", "wb"]] = {".vcf": "w", ".vcf.gz": "wz", ".bcf": "wb"}


class _Annotator:
    """Adds the effects of rows to the records they come from, and passes all others through."""

    def __init__(
        self,
        records: Iterator[VariantRecord],
        header: VariantHeader,
        out: VariantFile,
        names: Sequence[str],
        columns: Sequence[int],
    ) -> None:
        self._records, self._header, self._out = enumerate(records), header, out
        # A comma, semicolon, equals sign, bar or blank would end it.
        self._names = [quote(name, safe="()[]/:+*~@!") for name in names]
        self._columns = list(columns)
        self._current = next(self._records, None)
        self._found: dict[int, list[tuple[VcfRow, list[str], float]]] = defaultdict(list)

    def write(self, rows: Sequence[Row], scores: Effects) -> None:
        whole = summarise(scores)
        kinds = list(scores.named().values())
        last = 0
        for number, row in enumerate(rows):
            assert isinstance(row, VcfRow)
            texts = []
            for column in self._columns or [int(whole.most_affected[number])]:
                values = [f"{kind[number, column]:.5g}" for kind in kinds]
                copies = [row.copies.replace("|", "&")] if row.copies else []
                texts.append("|".join([row.letters, self._names[column], *values, *copies]))
            self._found[row.record].append((row, texts, float(whole.max_abs_delta_logit[number])))
            last = row.record
        # Alleles of the last record may follow in the next portion.
        self._pass(last)

    def finish(self) -> None:
        """Writes what is left."""
        self._pass(None)

    def _pass(self, until: int | None) -> None:
        """Writes the records before a number."""
        while self._current is not None and (until is None or self._current[0] < until):
            number, record = self._current
            record.translate(self._header)
            found = self._found.pop(number, [])
            if found:
                largest: list[float | None] = [None] * len(record.alts or ())
                for row, _, value in found:
                    largest[row.alternative] = max(value, largest[row.alternative] or 0.0)
                record.info[_EFFECTS] = [text for _, texts, _ in found for text in texts]
                record.info[_LARGEST] = largest
                if not all(row.matches for row, _, _ in found):
                    record.info[_MISMATCH] = True
            self._out.write(record)
            self._current = next(self._records, None)


@contextmanager
def annotate(
    out: Path, source: VcfVariants, names: Sequence[str], columns: Sequence[int], with_evalues: bool, force: bool
) -> Iterator[_Annotator]:
    """Writes the VCF again with INFO added, once rows and their effects are given; see `docs/variants.md`.

    Args:
        out: Its ending says whether it is plain (.vcf), packed by bgzip (.vcf.gz) or BCF (.bcf).
        source: Of the rows.
        names: Of the targets.
        columns: Those told; none for the most affected of each allele.
        with_evalues: Whether there are E-values.
        force: Replace what stands at `out`.
    """
    import pysam

    fields = ["allele", "target", "delta_probability", "delta_logit", "product"]
    fields += ["evalue"] * with_evalues + ["copies"] * source.with_haplotypes
    header = source.header.copy()
    header.info.add(_EFFECTS, ".", "String", f"Effects predicted by seqclass: {'|'.join(fields)}")
    header.info.add(_LARGEST, "A", "Float", "Largest |delta logit| of all targets")
    header.info.add(_MISMATCH, 0, "Flag", "REF is not what the genome has")
    mode = next(mode for ending, mode in _MODES.items() if out.name.endswith(ending))
    with (
        atomic_file(out, force=force) as partial,
        open_vcf(source.path) as read,
        pysam.VariantFile(str(partial), mode, header=header) as written,
    ):
        # Names that only records tell (contigs, filters) have to be known before the first is translated.
        read.header.merge(source.header)
        annotator = _Annotator(read_records(read, source.path), header, written, names, columns)
        yield annotator
        annotator.finish()
