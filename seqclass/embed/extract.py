"""A FASTA file embedded into HDF5, in biotrainer's layout: a data set a record, its name the attribute original_id."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch

from seqclass import __version__
from seqclass.alphabets import Tokens
from seqclass.atomic import atomic_file, check_free
from seqclass.data.fasta import FastaRecord, read_fasta
from seqclass.data.letters import LetterPolicy, LetterReader
from seqclass.data.writer import Sink
from seqclass.embed.backbones import Backbone
from seqclass.embed.windows import Window, join, windows
from seqclass.errors import SeqclassError, SequenceError
from seqclass.progress import Advance, progress, track
from seqclass.unfinished import Unfinished

# Of a batch, padding included; on a CPU, what outgrows its caches is slower.
_CPU_BATCH_RESIDUES, _BATCH_RESIDUES = 1024, 8192

# Attention takes memory with the square of the length.
_BATCH_PAIRS = 1 << 24

# Some backbones take any length or, as ProtBert, lengths far beyond what they were trained on.
LONGEST = 4000

# Portions are what is kept of a run that is killed.
_PORTION_RESIDUES, _READ_RECORDS = 1 << 15, 4096


class Sequences(NamedTuple):
    """Distinct sequences of a file, and the records of each.

    Attributes:
        tokens: Of each, `(length,)`.
        records: Of each, the names and keys of its records, at least one.
        notes: What was changed on reading.
    """

    tokens: list[Tokens]
    records: list[list[tuple[str, str]]]
    notes: list[str]


def embed(
    backbone: Backbone,
    fasta: str | Path,
    out: str | Path,
    *,
    per_residue: bool = False,
    max_length: int | None = None,
    overlap: int | None = None,
    batch_residues: int | None = None,
    force: bool = False,
) -> list[str]:
    """Embeds the sequences of a FASTA file.

    A data set is `(size,)`, the mean over the residues of a sequence, or `(length, size)`. Special tokens count for
    neither. Its key is the hash of the record's letters that biotrainer uses (with -2, -3 ... for further records of
    the same letters, which are embedded once), and its attribute `original_id` the record's name. Numbers are float32,
    or float16 where the backbone computes in half precision. What all follows from is in the file's attributes.

    A run that was killed goes on where it was when it is repeated.

    Args:
        backbone: From `load_backbone`.
        fasta: Sequences, plain or gzip.
        out: The HDF5 file to write.
        per_residue: Write a vector a residue, rather than the mean.
        max_length: Longer sequences are embedded in overlapping windows of so many residues, and each residue is taken
            from the window in which it lies farthest from an end. Default: what the backbone takes at most, or 4,000.
        overlap: Residues that neighbouring windows share at least. Default: a quarter of a window.
        batch_residues: The most residues in a batch, padding included; a longer sequence has one of its own. Default:
            1,024 on a CPU, 8,192 on a GPU.
        force: Replace what stands at `out`, and begin anew where another run was left unfinished.

    Returns:
        Sentences on what was done.

    Raises:
        SequenceError: The file is missing, empty or no FASTA; two records share a name; a letter is not of the
            backbone's alphabet; or no residue of a sequence is known to it.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: A number is out of range, an unfinished run was begun with other options, memory or disk are too
            small, or vectors are not finite.
    """
    out, fasta = Path(out), Path(fasta)
    check_free(out, force, inputs=[fasta, backbone.name])
    longest, overlap = _window(backbone, max_length, overlap)
    if batch_residues is None:
        batch_residues = _CPU_BATCH_RESIDUES if backbone.device.type == "cpu" else _BATCH_RESIDUES
    if batch_residues < 1:
        raise SeqclassError(f"a batch of {batch_residues} residues", remedy="Let --batch-residues be at least 1")
    sequences = _read(backbone, fasta)
    run = {
        "backbone": backbone.name,
        "family": backbone.family,
        "weights": backbone.digest,
        "dtype": backbone.dtype,
        "per_residue": per_residue,
        "max_length": longest,
        "overlap": overlap,
        "sequences": _checksum(sequences),
        "seqclass": __version__,
    }
    unfinished = Unfinished(out, run, force=force)
    order = sorted(range(len(sequences.tokens)), key=lambda i: -len(sequences.tokens[i]))
    portions = list(_portions(order, sequences.tokens))
    resumed = sum(unfinished.has(number) for number in range(len(portions)))
    dtype = np.dtype(np.float32 if backbone.dtype == "float32" else np.float16)
    with progress("Embedding", sum(map(len, sequences.tokens)), "residues") as advance:
        for number, portion in enumerate(portions):
            tokens = [sequences.tokens[i] for i in portion]
            if unfinished.has(number):
                advance(sum(map(len, tokens)))
                continue
            whole = _embed_portion(backbone, tokens, longest, overlap, batch_residues, advance)
            # What overflows is refused in the next line.
            with np.errstate(over="ignore"):
                rows = [(each if per_residue else each.mean(axis=0, keepdims=True)).astype(dtype) for each in whole]
            _refuse_not_finite(rows, [sequences.records[i][0][0] for i in portion], backbone, fasta)
            unfinished.save(number, np.concatenate(rows))
    with atomic_file(out, force=force) as partial:
        _write(partial, run, sequences, portions, unfinished)
    unfinished.remove()
    return _notes(backbone, sequences, longest, overlap, resumed, len(portions))


def _window(backbone: Backbone, max_length: int | None, overlap: int | None) -> tuple[int, int]:
    most = backbone.longest
    if max_length is not None and (max_length < 1 or (most is not None and max_length > most)):
        raise SeqclassError(
            f"windows of {max_length:,} residues, where the backbone takes "
            + (f"1 to {most:,}" if most is not None else "at least 1"),
            remedy="Choose another --max-length",
        )
    longest = max_length or min(most or LONGEST, LONGEST)
    if overlap is None:
        return longest, longest // 4
    if not 0 <= overlap < longest:
        raise SeqclassError(
            f"windows that share {overlap:,} residues of {longest:,}",
            remedy="Let --overlap be at least 0 and less than the length of a window",
        )
    return longest, overlap


def _read(backbone: Backbone, fasta: Path) -> Sequences:
    """The distinct sequences of a file; rare residues become unknown, as the models were trained."""
    reader = LetterReader(backbone.alphabet, LetterPolicy())
    known: dict[bytes, int] = {}
    seen: dict[str, int] = {}
    tokens: list[Tokens] = []
    of_each: list[list[tuple[str, str]]] = []
    records = read_fasta(fasta)
    with progress("Reading sequences", unit="records") as advance:
        while chunk := list(islice(records, _READ_RECORDS)):

            def place(i: int, chunk: list[FastaRecord] = chunk) -> tuple[Path, str]:
                return fasta, f"line {chunk[i].line}, record '{chunk[i].name}'"

            joined, lengths = reader.read([record.letters for record in chunk], place)
            for number, each in enumerate(np.split(joined, np.cumsum(lengths)[:-1])):
                record = chunk[number]
                first = seen.setdefault(record.name, record.line)
                if first != record.line:
                    raise SequenceError(
                        f"a second record is called '{record.name}'; the first is in line {first}",
                        remedy="Rename one, or leave it out",
                        file=fasta,
                        record=record.line,
                    )
                if not backbone.knows(each):
                    raise SequenceError(
                        "no residue of this sequence is known to the model",
                        remedy="Leave the record out",
                        file=fasta,
                        record=place(number)[1],
                    )
                index = known.setdefault(each.tobytes(), len(tokens))
                if index == len(tokens):
                    tokens.append(each)
                    of_each.append([])
                of_each[index].append((record.name, _key(record.letters)))
            advance(len(chunk))
    return Sequences(tokens, of_each, reader.notes())


def _portions(order: Sequence[int], tokens: Sequence[Tokens]) -> Iterator[list[int]]:
    """Sequences that are kept together, longest first."""
    portion: list[int] = []
    residues = 0
    for i in order:
        portion.append(i)
        residues += len(tokens[i])
        if residues >= _PORTION_RESIDUES:
            yield portion
            portion, residues = [], 0
    if portion:
        yield portion


def _embed_portion(
    backbone: Backbone,
    sequences: Sequence[Tokens],
    longest: int,
    overlap: int,
    batch_residues: int,
    advance: Advance,
) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """The vectors `(length, size)` of each sequence."""
    of = [windows(len(tokens), longest, overlap) for tokens in sequences]
    stretches = [(i, window) for i, each in enumerate(of) for window in each]
    stretches.sort(key=lambda stretch: stretch[1].start - stretch[1].end)
    parts: list[dict[Window, np.ndarray[Any, np.dtype[np.float32]]]] = [{} for _ in sequences]
    while stretches:
        longest_here = stretches[0][1].end - stretches[0][1].start
        size = max(1, min(batch_residues // longest_here, _BATCH_PAIRS // longest_here**2))
        batch, stretches = stretches[:size], stretches[size:]
        try:
            vectors = backbone([sequences[i][window.start : window.end] for i, window in batch])
        except torch.OutOfMemoryError:
            raise SeqclassError(
                f"the memory of {backbone.device} is too small for {len(batch):,} sequences of {longest_here:,}",
                remedy="Pass --batch-residues 1 to embed them one by one, or a smaller --max-length",
            ) from None
        for (i, window), each in zip(batch, vectors, strict=True):
            parts[i][window] = each
            advance(window.keep_end - window.keep_start)
    return [join([found[window] for window in each], each) for found, each in zip(parts, of, strict=True)]


def _refuse_not_finite(
    rows: Sequence[np.ndarray[Any, Any]], names: Sequence[str], backbone: Backbone, fasta: Path
) -> None:
    for name, vectors in zip(names, rows, strict=True):
        if not np.isfinite(vectors).all():
            raise SeqclassError(
                f"the vectors have numbers that are NaN, infinite or too large for {vectors.dtype}",
                remedy="Copy or download the checkpoint again"
                if backbone.dtype == "float32"
                else "Pass --dtype float32",
                file=fasta,
                record=f"record '{name}'",
            )


def _write(
    path: Path,
    run: dict[str, Any],
    sequences: Sequences,
    portions: Sequence[Sequence[int]],
    unfinished: Unfinished,
) -> None:
    copies: Counter[str] = Counter()
    with open(path, "r+b", buffering=0) as raw:
        sink = Sink(raw)
        with h5py.File(sink, "w") as file:
            for key, value in run.items():
                file.attrs[key] = value
            for number, portion in enumerate(track(portions, "Writing", len(portions), "portions")):
                ends = np.cumsum([len(sequences.tokens[i]) if run["per_residue"] else 1 for i in portion])
                for i, vectors in zip(portion, np.split(unfinished.load(number), ends[:-1]), strict=True):
                    for name, key in sequences.records[i]:
                        copies[key] += 1
                        data = file.create_dataset(
                            key if copies[key] == 1 else f"{key}-{copies[key]}",
                            data=vectors if run["per_residue"] else vectors[0],
                        )
                        data.attrs["original_id"] = name
                sink.complain()
        sink.complain()


def _key(letters: bytes) -> str:
    """The hash by which biotrainer knows a sequence."""
    return hashlib.sha256(letters + f"_{len(letters)}".encode()).hexdigest()


def _checksum(sequences: Sequences) -> str:
    digest = hashlib.sha256()
    for tokens, records in zip(sequences.tokens, sequences.records, strict=True):
        digest.update(tokens.tobytes())
        digest.update("\n".join(f"{name} {key}" for name, key in records).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _notes(
    backbone: Backbone, sequences: Sequences, longest: int, overlap: int, resumed: int, portions: int
) -> list[str]:
    records = sum(map(len, sequences.records))
    notes = list(sequences.notes)
    if records > len(sequences.tokens):
        notes.append(f"{records:,} records hold {len(sequences.tokens):,} different sequences, each embedded once.")
    windowed = sum(len(tokens) > longest for tokens in sequences.tokens)
    if windowed:
        notes.append(
            f"{windowed:,} sequences longer than {longest:,} residues were embedded in windows that share at least "
            f"{overlap:,}; each residue is from the window in which it lies farthest from an end."
        )
    if resumed:
        notes.append(f"{resumed:,} of {portions:,} portions were there from a run that did not end.")
    notes.append(f"{records:,} records, vectors of {backbone.size:,} numbers, {backbone.dtype} on {backbone.device}.")
    return notes
