"""A genome's bases at random, whatever its size: read once, then mapped from a scratch file."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from seqclass.alphabets import DNA, Tokens
from seqclass.data.fasta import FastaRecord, read_fasta
from seqclass.data.letters import LetterPolicy, LetterReader
from seqclass.errors import SequenceError
from seqclass.progress import track


class Genome:
    """The chromosomes of a FASTA file as tokens, of which only what is looked at takes memory.

    Args:
        path: FASTA, plain or gzip.
        reader: Of its letters. Default: lower case is read as upper case, ambiguous letters as N.

    Attributes:
        lengths: Of each chromosome, in bp, by name, in the file's order.
        digest: SHA-256 of the names and bases.

    Raises:
        SequenceError: The file is missing, empty or no FASTA, a letter is not DNA, or two chromosomes share a name.
    """

    def __init__(self, path: str | Path, reader: LetterReader | None = None) -> None:
        self.path = Path(path)
        self.lengths: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        reader, digest, end = reader or LetterReader(DNA, LetterPolicy()), hashlib.sha256(), 0
        # The mapping outlives the file's name, so nothing is left behind, even after a kill.
        with tempfile.TemporaryFile() as scratch:
            for record in track(read_fasta(self.path), "Reading the genome", unit="sequences"):
                if record.name in self.lengths:
                    raise SequenceError(
                        f"a second sequence is called '{record.name}'",
                        remedy="Give each sequence a name of its own",
                        file=self.path,
                        record=record.line,
                    )
                tokens = _tokens(reader, record, self.path)
                self._starts[record.name], self.lengths[record.name] = end, len(tokens)
                end += len(tokens)
                digest.update(record.name.encode() + b"\0")
                digest.update(tokens.data)
                scratch.write(tokens.data)
            scratch.flush()
            self._tokens: Tokens = np.asarray(np.memmap(scratch, dtype=np.uint8, mode="r"))
        self.digest = digest.hexdigest()

    def read(self, chrom: str, start: int, end: int) -> Tokens:
        """Bases `[start, end)` of a chromosome, `(end - start,)`, 0-based; N where it does not reach."""
        offset, length = self._starts[chrom], self.lengths[chrom]
        if start >= 0 and end <= length:
            return self._tokens[offset + start : offset + end]
        out = np.full(end - start, DNA.unknown_token, dtype=np.uint8)
        first, last = max(0, start), min(end, length)
        if first < last:
            out[first - start : last - start] = self._tokens[offset + first : offset + last]
        return out


def _tokens(reader: LetterReader, record: FastaRecord, path: Path) -> Tokens:
    return reader.read([record.letters], lambda _: (path, f"line {record.line}, '{record.name}'"))[0]
