"""Averages of the weights along the way, which judge better than the last ones.

An exponential moving average follows the weights (Polyak and Juditsky 1992; as used by Tarvainen and Valpola 2017,
arXiv:1703.01780); stochastic weight averaging is the plain mean over the end of training (Izmailov et al. 2018,
arXiv:1803.05407).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqclass.blocks.masking import MaskedBatchNorm
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.models import Classifier

# So many batches give batch normalisation its statistics anew.
STATISTICS_BATCHES = 100


@dataclass
class Averaging:
    """Which average of the weights is validated and kept in place of the last ones.

    Args:
        decay: Of an exponential moving average, such as .999; it starts smaller, so that the first weights are soon
            forgotten. None for none.
        last_share: Share of all optimiser steps, at the end, over which the weights are averaged evenly; 0 for none.

    Raises:
        TrainingError: A number is out of range, or both are asked for.
    """

    decay: float | None = None
    last_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.last_share <= 1 or (self.decay is not None and not 0 < self.decay < 1):
            raise TrainingError(
                f"weights averaged with decay {self.decay} and over the last {self.last_share} of the steps",
                remedy="Let decay be between 0 and 1, and last_share from 0 to 1",
            )
        if self.decay is not None and self.last_share:
            raise TrainingError(
                "the weights are to be averaged in two ways at once",
                remedy="Give --recipe.averaging.decay or --recipe.averaging.last_share",
            )

    @property
    def wanted(self) -> bool:
        return self.decay is not None or self.last_share > 0


class WeightAverage(nn.Module):
    """The average so far, as a model of its own.

    Args:
        model: Whose weights are averaged; it is copied.
        averaging: Which average.

    Attributes:
        model: The copy that has the average; in evaluation mode.
    """

    def __init__(self, model: Classifier, averaging: Averaging) -> None:
        super().__init__()
        self.averaging = averaging
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def train(self, mode: bool = True) -> WeightAverage:
        """Stays in evaluation mode, whatever the rest of a task does."""
        return super().train(False)

    @torch.no_grad()
    def update(self, model: Classifier, step: int, total: int) -> None:
        """Takes the weights after optimiser step `step`, of `total`, into the average."""
        ours, theirs = _numbers(self.model), _numbers(model)
        if self.averaging.decay is not None:
            count = int(self.updates)
            share = 1 - min(self.averaging.decay, (1 + count) / (10 + count))
        elif step <= total * (1 - self.averaging.last_share):
            torch._foreach_copy_(ours, theirs)
            return
        else:
            share = 1 / (1 + int(self.updates))
        torch._foreach_lerp_(ours, theirs, share)
        self.updates += 1

    @property
    def needs_statistics(self) -> bool:
        """Whether batch normalisation has statistics of weights that are not the average's."""
        return self.averaging.decay is None and int(self.updates) > 1


def estimate_statistics(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> None:
    """Gives batch normalisation the statistics of `batches` under the present weights: the mean over them.

    Nothing else changes, and all but batch normalisation computes as in evaluation. PyTorch's own helper knows only its
    own batch normalisation.
    """
    with _learning_statistics(model) as norms, torch.no_grad():
        for number, batch in enumerate(batches):
            for norm in norms:
                norm.momentum = 1 / (1 + number)
            model(batch.inputs.to(device), None if batch.mask is None else batch.mask.to(device))


@contextmanager
def _learning_statistics(model: nn.Module) -> Iterator[list[MaskedBatchNorm]]:
    norms = [module for module in model.modules() if isinstance(module, MaskedBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    was_training = [norm.training for norm in norms]
    for norm in norms:
        norm.training = True
    try:
        yield norms
    finally:
        for norm, momentum, training in zip(norms, momenta, was_training, strict=True):
            norm.momentum, norm.training = momentum, training


def _numbers(model: nn.Module) -> list[Tensor]:
    """Weights and running statistics."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]
