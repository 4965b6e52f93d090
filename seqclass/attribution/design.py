"""Sequences that a model calls a target: activation maximisation by gradient, and greedy mutation.

By gradient, a sequence is a table of letter scores. Forward, each position takes the letter drawn from them (Gumbel
noise, which cools down); backward, the gradient flows as if it had taken the soft letters: straight-through, as in
Linder and Seelig 2021, Fast SeqProp (BMC Bioinformatics 22, 510). Greedily, the best of all single substitutions is
taken, again and again.

A designed sequence is what the model likes, not what a cell does: a model is unreliable away from its training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqclass.alphabets import DNA, Tokens
from seqclass.attribution.in_silico import logits
from seqclass.attribution.mutagenesis import mutagenesis
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, SequenceError
from seqclass.models.strands import reverse_complement
from seqclass.predict import evaluating
from seqclass.progress import track


class Design(NamedTuple):
    """A designed sequence.

    Attributes:
        tokens: `(length,)`.
        logits: Of the target: of the start, and after each step that was kept; it never falls.
    """

    tokens: Tokens
    logits: list[float]


def design_greedily(
    bundle: Bundle, start: Tokens, target: int, *, steps: int = 20, frozen: Sequence[tuple[int, int]] = ()
) -> Design:
    """Raises a target's logit by single substitutions, the best of all at each step, until none raises it.

    Args:
        bundle: The model; it is left as it was found.
        start: `(length,)` tokens to begin with.
        target: Index of the target.
        steps: Substitutions at most.
        frozen: Stretches, 0-based half-open, whose letters stay.

    Raises:
        SequenceError: The model reads vectors.
        AssemblyError: The model does not take that length.
    """
    tokens = start.copy()
    free = _free(len(start), frozen)
    trajectory = [float(logits(bundle, tokens[None])[0, target])]
    for _ in track(range(steps), "Mutating", steps, "steps"):
        effects = mutagenesis(bundle, tokens[None], [target])[0, :, :, 0]
        effects[~free] = -np.inf
        place, letter = np.unravel_index(int(effects.argmax()), effects.shape)
        changed = tokens.copy()
        changed[place] = letter
        reached = float(logits(bundle, changed[None])[0, target])
        if effects[place, letter] <= 0 or reached <= trajectory[-1]:
            break
        tokens = changed
        trajectory.append(reached)
    return Design(tokens, trajectory)


def design_by_gradient(
    bundle: Bundle,
    start: Tokens,
    target: int,
    *,
    steps: int = 200,
    rate: float = 0.2,
    frozen: Sequence[tuple[int, int]] = (),
    seed: int = 0,
) -> Design:
    """Raises a target's logit by gradient ascent on the scores of letters; the best sequence met is given.

    Args:
        bundle: The model; it is left as it was found.
        start: `(length,)` tokens to begin with.
        target: Index of the target.
        steps: Of the ascent (Adam).
        rate: Learning rate.
        frozen: Stretches, 0-based half-open, whose letters stay.
        seed: Of the letters that are drawn.

    Raises:
        AssemblyError: The model reads vectors, or does not take that length.
    """
    letters = len(bundle.alphabet.letters)
    best = Design(start.copy(), [float(logits(bundle, start[None])[0, target])])
    with evaluating(bundle.model) as device, torch.enable_grad():
        given = torch.from_numpy(start.astype(np.int64)).to(device)
        own = torch.eye(letters + 1, device=device)[given, :letters] + (given == letters)[:, None] / letters
        free = torch.from_numpy(_free(len(start), frozen)).to(device)[:, None]
        scores = (2 * own).requires_grad_()
        optimiser = torch.optim.Adam([scores], rate)
        generator = torch.Generator().manual_seed(seed)
        for step in track(range(steps), "Designing", steps, "steps"):
            noise = -torch.log(-torch.log(torch.rand(scores.shape, generator=generator).clamp(1e-9, 1 - 1e-7)))
            soft = torch.softmax(scores + noise.to(device) * (1 - step / steps), dim=1)
            hard = torch.eye(letters, device=device)[soft.argmax(dim=1)]
            taken = torch.where(free, hard, own)
            logit = _logit(bundle, torch.where(free, soft + (hard - soft).detach(), own), target)
            if float(logit.detach()) > best.logits[-1]:
                chosen = torch.where(free[:, 0], taken.argmax(dim=1), given).cpu().numpy().astype(np.uint8)
                best = Design(chosen, [*best.logits, float(logit.detach())])
            (gradient,) = torch.autograd.grad(-logit, scores)
            scores.grad = gradient
            optimiser.step()
    return best


def _logit(bundle: Bundle, letters: Tensor, target: int) -> Tensor:
    """The mean of both strands' logits of soft letters `(length, letters)`; of a protein its one logit."""
    logit: Tensor = bundle.model(letters[None])[0, target]
    if bundle.alphabet is DNA:
        logit = (logit + bundle.model(reverse_complement(letters[None]))[0, target]) / 2
    return logit


def _free(length: int, frozen: Sequence[tuple[int, int]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    free = np.ones(length, dtype=bool)
    for start, end in frozen:
        if not 0 <= start < end <= length:
            raise SequenceError(
                f"residues {start} to {end} of a sequence of {length} are to stay",
                remedy="Let the stretch begin at 0 or later and end on the sequence",
            )
        free[start:end] = False
    if not free.any():
        raise AssemblyError("no residue is free to be changed", remedy="Freeze less of the sequence")
    return free
