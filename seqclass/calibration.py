"""From the probabilities that a model gives to those that come true, and to what is called on their strength.

A network's probabilities are too sure of themselves, and weighted losses or weighted sampling shift them besides. A
calibration is a rising map, a few numbers. Samples keep their order by each yes-or-no target, and each sample its order
of the classes of a group:

    yes-or-no target    sigmoid(slope * logit(p) + intercept), each target its own (Platt 1999)
    exclusive group     softmax(log(p) / temperature), one a group (Guo et al. 2017, arXiv:1706.04599)

Here p is what the model would otherwise answer: for DNA the mean of both strands' probabilities, for an ensemble the
joint one. `seqclass.evaluation.calibration` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Half of the smallest step below 1 in single precision, so that a probability of 1 stays above all others.
_SHORT_OF_ONE = 2.0**-25


@dataclass(frozen=True)
class Calibration:
    """How to read a model's probabilities; the first three have an entry a yes-or-no target, in the targets' order.

    Args:
        slope: Above 0.
        intercept: In logits.
        threshold: The calibrated probability from which a target is called.
        temperature: Of each exclusive group; above 0.
        abstain_below: Of each exclusive group: if even its most probable class has a calibrated probability below
            this, the sample is taken to be of none of them.
    """

    slope: Sequence[float]
    intercept: Sequence[float]
    threshold: Sequence[float]
    temperature: Mapping[str, float]
    abstain_below: Mapping[str, float]

    def apply(self, probabilities: Tensor, binary: Sequence[int], groups: Mapping[str, Sequence[int]]) -> Tensor:
        """Calibrated probabilities `(batch, targets)`, in the precision of those given.

        Args:
            probabilities: `(batch, targets)`, as the model gives them; those of an exclusive group add up to 1.
            binary: Columns of the yes-or-no targets.
            groups: Columns of each exclusive group.
        """
        out = probabilities.clone()
        if binary:
            slope, intercept = (out.new_tensor(each, dtype=torch.float64) for each in (self.slope, self.intercept))
            out[:, binary] = torch.sigmoid(slope * logits(out[:, binary]) + intercept).to(out.dtype)
        for group, columns in groups.items():
            shares = log_probabilities(out[:, columns]) / self.temperature[group]
            out[:, columns] = torch.softmax(shares, dim=1).to(out.dtype)
        return out


def logits(probabilities: Tensor) -> Tensor:
    """Logits in double precision; finite, and in the order of the probabilities, at 0 and 1 too."""
    return log_probabilities(probabilities) - torch.log((1 - probabilities.double()).clamp_min(_SHORT_OF_ONE))


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Logarithms in double precision; finite at 0 too."""
    return torch.log(probabilities.double().clamp_min(torch.finfo(torch.float32).smallest_normal))
