"""Attention rollout: how much of each position attention carries to the top. Abnar and Zuidema 2020 (arXiv:2005.00928).

    R = prod over layers of (mean over heads of the attention + identity) / 2

It says where the encoder looks, for all targets alike: what a target makes of it is not in it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.attribution.layers import to_residues
from seqclass.attribution.substitution import Substituting, attention_of
from seqclass.blocks import TransformersEncoder
from seqclass.blocks.masking import masked_mean
from seqclass.errors import AssemblyError
from seqclass.models import Classifier, Ensemble, SequenceClassifier


def attention_rollout(model: Classifier, x: Tensor, mask: Tensor | None) -> Tensor:
    """The share of each residue in what leaves the encoder, `(batch, length)`: the mean over positions that leave it.

    Where the encoder gives one vector for the sequence, the share in that vector.

    Args:
        model: In evaluation mode; of an ensemble, the mean over the members that attend.
        x: What it takes.
        mask: `(batch, length)`, or None.

    Raises:
        AssemblyError: Nothing in the model attends.
    """
    members = (
        [part for part in model.members if isinstance(part, Classifier)] if isinstance(model, Ensemble) else [model]
    )
    found = [each for each in (_of_one(member, x, mask) for member in members) if each is not None]
    if not found:
        raise AssemblyError(
            "attention rollout follows attention, of which the model has none",
            remedy="Choose mean-activation, which needs only a layer, or integrated-gradients",
        )
    return torch.stack(found).mean(dim=0)


def _of_one(model: Classifier, x: Tensor, mask: Tensor | None) -> Tensor | None:
    encoder = model.encoder if isinstance(model, SequenceClassifier) else None
    if encoder is None:
        return None
    attended: list[Tensor] = []
    received: list[tuple[Tensor, Tensor | None]] = []

    def softmax(scores: Tensor, *options: Any, **named: Any) -> Tensor:
        named.setdefault("dim", -1)
        weights = F.softmax(scores, *options, **named)
        # Attention over positions; others are poolings.
        if scores.dim() == 4 and scores.shape[-1] == scores.shape[-2]:
            attended.append(weights)
        return weights

    def receive(_: nn.Module, given: tuple[Any, ...]) -> None:
        received.append((given[0], given[1]))

    table = {"scaled_dot_product_attention": attention_of(torch.matmul, softmax), "softmax": softmax}
    hook = encoder.register_forward_pre_hook(receive)
    try:
        with torch.no_grad(), Substituting(table):
            model(x, mask)
    finally:
        hook.remove()
    if not attended:
        return None
    identity = torch.eye(attended[0].shape[-1], device=x.device)
    rolled = identity.expand(len(x), -1, -1)
    for weights in attended:
        rolled = (weights.mean(dim=1) + identity) / 2 @ rolled
    (vectors, real) = received[0]
    first, positions = 0, vectors.shape[1]
    whole = False
    if isinstance(encoder, TransformersEncoder):
        first, whole = encoder.before, encoder.whole
    residues = rolled[:, :, first : first + positions]
    if whole:
        shares = residues[:, 0]
    else:
        shares = masked_mean(residues[:, first : first + positions], real)
    spacing = model.sequence_layers()["embedding" if model.stem is None else "stem"]
    return to_residues(shares, x.shape[1], spacing, real)
