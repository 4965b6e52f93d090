"""Grad-CAM in one dimension: which stretches of a sequence speak for a target.

The activations A `(batch, positions, channels)` of a layer and the gradient G of a target's logit there make a map over
positions:

    grad-cam        relu( sum_c w_c A_c ),  w_c = mean_positions(G)_c       Selvaraju et al. 2017 (arXiv:1610.02391)
    grad-cam-relu   sum_c relu( w_c A_c )                                   each channel may only speak for the target
    grad-cam++      relu( sum_c v_c A_c ),  v_c = sum_positions(a relu(G))_c,
                    a = G^2 / (2 G^2 + sum_positions(A) G^3)                Chattopadhyay et al. 2018 (arXiv:1710.11063)
    hirescam        sum_c G_c A_c                                           Draelos and Carin 2020 (arXiv:2011.08891)

Averaging the gradient over positions is faithful only where the head treats all positions alike. Under a flattening or
maximum head HiResCAM is: it adds up to what the layer contributes. Its negative parts speak against.

Of many targets, the gradient is not taken one by one. The mean over positions is linear in the gradient, so that its
element for channel c is, of all targets at once, the derivative of the logits along "channel c everywhere", and
HiResCAM's for position j that along the activations of position j: as many passes forward as there are channels, or
positions. If the targets are fewer, or the map is not linear in the gradient, as many passes backward as targets are
run side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqclass.attribution.layers import Cut, Layer
from seqclass.blocks import TransformersEncoder
from seqclass.models import Classifier

CAMS = ("grad-cam", "grad-cam-relu", "grad-cam++", "hirescam")

# Numbers of activations that are differentiated side by side; about twenty times as many are held.
_SIDE_BY_SIDE = 1 << 22


def class_activation_map(
    method: str, model: Classifier, layer: Layer, x: Tensor, mask: Tensor | None, columns: Tensor
) -> tuple[Tensor, Tensor | None]:
    """A map for each target, over the layer's positions.

    Args:
        method: One of `CAMS`.
        model: In evaluation mode.
        layer: Whose activations are used.
        x: What the model takes.
        mask: `(batch, length)`, or None.
        columns: `(targets,)` of the logits.

    Returns:
        `(targets, batch, positions)`, zero at padding, and the layer's mask `(batch, positions)`.
    """
    # The fused kernels of attention can neither be vectorised over nor differentiated forward.
    with sdpa_kernel(SDPBackend.MATH):
        cut = Cut(model, layer, x, mask)
        activations = _zeroed(cut.activations.detach(), cut.mask)
        directions = activations.shape[1 if method == "hirescam" else 2]
        if method != "grad-cam++" and directions < len(columns) and _can_run_forward(model):
            parts = _forward(method, cut, activations, columns)
        else:
            parts = _backward(method, cut, activations, columns)
    if method == "hirescam":
        return parts, cut.mask
    if method == "grad-cam-relu":
        # A channel at a time would be too slow, all targets at once too much.
        maps = torch.stack([torch.relu(activations * weights.unsqueeze(1)).sum(dim=2) for weights in parts])
    else:
        maps = torch.relu(torch.einsum("bpc,tbc->tbp", activations, parts))
    return maps, cut.mask


def _can_run_forward(model: nn.Module) -> bool:
    """Whether every part of the model has a derivative in forward mode."""
    return not any(isinstance(module, nn.RNNBase | TransformersEncoder) for module in model.modules())


def _forward(method: str, cut: Cut, activations: Tensor, columns: Tensor) -> Tensor:
    """What `_backward` gives, by passes forward: `(targets, batch, channels or positions)`."""
    batch, positions, channels = activations.shape
    real = _zeroed(torch.ones_like(activations[:, :, :1]), cut.mask)
    count = positions if method == "hirescam" else channels
    step = max(1, _SIDE_BY_SIDE // activations.numel())

    def derivative(direction: Tensor) -> Tensor:
        slopes: Tensor = torch.func.jvp(cut, (cut.activations.detach(),), (direction,))[1]
        return slopes[:, columns]

    derivatives = []
    with torch.no_grad():
        for begin in range(0, count, step):
            chosen = torch.eye(count, device=activations.device, dtype=activations.dtype)[begin : begin + step]
            if method == "hirescam":
                along = activations * chosen[:, None, :, None]
            else:
                along = real * chosen[:, None, None, :].expand(-1, batch, positions, -1)
            derivatives.append(torch.func.vmap(derivative)(along))
    found = torch.cat(derivatives).permute(2, 1, 0)
    return found if method == "hirescam" else found / _count(cut.mask, activations)


def _backward(method: str, cut: Cut, activations: Tensor, columns: Tensor) -> Tensor:
    """Weights of channels `(targets, batch, channels)`, or for HiResCAM its maps `(targets, batch, positions)`."""
    step = max(1, _SIDE_BY_SIDE // activations.numel())
    batch, targets = cut.logits.shape
    found = []
    for some in torch.split(columns, step):
        chosen = torch.eye(targets, device=activations.device, dtype=activations.dtype)[some]
        (gradient,) = torch.autograd.grad(
            cut.logits,
            cut.activations,
            chosen.unsqueeze(1).expand(-1, batch, -1),
            retain_graph=True,
            is_grads_batched=True,
        )
        gradient = _zeroed(gradient, cut.mask)
        if method == "hirescam":
            found.append((gradient * activations).sum(dim=3))
        elif method == "grad-cam++":
            square = gradient.square()
            below = 2 * square + activations.sum(dim=1, keepdim=True) * square * gradient
            share = torch.where(below == 0, 0, square / torch.where(below == 0, 1, below))
            found.append((share * torch.relu(gradient)).sum(dim=2))
        else:
            found.append(gradient.sum(dim=2) / _count(cut.mask, activations))
    return torch.cat(found)


def _zeroed(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask.unsqueeze(-1)


def _count(mask: Tensor | None, activations: Tensor) -> Tensor | int:
    """Real positions, `(batch, 1)` or one number for all."""
    return activations.shape[1] if mask is None else mask.sum(dim=1, keepdim=True).clamp_min(1)
