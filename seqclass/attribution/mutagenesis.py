"""In-silico saturation mutagenesis: what every single substitution does to a model's logits.

Exact. For models without global stages it comes from local recomputation (see `mutagenesis_stages`): only what a
substitution can change is computed for a mutant, all else is the sequence's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.alphabets import DNA, Alphabet, Tokens, get_alphabet
from seqclass.attribution.mutagenesis_stages import Window, follow, run, splice
from seqclass.attribution.mutagenesis_trunk import flat_head, trunk
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, SequenceError
from seqclass.models import Classifier, SequenceClassifier
from seqclass.models.strands import reverse_complement
from seqclass.predict import evaluating
from seqclass.progress import progress

Floats = NDArray[np.float32]

_MUTANTS = 32
_BATCH_RESIDUES = 1 << 17


class Mutants(NamedTuple):
    """Logits of sequences and of their single substitutions.

    Attributes:
        reference: `(sequences, targets)`.
        mutants: `(sequences, positions, letters, targets)`; the reference's own where the letter is the sequence's.
    """

    reference: Tensor
    mutants: Tensor


def is_local(model: Classifier) -> bool:
    """Whether a substitution changes only a part of what reaches the head, so that the rest need not be recomputed."""
    return all(stage.local for _, stage in trunk(model))


def mutagenesis(
    bundle: Bundle, tokens: Tokens, targets: Sequence[int] | None = None, *, start: int = 0, end: int | None = None
) -> Floats:
    """What each substitution adds to each target's logit; for DNA the mean of both strands.

    Args:
        bundle: The model; it is left as it was found.
        tokens: `(sequences, length)`, of a length that the model takes.
        targets: Indices of targets; all by default.
        start: First residue to be mutated, 0-based.
        end: Behind the last residue to be mutated; the sequence's end by default.

    Returns:
        `(sequences, end - start, letters, targets)`: the mutant's logit less the sequence's, 0 for its own letter.

    Raises:
        SequenceError: The stretch is empty or not on the sequence, or the model reads vectors.
        AssemblyError: The model does not take that length.
    """
    length = tokens.shape[1]
    end = length if end is None else end
    _check(bundle.model, length, start, end)
    chosen = list(range(len(bundle.targets))) if targets is None else list(targets)
    letters = len(bundle.alphabet.letters)
    effects = np.empty((len(tokens), end - start, letters, len(chosen)), dtype=np.float32)
    with (
        evaluating(bundle.model) as device,
        torch.inference_mode(),
        progress("Mutating", total=len(tokens), unit="sequences") as advance,
    ):
        for row, sequence in enumerate(tokens):
            own = torch.from_numpy(np.ascontiguousarray(sequence))[None].to(device)
            effect = _effects(bundle.model, own, start, end)
            if bundle.alphabet is DNA:
                other = _effects(bundle.model, reverse_complement(own), length - end, length - start)
                effect = (effect + other.flip(1, 2)) / 2
            effects[row] = effect[0, :, :, chosen].cpu().numpy()
            advance(1)
    return effects


def importance(effects: Floats, tokens: Tokens) -> Floats:
    """How much each residue of a sequence matters: its own letter's logit above the mean of all letters there.

    Args:
        effects: `(sequences, positions, letters, targets)`, as from `mutagenesis`.
        tokens: `(sequences, positions)`, of the same positions. An unknown residue has no importance.

    Returns:
        `(sequences, positions, targets)`.
    """
    own: Floats = -effects.mean(axis=2)
    own[tokens >= effects.shape[2]] = 0
    return own


def _effects(model: Classifier, tokens: Tensor, start: int, end: int) -> Tensor:
    reference, mutants = mutate(model, tokens, start, end)
    return mutants.float() - reference.float()[:, None, None]


def mutate(model: Classifier, tokens: Tensor, start: int = 0, end: int | None = None) -> Mutants:
    """Logits of every single substitution, one strand, on the device and in the mode of the model.

    Args:
        model: In evaluation mode.
        tokens: `(sequences, length)` integers, on the model's device.
        start: First residue to be mutated, 0-based.
        end: Behind the last residue to be mutated; the sequence's end by default.

    Raises:
        SequenceError: The stretch is empty or not on the sequence, or the model reads vectors.
        AssemblyError: The model does not take that length, or is in training mode.
    """
    end = tokens.shape[1] if end is None else end
    _check(model, tokens.shape[1], start, end)
    if model.training:
        raise AssemblyError("a model in training mode, whose answers vary", remedy="Call its eval() first")
    by = mutate_locally if is_local(model) else mutate_in_full
    return by(model, tokens, start, end)


def mutate_in_full(model: Classifier, tokens: Tensor, start: int, end: int) -> Mutants:
    """As `mutate`, with a whole pass for each mutant."""
    alphabet = get_alphabet(model.alphabet)
    reference = model(tokens)
    mutants = reference[:, None, None].repeat(1, end - start, len(alphabet.letters), 1)
    row, place, letter = _substitutions(tokens[:, start:end], alphabet)
    step = max(1, _BATCH_RESIDUES // tokens.shape[1])
    for begin in range(0, len(row), step):
        rows, places, letters = (index[begin : begin + step] for index in (row, place, letter))
        batch = tokens[rows].clone()
        batch[torch.arange(len(rows), device=tokens.device), start + places] = letters.to(tokens.dtype)
        mutants[rows, places, letters] = model(batch)
    return Mutants(reference, mutants)


def mutate_locally(model: Classifier, tokens: Tensor, start: int, end: int) -> Mutants:
    """As `mutate`, from local recomputation, for models of which `is_local` is true."""
    assert isinstance(model, SequenceClassifier)
    alphabet = get_alphabet(model.alphabet)
    num_letters = len(alphabet.letters)
    reference = model(tokens)
    mutants = reference[:, None, None].repeat(1, end - start, num_letters, 1)
    stages = [stage for _, stage in trunk(model)]
    table = model.embedding(torch.arange(num_letters + 1, device=tokens.device)[None])[0][0]
    # Mutants of neighbouring residues share a window of what they change, and so one matrix product.
    width = max(1, _MUTANTS // (num_letters - 1))
    for row, sequence in enumerate(tokens):
        embedded = table[sequence.long()][None]
        traces = run(stages, embedded)
        finish = _finisher(model, traces[-1].after if traces else embedded)
        for left in range(start, end, width):
            right = min(end, left + width)
            _, place, letter = _substitutions(sequence[None, left:right], alphabet)
            values = embedded[:, left:right].repeat(len(place), 1, 1)
            values[torch.arange(len(place), device=tokens.device), place] = table[letter]
            mutants[row, left - start + place, letter] = finish(follow(stages, traces, Window(left, values)))
    return Mutants(reference, mutants)


def _finisher(model: SequenceClassifier, own: Tensor) -> Callable[[Window], Tensor]:
    """From what mutants have in place of `own`, `(1, positions, channels)`, to their logits."""
    head = flat_head(model.head)
    if head is None:
        return lambda window: model.head(splice(own, window, 0, own.shape[1]))
    dense, rest = head
    hidden, channels = dense(own.flatten(1)), own.shape[2]

    def finish(window: Window) -> Tensor:
        difference = window.values - own[:, window.start : window.end]
        weight = dense.weight[:, window.start * channels : window.end * channels]
        return rest(hidden + difference.flatten(1) @ weight.T)

    return finish


def _substitutions(tokens: Tensor, alphabet: Alphabet) -> tuple[Tensor, Tensor, Tensor]:
    """Sequence, position and letter of each substitution in `(sequences, positions)` tokens."""
    letters = torch.arange(len(alphabet.letters), device=tokens.device)
    row, place, letter = (tokens[:, :, None] != letters).nonzero().unbind(1)
    return row, place, letter


def _check(model: Classifier, length: int, start: int, end: int) -> None:
    if model.input_kind != "tokens":
        raise SequenceError(
            "the model reads vectors, whose letters cannot be exchanged",
            remedy="Give a model of sequences, or ask for another method",
        )
    if not 0 <= start < end <= length:
        raise SequenceError(
            f"residues {start} to {end} of a sequence of {length} are to be mutated",
            remedy=f"Let the stretch begin at 0 or later, end at {length} or before, and hold a residue",
        )
    if model.length not in (None, length):
        raise AssemblyError(
            f"a sequence of {length} residues, where the model takes {model.length}", remedy="Crop or pad it"
        )
