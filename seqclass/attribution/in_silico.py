"""In-silico experiments: what a motif adds to a logit, what its loss takes away, where and beside what it works.

    marginalise   a motif is put into backgrounds that are otherwise random
    ablate        a stretch of real sequences is shuffled
    space         two motifs at several distances, against what each adds alone
    tile          one motif at several places

Every effect is a difference of logits, for DNA the mean of both strands', with a 95 % interval from a bootstrap over
backgrounds. Shuffled backgrounds keep the number of dinucleotides (see `references`), so that what is measured is the
motif and not the composition.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.atomic import atomic_file
from seqclass.attribution.references import shuffle
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, SequenceError
from seqclass.models.strands import reverse_complement
from seqclass.predict import evaluating
from seqclass.targets import Target

Floats = NDArray[np.float32]

_BATCH_RESIDUES = 1 << 17
_REPLICATES = 1000


class Effects(NamedTuple):
    """Differences of logits under some conditions.

    Attributes:
        conditions: What was varied: a name, a distance or a position.
        deltas: `(conditions, backgrounds, targets)`.
        mean: Over backgrounds, `(conditions, targets)`.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end.
    """

    conditions: list[str]
    deltas: Floats
    mean: Floats
    low: Floats
    high: Floats


def logits(bundle: Bundle, tokens: Tokens) -> Floats:
    """Logits `(sequences, targets)` of tokens `(sequences, length)`, for DNA the mean of both strands'.

    Raises:
        AssemblyError: The model does not take that length, or reads vectors.
    """
    if bundle.model.input_kind != "tokens":
        raise AssemblyError("the model reads vectors, not sequences", remedy="Give a model of sequences")
    step = max(1, _BATCH_RESIDUES // tokens.shape[1])
    found = np.empty((len(tokens), len(bundle.targets)), dtype=np.float32)
    with evaluating(bundle.model) as device, torch.inference_mode():
        for begin in range(0, len(tokens), step):
            batch = torch.from_numpy(np.ascontiguousarray(tokens[begin : begin + step])).to(device)
            scores = bundle.model(batch).float()
            if bundle.alphabet is DNA:
                scores = (scores + bundle.model(reverse_complement(batch)).float()) / 2
            found[begin : begin + step] = scores.cpu().numpy()
    return found


def shuffled_backgrounds(bundle: Bundle, tokens: Tokens, count: int, *, seed: int = 0) -> Tokens:
    """`(count, length)` shuffles of `(sequences, length)` sequences, taken in turn."""
    generator = np.random.default_rng(seed)
    return np.stack([shuffle(tokens[number % len(tokens)], bundle.alphabet, generator) for number in range(count)])


def marginalise(
    bundle: Bundle, backgrounds: Tokens, motifs: Sequence[str], *, position: int | None = None, seed: int = 0
) -> Effects:
    """What each motif adds to the logits where it is put into backgrounds.

    Args:
        bundle: The model; it is left as it was found.
        backgrounds: `(backgrounds, length)`, as from `shuffled_backgrounds`.
        motifs: Letters; an unknown letter leaves the background's.
        position: Where the motif begins; its middle lies in the middle by default.
        seed: Of the bootstrap.

    Raises:
        SequenceError: A motif is of other letters, or does not fit; or there are fewer than two backgrounds.
        AssemblyError: The model does not take that length.
    """
    _check(backgrounds)
    plain = logits(bundle, backgrounds)
    deltas = []
    for motif in motifs:
        place = (backgrounds.shape[1] - len(motif)) // 2 if position is None else position
        deltas.append(logits(bundle, insert(bundle, backgrounds, motif, place)) - plain)
    return _effects(list(motifs), deltas, seed)


def ablate(
    bundle: Bundle, tokens: Tokens, stretches: Sequence[tuple[int, int]], *, shuffles: int = 10, seed: int = 0
) -> Effects:
    """What the loss of each stretch does to the logits of real sequences.

    Args:
        bundle: The model; it is left as it was found.
        tokens: `(sequences, length)`, over which the bootstrap runs.
        stretches: Starts and ends, 0-based half-open; each is shuffled by itself.
        shuffles: How many times; their mean counts.
        seed: Of shuffles and bootstrap.

    Raises:
        SequenceError: A stretch is not on the sequences, or there are fewer than two of these.
        AssemblyError: The model does not take that length.
    """
    _check(tokens)
    generator = np.random.default_rng(seed)
    plain = logits(bundle, tokens)
    deltas = []
    for start, end in stretches:
        if not 0 <= start < end <= tokens.shape[1]:
            raise SequenceError(
                f"the stretch {start}-{end} of sequences of {tokens.shape[1]} residues",
                remedy="Let it begin at 0 or later, end on the sequence, and hold a residue",
            )
        total = np.zeros_like(plain)
        for _ in range(shuffles):
            changed = tokens.copy()
            changed[:, start:end] = [generator.permutation(row) for row in tokens[:, start:end]]
            total += logits(bundle, changed) - plain
        total /= shuffles
        deltas.append(total)
    return _effects([f"{start}-{end}" for start, end in stretches], deltas, seed)


def space(
    bundle: Bundle, backgrounds: Tokens, first: str, second: str, distances: Sequence[int], *, seed: int = 0
) -> Effects:
    """How far two motifs together add more, or less, than the sum of each alone, by the distance between them.

    Args:
        bundle: The model; it is left as it was found.
        backgrounds: `(backgrounds, length)`.
        first: Letters of the motif before.
        second: Letters of the motif behind; the pair lies in the middle.
        distances: Residues from the end of the first to the start of the second.
        seed: Of the bootstrap.

    Raises:
        SequenceError: A motif is of other letters, or the pair does not fit; or there are fewer than two backgrounds.
        AssemblyError: The model does not take that length.
    """
    _check(backgrounds)
    plain = logits(bundle, backgrounds)
    deltas = []
    for distance in distances:
        if distance < 0:
            raise SequenceError(f"a distance of {distance} between motifs", remedy="Let it be 0 or more")
        left = (backgrounds.shape[1] - len(first) - distance - len(second)) // 2
        right = left + len(first) + distance
        alone = [insert(bundle, backgrounds, first, left), insert(bundle, backgrounds, second, right)]
        both = logits(bundle, insert(bundle, alone[0], second, right))
        deltas.append(both - logits(bundle, alone[0]) - logits(bundle, alone[1]) + plain)
    return _effects([str(distance) for distance in distances], deltas, seed)


def tile(bundle: Bundle, backgrounds: Tokens, motif: str, positions: Sequence[int], *, seed: int = 0) -> Effects:
    """What a motif adds to the logits by the position at which it begins.

    Args:
        bundle: The model; it is left as it was found.
        backgrounds: `(backgrounds, length)`.
        motif: Letters; an unknown letter leaves the background's.
        positions: Of its first letter, 0-based.
        seed: Of the bootstrap.

    Raises:
        SequenceError: The motif is of other letters, or does not fit; or there are fewer than two backgrounds.
        AssemblyError: The model does not take that length.
    """
    _check(backgrounds)
    plain = logits(bundle, backgrounds)
    deltas = [logits(bundle, insert(bundle, backgrounds, motif, place)) - plain for place in positions]
    return _effects([str(place) for place in positions], deltas, seed)


def insert(bundle: Bundle, tokens: Tokens, motif: str, position: int) -> Tokens:
    """Sequences `(sequences, length)` with a motif's letters in place of theirs, where these are known.

    Raises:
        SequenceError: The motif is empty, of other letters, or reaches over an end.
    """
    letters = bundle.alphabet.encode(motif)
    if not len(letters) or not 0 <= position <= tokens.shape[1] - len(letters):
        raise SequenceError(
            f"a motif of {len(letters)} residues at position {position} of sequences of {tokens.shape[1]}",
            remedy="Choose a position at which all of it lies on the sequence",
        )
    changed = tokens.copy()
    known = np.flatnonzero(letters != bundle.alphabet.unknown_token)
    changed[:, position + known] = letters[known]
    return changed


def write_effects(path: str | Path, effects: Effects, targets: Sequence[Target], *, force: bool = False) -> None:
    """Writes a table (TSV): condition, target, delta_logit, low, high.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    with atomic_file(path, force=force) as partial, open(partial, "w", encoding="utf-8") as stream:
        stream.write("condition\ttarget\tdelta_logit\tlow\thigh\n")
        for row, condition in enumerate(effects.conditions):
            for column, target in enumerate(targets):
                numbers = (each[row, column] for each in (effects.mean, effects.low, effects.high))
                stream.write("\t".join([condition, target.name, *(f"{number:.6g}" for number in numbers)]) + "\n")


def _effects(conditions: list[str], deltas: Sequence[Floats], seed: int) -> Effects:
    """Means over backgrounds, and percentiles of the means of resampled backgrounds."""
    stacked = np.stack(deltas)
    number = stacked.shape[1]
    weights = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), _REPLICATES) / number
    low, high = np.empty((2, len(stacked), stacked.shape[2]), dtype=np.float32)
    for row, delta in enumerate(stacked):
        low[row], high[row] = np.percentile(weights @ delta, (2.5, 97.5), axis=0)
    return Effects(conditions, stacked, stacked.mean(axis=1), low, high)


def _check(tokens: Tokens) -> None:
    if len(tokens) < 2:
        raise SequenceError(
            f"{len(tokens)} sequence, over which no interval can be measured", remedy="Give at least two, better 100"
        )
