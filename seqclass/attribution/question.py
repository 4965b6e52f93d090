"""A question to a model, as it is put to each batch: a method, targets, and all that the method needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.alphabets import DNA, get_alphabet
from seqclass.attribution.deeplift import deeplift
from seqclass.attribution.grad_cam import CAMS, class_activation_map
from seqclass.attribution.gradients import corrected, gradient, mean_gradient, noisy, path
from seqclass.attribution.guided import guided_gradient
from seqclass.attribution.inputs import pad, soft
from seqclass.attribution.layers import Cut, Layer, to_residues
from seqclass.attribution.methods import Method
from seqclass.attribution.mutagenesis import mutate
from seqclass.attribution.occlusion import occlusion
from seqclass.attribution.references import generator_for, shuffle
from seqclass.attribution.rollout import attention_rollout
from seqclass.models import Classifier
from seqclass.models.strands import reverse_complement, to_front

# Of the range of the input, as in the paper's examples.
_NOISE = 0.15


class Draws(NamedTuple):
    """What a batch is compared with. Of each there are none where the method needs none.

    Attributes:
        references: `(references, batch, length, letters or numbers)`.
        nodes: `(references, points, batch)`: where on the way from each reference gradients are taken.
        weights: Of the nodes, the same shape.
        noise: `(copies, batch, length, letters or numbers)`.
    """

    references: Tensor
    nodes: Tensor
    weights: Tensor
    noise: Tensor


class Answer(NamedTuple):
    """Of a batch.

    Attributes:
        scores: `(targets, batch, length)`.
        contributions: `(targets, batch, length, letters or numbers)`, or None.
        expected: The difference of logits that contributions should add up to, `(targets, batch)`, or None.
    """

    scores: Tensor
    contributions: Tensor | None = None
    expected: Tensor | None = None


@dataclass
class Question:
    """What is asked of each batch; see `seqclass.attribution.attribute.attribute` for the arguments."""

    model: Classifier
    name: str
    method: Method
    columns: list[int]
    layers: list[Layer]
    reference: str | None
    num_references: int
    steps: int
    window: int
    correct_gradient: bool
    seed: int

    def draw(self, batch: list[NDArray[Any]], x: Tensor) -> Draws:
        """References, places and noise for a batch, which for each sequence follow from the seed and itself alone."""
        drawn = zip(*(self._draw_one(sequence, x.shape[1]) for sequence in batch), strict=True)
        return Draws(
            *(torch.stack(parts, dim=dim).to(x.device) for parts, dim in zip(drawn, (1, 2, 2, 1), strict=True))
        )

    def _draw_one(self, sequence: NDArray[Any], longest: int) -> Draws:
        generator = generator_for(sequence, self.seed)
        x = soft(self.model, sequence)
        if self.reference == "shuffled":
            alphabet = get_alphabet(self.model.alphabet)
            orders = [shuffle(sequence, alphabet, generator) for _ in range(self.num_references)]
            references = torch.stack([soft(self.model, order) for order in orders])
        else:
            value = 1 / x.shape[1] if self.reference == "uniform" else 0.0
            references = torch.full_like(x, value).expand(0 if self.reference is None else 1, -1, -1)
        if self.name == "gradient-shap":
            # One place in each part of the way: as random as anywhere, and the mean is nearer.
            places = (np.arange(self.steps) + generator.random((len(references), self.steps))) / self.steps
            shares = np.full(self.steps, 1 / self.steps)
        else:
            nodes, weights = np.polynomial.legendre.leggauss(self.steps)
            places, shares = np.broadcast_to((nodes + 1) / 2, (len(references), self.steps)), weights / 2
        copies = self.steps if self.name == "smoothgrad" else 0
        noise = torch.from_numpy(generator.standard_normal((copies, *x.shape), dtype=np.float32))
        return Draws(
            pad(references, longest),
            torch.from_numpy(places.astype(np.float32)),
            torch.from_numpy(np.broadcast_to(shares, places.shape).astype(np.float32)),
            pad(_NOISE * (x.max() - x.min()) * noise, longest),
        )

    def answer(self, x: Tensor, mask: Tensor | None, draws: Draws) -> Answer:
        """The answer for a batch; for DNA tokens the mean of both strands'."""
        here = self._answer(x, mask, draws)
        if self.model.input_kind == "vectors" or get_alphabet(self.model.alphabet) is not DNA:
            return here

        def turned(many: Tensor) -> Tensor:
            return torch.stack([reverse_complement(each, mask) for each in many]) if len(many) else many

        other = draws._replace(references=turned(draws.references), noise=turned(draws.noise))
        there = self._answer(reverse_complement(x, mask), mask, other)

        def mean(ours: Tensor, theirs: Tensor, *axes: int) -> Tensor:
            theirs = theirs.flip(axes)
            return (ours + (theirs if mask is None else torch.stack([to_front(each, mask) for each in theirs]))) / 2

        contributions = expected = None
        if here.contributions is not None and there.contributions is not None:
            contributions = mean(here.contributions, there.contributions, 2, 3)
        if here.expected is not None and there.expected is not None:
            expected = (here.expected + there.expected) / 2
        return Answer(mean(here.scores, there.scores, 2), contributions, expected)

    def _answer(self, x: Tensor, mask: Tensor | None, draws: Draws) -> Answer:
        """The answer for one strand."""
        if self.name in CAMS:
            return Answer(self._class_activation_maps(self.name, x, mask))
        if self.name == "mean-activation":
            return self._for_all_targets(self._mean_activation(x, mask))
        if self.name == "attention-rollout":
            return self._for_all_targets(attention_rollout(self.model, x, mask))
        if self.name == "occlusion":
            columns = torch.tensor(self.columns, device=x.device)
            falls = [occlusion(self.model, x, each, mask, columns, self.window) for each in draws.references]
            return Answer(torch.stack(falls).mean(dim=0))
        if self.name == "mutagenesis":
            return self._mutagenesis(x, mask)
        if self.method.complete:
            return self._share_out(x, mask, draws)
        if self.name in ("guided-backpropagation", "guided-grad-cam"):
            guided = torch.stack([guided_gradient(self.model, x, mask, column) for column in self.columns])
            if self.name == "guided-grad-cam":
                guided = guided * self._class_activation_maps("grad-cam", x, mask).unsqueeze(-1)
            return Answer(guided.abs().amax(dim=-1), guided)
        if self.name == "smoothgrad":
            slopes = [mean_gradient(self.model, noisy(x, draws.noise), mask, column) for column in self.columns]
        else:
            slopes = [gradient(self.model, x, mask, column) for column in self.columns]
        slope = self._corrected(torch.stack(slopes))
        if self.name == "input-x-gradient":
            return Answer((slope * x).sum(dim=-1), slope * x)
        return Answer(slope.abs().amax(dim=-1), slope)

    def _class_activation_maps(self, method: str, x: Tensor, mask: Tensor | None) -> Tensor:
        """Brought back to residues; of an ensemble, the sum over its members' layers."""
        columns = torch.tensor(self.columns, device=x.device)
        total = torch.zeros(len(columns), *x.shape[:2], device=x.device)
        for layer in self.layers:
            maps, real = class_activation_map(method, self.model, layer, x, mask, columns)
            total += to_residues(maps, x.shape[1], layer.spacing, real)
        return total

    def _mean_activation(self, x: Tensor, mask: Tensor | None) -> Tensor:
        maps = []
        with torch.no_grad():
            for layer in self.layers:
                cut = Cut(self.model, layer, x, mask)
                maps.append(to_residues(cut.activations.detach().mean(dim=2), x.shape[1], layer.spacing, cut.mask))
        return torch.stack(maps).mean(dim=0)

    def _mutagenesis(self, x: Tensor, mask: Tensor | None) -> Answer:
        """What each letter would add to the logit in place of the sequence's own, and what its own is worth."""
        largest, letter = x.max(dim=2)
        tokens = letter.masked_fill(largest < 1, x.shape[2])
        lengths = [x.shape[1]] * len(x) if mask is None else mask.sum(dim=1).tolist()
        effects = torch.zeros(len(self.columns), *x.shape, device=x.device)
        with torch.no_grad():
            for row, length in enumerate(lengths):
                reference, mutants = mutate(self.model, tokens[row, None, :length])
                effect = mutants[0].float() - reference[0].float()
                effects[:, row, :length] = effect[..., self.columns].movedim(2, 0)
        return Answer(-effects.mean(dim=3).masked_fill(largest < 1, 0), effects)

    def _share_out(self, x: Tensor, mask: Tensor | None, draws: Draws) -> Answer:
        """Contributions that add up to the difference from the mean of the references."""
        with torch.no_grad():
            after = self.model(x, mask)[:, self.columns]
            before = torch.stack([self.model(each, mask)[:, self.columns] for each in draws.references]).mean(dim=0)
        contributions = torch.zeros(len(self.columns), *x.shape, device=x.device)
        for row, column in enumerate(self.columns):
            for reference, nodes, weights in zip(draws.references, draws.nodes, draws.weights, strict=True):
                if self.name in ("deeplift", "deepshap"):
                    part = deeplift(self.model, x, reference, mask, column)
                else:
                    slope = mean_gradient(self.model, path(x, reference, nodes, weights), mask, column)
                    part = self._corrected(slope) * (x - reference)
                contributions[row] += part / len(draws.references)
        return Answer(contributions.sum(dim=-1), contributions, (after - before).T)

    def _corrected(self, slope: Tensor) -> Tensor:
        return corrected(slope) if self.correct_gradient else slope

    def _for_all_targets(self, scores: Tensor) -> Answer:
        return Answer(scores.expand(len(self.columns), -1, -1))
