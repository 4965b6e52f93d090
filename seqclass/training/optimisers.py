"""Optimisers by name, with weight decay and learning rates by depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from seqclass.errors import TrainingError
from seqclass.training.apex import OPTIMISERS as APEX
from seqclass.training.apex import import_apex
from seqclass.training.lamb import Lamb
from seqclass.training.stages import backbone_and_head, stages


@dataclass
class Optimiser:
    """Which optimiser, and how it treats different weights.

    Args:
        kind: "adamw" (Loshchilov and Hutter 2019, arXiv:1711.05101), "adam", "sgd" with momentum, "rmsprop", "lamb"
            (You et al. 2020, arXiv:1904.00962), or one of NVIDIA Apex's: "apex-adam", "apex-lamb", "apex-sgd".
        weight_decay: Of all weights but biases and norms; decoupled from the gradient in adamw, lamb
            and apex-adam.
        momentum: Of sgd and rmsprop.
        backbone_rate: All before the head learns so many times as fast as the head: 1 for no difference, about .1 for a
            pretrained backbone under a fresh head.
        layer_decay: Each stage of the model learns so many times as fast as the next one towards the head, which learns
            at the full rate; 1 for no difference. Howard and Ruder 2018 (arXiv:1801.06146).
        unfreeze_steps: The head alone learns at first; after each so many optimiser steps, so does one stage more (the
            same paper). None for all from the start.

    Raises:
        TrainingError: A number is out of range.
    """

    kind: Literal["adamw", "adam", "sgd", "rmsprop", "lamb", "apex-adam", "apex-lamb", "apex-sgd"] = "adamw"
    weight_decay: float = 0.01
    momentum: float = 0.9
    backbone_rate: float = 1.0
    layer_decay: float = 1.0
    unfreeze_steps: int | None = None

    def __post_init__(self) -> None:
        if (
            self.weight_decay < 0
            or not 0 <= self.momentum < 1
            or not 0 < self.backbone_rate <= 1
            or not 0 < self.layer_decay <= 1
            or (self.unfreeze_steps is not None and self.unfreeze_steps < 1)
        ):
            raise TrainingError(
                f"an optimiser with weight_decay {self.weight_decay}, momentum {self.momentum}, backbone_rate "
                f"{self.backbone_rate}, layer_decay {self.layer_decay} and unfreeze_steps {self.unfreeze_steps}",
                remedy="Let weight_decay be at least 0, momentum in [0, 1), backbone_rate and layer_decay in (0, 1], "
                "unfreeze_steps at least 1",
            )


def decayed_weights(model: nn.Module) -> frozenset[str]:
    """Names of the weights that weight decay shrinks: matrices and filters, neither biases nor norms."""
    return frozenset(
        name for name, weight in model.named_parameters() if weight.dim() > 1 and not name.endswith("bias")
    )


def build_optimiser(
    options: Optimiser,
    model: nn.Module,
    learning_rate: float,
    fused: bool = True,
    decayed: frozenset[str] | None = None,
) -> torch.optim.Optimizer:
    """An optimiser of the weights that are to be trained.

    Each of its parameter groups says under "depth" how many stages lie between it and the head: 0 at the head.

    Args:
        options: Which.
        model: Weights that need no gradient are left out.
        learning_rate: Of the head.
        fused: Whether AdamW and Adam may update all weights in one kernel, which does not go with scaled gradients.
        decayed: `decayed_weights` of the model before it was spread over processes, where weights lose their shape.

    Raises:
        TrainingError: There is nothing to train or, for `backbone_rate`, no backbone; or it is one of Apex's, and there
            is no Apex.
    """
    groups = _groups(options, model, learning_rate, decayed_weights(model) if decayed is None else decayed)
    if not groups:
        raise TrainingError("all weights of the model are frozen", remedy="Let at least its head be trained")
    decay, momentum = options.weight_decay, options.momentum
    if options.kind in APEX:
        instead = f"--recipe.optimiser.kind {options.kind.removeprefix('apex-').replace('adam', 'adamw')}"
        build = getattr(import_apex("optimizers", instead), APEX[options.kind])
        more = {"momentum": momentum} if options.kind == "apex-sgd" else {}
        made: torch.optim.Optimizer = build(groups, lr=learning_rate, weight_decay=decay, **more)
        return made
    if options.kind == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=decay, fused=fused)
    if options.kind == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, weight_decay=decay, fused=fused)
    if options.kind == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, weight_decay=decay, momentum=momentum)
    if options.kind == "rmsprop":
        return torch.optim.RMSprop(groups, lr=learning_rate, weight_decay=decay, momentum=momentum)
    return Lamb(groups, lr=learning_rate, weight_decay=decay)


def _groups(
    options: Optimiser, model: nn.Module, learning_rate: float, decayed: frozenset[str]
) -> list[dict[str, Any]]:
    by_depth = options.layer_decay < 1 or options.unfreeze_steps is not None
    backbone, head = backbone_and_head(model)
    if options.backbone_rate < 1 and not backbone:
        raise TrainingError(
            "the backbone is to learn at a rate of its own, and nothing comes before the model's last part",
            remedy="Leave out --recipe.optimiser.backbone_rate",
        )
    if by_depth:
        parts = stages(model)
    else:
        parts = [[*backbone, *head]] if options.backbone_rate == 1 else [backbone, head]
    in_head = {name for name, _ in head}
    groups = []
    for depth, part in enumerate(reversed(parts)):
        trained = [(name, weight) for name, weight in part if weight.requires_grad]
        matrices = [weight for name, weight in trained if name in decayed]
        others = [weight for name, weight in trained if name not in decayed]
        rate = learning_rate * options.layer_decay**depth
        if part[0][0] not in in_head:
            rate *= options.backbone_rate
        groups += [
            {"params": weights, "lr": rate, "weight_decay": decay, "depth": depth}
            for weights, decay in ((matrices, options.weight_decay), (others, 0.0))
            if weights
        ]
    return groups
