"""What becomes of a logit as residues are taken away, or given back, in the order of their saliency.

Deletion and insertion, Petsiuk et al. 2018 (RISE, BMVC; arXiv:1806.07421). What is taken away is replaced by the
residue of a shuffled copy, which for DNA keeps the dinucleotides, so that the sequence stays one the model could meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.attribution.benchmark_plants import Case
from seqclass.attribution.in_silico import logits
from seqclass.attribution.references import generator_for, shuffle
from seqclass.bundle import Bundle

Floats = NDArray[np.float32]

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the residues: how many have been taken away, or given back."""


class Curves(NamedTuple):
    """Mean logits of windows by the share of residues, `(shares,)` each.

    Attributes:
        deletion: Of the sequences, less and less of which is left.
        insertion: Of the shuffled copies, which become the sequences.
    """

    deletion: Floats
    insertion: Floats


def curves(bundle: Bundle, case: Case, maps: Sequence[Floats], *, seed: int = 0) -> Curves:
    """Takes residues away, and gives them back, those of the highest score first.

    Args:
        bundle: The model; it is left as it was found.
        case: Windows of a target.
        maps: `(length,)` of each: what speaks for the target is high. The order of equals is random.
        seed: Of the shuffled copies, which are the same for all maps, and of that order.
    """
    by_length: dict[int, list[NDArray[np.uint8]]] = {}
    for tokens, scores in zip(case.tokens, maps, strict=True):
        generator = generator_for(tokens, seed)
        background = shuffle(tokens, bundle.alphabet, generator)
        order = generator.permutation(len(tokens))
        place = np.empty(len(tokens), dtype=np.int64)
        place[order[np.argsort(-scores[order], kind="stable")]] = np.arange(len(tokens))
        first = place < np.round(np.array(SHARES) * len(tokens))[:, None]
        versions = [np.where(first, background, tokens), np.where(first, tokens, background)]
        by_length.setdefault(len(tokens), []).append(np.concatenate(versions))
    found = [
        logits(bundle, np.concatenate(versions))[:, case.target].reshape(-1, 2, len(SHARES))
        for versions in by_length.values()
    ]
    return Curves(*np.concatenate(found).mean(axis=0))


def areas(found: Sequence[Curves]) -> tuple[float, float]:
    """Areas under the mean of curves, with 1 for the sequences' logit and 0 for the shuffled copies'.

    Deletion is better the lower, insertion the higher. NaN where the model does not tell the two apart.
    """
    deletion, insertion = np.mean(found, axis=0)
    height = deletion[0] - deletion[-1]
    if height <= 0:
        return float("nan"), float("nan")
    below, above = (float(np.trapezoid((curve - deletion[-1]) / height, SHARES)) for curve in (deletion, insertion))
    return below, above
