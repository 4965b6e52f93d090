"""Grad-CAM in one dimension: which stretches of a sequence speak for a target.

The activations A `(batch, positions, channels)` of a layer and the gradient G of a target's logit there make a map over
positions, which is brought back to residues by linear interpolation between the positions' centres.

    grad-cam    relu( sum_c mean_positions(G)_c * A_c )   Selvaraju et al. 2017 (arXiv:1610.02391)
    hirescam    sum_c G_c * A_c                           Draelos and Carin 2020 (arXiv:2011.08891)

Grad-CAM averages the gradient over positions, which is faithful only where the head treats all positions alike. Under a
flattening or maximum head HiResCAM is: it adds up to what the layer contributes. Its negative parts speak against.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.alphabets import DNA, Tokens
from seqclass.bundle import Bundle
from seqclass.errors import find_name
from seqclass.models import Spacing
from seqclass.models.strands import reverse_complement
from seqclass.predict import evaluating

METHODS = ("grad-cam", "hirescam")

_BATCH_RESIDUES = 1 << 17


def grad_cam(
    bundle: Bundle, tokens: Tokens, target: int, *, method: str = "grad-cam", layer: str = "stem"
) -> NDArray[np.float32]:
    """Saliency of each residue for one target, the mean of the maps of both strands for DNA.

    Args:
        bundle: The model; it is left as it was found.
        tokens: `(sequences, length)`, of a length that the model takes.
        target: Index of the target.
        method: "grad-cam" or "hirescam".
        layer: The sequence block whose activations are used.

    Returns:
        `(sequences, length)`; not negative for Grad-CAM, signed for HiResCAM.

    Raises:
        UnknownNameError: There is no such layer or method.
    """
    method = find_name("method", method, METHODS)
    layers = bundle.model.sequence_layers()
    layer = find_name("layer", layer, layers)
    maps = np.empty(tokens.shape, dtype=np.float32)
    step = max(1, _BATCH_RESIDUES // tokens.shape[1])
    with evaluating(bundle.model) as device, torch.enable_grad():
        for begin in range(0, len(tokens), step):
            batch = torch.from_numpy(np.ascontiguousarray(tokens[begin : begin + step])).to(device)
            saliency = _map(bundle.model, batch, target, method, layer, layers[layer])
            if bundle.alphabet is DNA:
                other = _map(bundle.model, reverse_complement(batch), target, method, layer, layers[layer])
                saliency = (saliency + other.flip(1)) / 2
            maps[begin : begin + step] = saliency.cpu().numpy()
    return maps


def _map(model: nn.Module, tokens: Tensor, target: int, method: str, layer: str, spacing: Spacing) -> Tensor:
    """The map of one strand, `(batch, length)`."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        activations, mask = output
        if not activations.requires_grad:
            activations.requires_grad_()
        kept.append(activations)
        return activations, mask

    hook = model.get_submodule(layer).register_forward_hook(keep)
    try:
        logits = model(tokens)
        (gradient,) = torch.autograd.grad(logits[:, target].sum(), kept[0])
    finally:
        hook.remove()
    activations = kept[0].detach()
    if method == "grad-cam":
        positions = torch.relu((activations * gradient.mean(dim=1, keepdim=True)).sum(dim=2))
    else:
        positions = (activations * gradient).sum(dim=2)
    return to_residues(positions, tokens.shape[1], *spacing)


def to_residues(positions: Tensor, length: int, stride: int, offset: float = 0.0) -> Tensor:
    """From `(batch, positions)` to `(batch, length)`, linear between positions and constant beyond the outer ones.

    Position j lies on residue `offset + stride * j`.
    """
    place = ((torch.arange(length, device=positions.device) - offset) / stride).clamp(0, positions.shape[1] - 1)
    left = place.floor().long()
    right = (left + 1).clamp_max(positions.shape[1] - 1)
    weight = place - left
    return positions[:, left] * (1 - weight) + positions[:, right] * weight
