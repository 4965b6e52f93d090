"""How far a change moves each target: differences of probability and of logit, their product, E-values, summaries.

    delta probability    P(alt) - P(ref)
    delta logit          logit P(alt) - logit P(ref): the log odds ratio, DeepSEA's log fold change
    product              |delta probability * delta logit|, by which DeepSEA ranks
    E-value              share of background variants whose product is at least as large

(Zhou and Troyanskaya 2015, doi:10.1038/nmeth.3547.) Logarithms are natural.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass.calibration import logits
from seqclass.variants.background import Background

Scores = NDArray[np.float32]


class Effects(NamedTuple):
    """Scores of some changes, each `(changes, targets)` float32.

    Attributes:
        reference: Probabilities with the reference allele.
        delta_probability: P(alt) - P(ref).
        delta_logit: The log odds ratio.
        product: Of both, in absolute value.
        evalue: Share of the background at least as extreme, None without a background.
    """

    reference: Scores
    delta_probability: Scores
    delta_logit: Scores
    product: Scores
    evalue: Scores | None

    def named(self) -> dict[str, Scores]:
        """The scores that compare, by the names that results give them."""
        scores = {
            "delta_probability": self.delta_probability,
            "delta_logit": self.delta_logit,
            "product": self.product,
        }
        return scores if self.evalue is None else scores | {"evalue": self.evalue}


def effects(reference: Scores, alternative: Scores, background: Background | None = None) -> Effects:
    """The scores of changes from the probabilities, `(changes, targets)`, with either allele."""
    delta_probability = alternative - reference
    odds = [logits(torch.from_numpy(each)).numpy() for each in (reference, alternative)]
    delta_logit = (odds[1] - odds[0]).astype(np.float32)
    product = np.abs(delta_probability * delta_logit)
    evalue = None if background is None else background.evalues(product)
    return Effects(reference, delta_probability, delta_logit, product, evalue)


class Summary(NamedTuple):
    """What changes do over all targets, each `(changes,)`.

    Attributes:
        most_affected: Column of the target with the largest delta logit, up or down.
        max_abs_delta_logit: The size of that delta logit.
        mean_abs_delta_logit: The mean over targets.
        min_evalue: The smallest E-value, None without a background.
    """

    most_affected: NDArray[np.int64]
    max_abs_delta_logit: Scores
    mean_abs_delta_logit: Scores
    min_evalue: Scores | None


def summarise(scores: Effects) -> Summary:
    """What changes do over all targets."""
    size = np.abs(scores.delta_logit)
    least = None if scores.evalue is None else scores.evalue.min(axis=1)
    return Summary(size.argmax(axis=1), size.max(axis=1), size.mean(axis=1), least)
