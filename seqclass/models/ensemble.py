"""Several models as one: the mean of their probabilities, or a vote; and how far they disagree.

ProtENN is an ensemble of ProtCNNs that vote. Bileschi et al. 2022 (Nat. Biotechnol. 40, 932-937).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks import register_block
from seqclass.errors import AssemblyError, find_name
from seqclass.models.classifier import Classifier, Spacing
from seqclass.models.protcnn import protcnn
from seqclass.models.registry import register_model

VOTES = ("mean", "majority")


@register_block
class Ensemble(Classifier):
    """Models that answer the same questions, judged together; `(batch, num_targets)` logits of their joint probability.

    With M members, of which V favour a target (give it more than one half, or the most of its exclusive group), and
    whose mean probability for it is p, the joint probability is

        mean       p
        majority   (V + p) / (M + 1)

    In the second, more votes always win, and the mean decides between equal numbers of them.

    Args:
        members: Models of one alphabet, kind of input and number of targets. Those of a fixed length agree on it.
        vote: "mean" or "majority".
        exclusive: The columns of each group of targets of which exactly one is true; other targets are yes or no.

    Raises:
        AssemblyError: There are no members, two do not agree, or the columns do not exist.
        UnknownNameError: There is no such vote.
    """

    has_spread = True

    def __init__(
        self, members: Sequence[Classifier], vote: str = "mean", exclusive: Sequence[Sequence[int]] = ()
    ) -> None:
        super().__init__()
        if not members:
            raise AssemblyError("an ensemble without members", remedy="Give at least one model")
        vote = find_name("vote", vote, VOTES)
        if vote == "majority" and len(members) % 2 == 0:
            warnings.warn(
                f"{len(members)} members can be split evenly in a vote; then their mean probability decides. "
                "Take an odd number of them.",
                stacklevel=3,
            )
        for name in ("alphabet", "input_kind", "vector_size", "num_targets", "length"):
            values = {getattr(member, name) for member in members} - ({None} if name == "length" else set())
            if len(values) > 1:
                raise AssemblyError(
                    f"members of an ensemble differ in {name}: {' and '.join(sorted(map(str, values)))}",
                    remedy="Join models that take the same input and answer the same questions",
                )
        self.alphabet = members[0].alphabet
        self.input_kind = members[0].input_kind
        self.vector_size = members[0].vector_size
        self.length = next((member.length for member in members if member.length is not None), None)
        self.num_targets = members[0].num_targets
        columns = [column for group in exclusive for column in group]
        if len(set(columns)) != len(columns) or not set(columns) <= set(range(self.num_targets)):
            raise AssemblyError(
                f"exclusive groups of columns {columns} for {self.num_targets} targets",
                remedy="Let each column be in at most one group",
            )
        self.members = nn.ModuleList(members)
        self.vote = vote
        self.exclusive = [list(group) for group in exclusive]

    @property
    def longest(self) -> int | None:
        limits = [member.longest for member in self.members if isinstance(member, Classifier)]
        return min((limit for limit in limits if limit is not None), default=None)

    def set_prior(self, prevalence: Tensor) -> None:
        for member in self.members:
            assert isinstance(member, Classifier)
            member.set_prior(prevalence)

    def sequence_layers(self) -> dict[str, Spacing]:
        layers: dict[str, Spacing] = {}
        for number, member in enumerate(self.members):
            assert isinstance(member, Classifier)
            layers |= {f"members.{number}.{name}": spacing for name, spacing in member.sequence_layers().items()}
        return layers

    def constrain(self) -> None:
        for member in self.members:
            assert isinstance(member, Classifier)
            member.constrain()

    def penalised(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Joint logits, and the sum of the members' penalties."""
        each, penalties = [], []
        for member in self.members:
            assert isinstance(member, Classifier)
            logits, penalty = member.penalised(x, mask)
            each.append(logits)
            penalties.append(penalty)
        return self._joint_logits(each), sum(penalties)

    def combine(self, each: Tensor) -> Tensor:
        """The joint probabilities `(batch, targets)` of members' probabilities `(members, batch, targets)`."""
        mean = each.mean(dim=0)
        if self.vote == "mean":
            return mean
        votes = (each > 0.5).to(each.dtype)
        for group in self.exclusive:
            votes[..., group] = F.one_hot(each[..., group].argmax(dim=-1), len(group)).to(each.dtype)
        return (votes.sum(dim=0) + mean) / (len(each) + 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._joint_logits([member(x, mask) for member in self.members])

    def _joint_logits(self, each: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack([logits.float() for logits in each])
        # A copy, because the sigmoid's gradient is computed from its output, which stays as it is.
        probabilities = torch.sigmoid(stacked).clone()
        for group in self.exclusive:
            probabilities[..., group] = torch.softmax(stacked[..., group], dim=-1)
        joint = self.combine(probabilities)
        logits = torch.logit(joint, eps=1e-7)
        for group in self.exclusive:
            logits[..., group] = joint[..., group].clamp_min(1e-30).log()
        return logits


@register_model
def protenn(
    num_targets: int,
    alphabet: str = "protein",
    members: int = 3,
    vote: Literal["mean", "majority"] = "mean",
    channels: int = 1100,
    bottleneck: int = 550,
    kernel_size: int = 9,
    dilations: Sequence[int] = (1, 1, 3, 9, 27),
    exclusive: Sequence[Sequence[int]] = (),
) -> Ensemble:
    """ProtENN: several ProtCNNs that differ in their initial weights.

    Trained as one model, the members learn together. To join models that were trained one by one, whatever they are,
    use `seqclass.ensemble.join_bundles` or `seqclass models join`.

    Args:
        num_targets: Number of logits.
        alphabet: "protein" or "dna".
        members: How many; an odd number, so that a vote is decided.
        vote: Whether the mean of the probabilities counts, or the "majority".
        channels: Width of the trunks.
        bottleneck: Width inside the blocks.
        kernel_size: Of the first and of the dilated convolutions.
        dilations: One for each block.
        exclusive: The columns of each group of targets of which exactly one is true, such as the families of Pfam.

    Raises:
        AssemblyError: There are no members, or the columns do not exist.
        UnknownNameError: There is no such vote.
    """
    trunks = [protcnn(num_targets, alphabet, channels, bottleneck, kernel_size, dilations) for _ in range(members)]
    return Ensemble(trunks, vote, exclusive)
