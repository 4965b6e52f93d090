"""Functions of PyTorch given another backward pass, wherever a model calls them: as a module, a function or a method.

Hooks on modules do not see a `torch.relu` written in a forward pass, and say nothing; this does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Substitute = Callable[..., Any]


class Substituting(TorchFunctionMode):
    """Within the block, functions whose name is in the table are replaced.

    Args:
        table: From a function's name, such as "relu", to what is called in its place, with the same arguments.

    Attributes:
        met: Names of the functions that were replaced.
    """

    def __init__(self, table: Mapping[str, Substitute]) -> None:
        super().__init__()
        self._table = table
        self.met: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        substitute = self._table.get(name)
        if substitute is None:
            return func(*args, **(kwargs or {}))
        self.met.add(name)
        return substitute(*args, **(kwargs or {}))


def attention_of(matmul: Callable[[Tensor, Tensor], Tensor], softmax: Callable[[Tensor], Tensor]) -> Substitute:
    """`torch.nn.functional.scaled_dot_product_attention` written out, in terms of the two given functions."""

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        scores = matmul(query * scale, key.transpose(-2, -1))
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None:
            is_choice = attn_mask.dtype is torch.bool
            scores = scores.masked_fill(~attn_mask, float("-inf")) if is_choice else scores + attn_mask
        return matmul(softmax(scores), value)

    return attention
