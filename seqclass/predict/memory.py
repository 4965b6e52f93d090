"""How much is scored at once: memory goes with residues, that of attention with their square."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqclass.blocks import TransformersEncoder
from seqclass.blocks.relative_attention import RelativeAttention
from seqclass.bundle import Bundle
from seqclass.errors import DeviceMemoryError
from seqclass.onnx_file import OnnxModel
from seqclass.predict.judge import best_device, judge
from seqclass.predict.turns import in_turn

# On a CPU a larger batch is no faster, and who shares the model waits longer for a turn.
_CPU_BATCH, _GPU_BATCH = 1 << 15, 1 << 18

# Attention scores every position against every other. So many positions, 32,768 bp of the original DNA model, took 1 GB
# to predict and 3 GB to explain; twice as many take four times that.
_ATTENTION_POSITIONS = 4096


def limit_exceeded(bundle: Bundle, length: int) -> int | None:
    """The most residues that attention takes as one sequence, where these are more; else None."""
    longest = bundle.model.longest
    # Asked of every sequence, and most are so short that the model need not be looked through.
    if length <= (_ATTENTION_POSITIONS if longest is None else min(longest, _ATTENTION_POSITIONS)):
        return None
    limit = attention_residues(bundle)
    if limit is not None and longest is not None:
        limit = min(limit, longest)
    return limit if limit is not None and length > limit else None


def batch_residues(device: torch.device) -> int:
    """How many residues are scored at once, padding included."""
    return _CPU_BATCH if device.type == "cpu" else _GPU_BATCH


def batch_size(bundle: Bundle, longest: int) -> int:
    """How many sequences of that length are scored at once."""
    size, limit = batch_residues(best_device()) // longest, attention_residues(bundle)
    return max(1, size if limit is None else min(size, (limit // longest) ** 2))


def attention_residues(bundle: Bundle) -> int | None:
    """The most residues of one sequence whose attention fits in memory, None where the model has none."""
    if isinstance(bundle.model, OnnxModel):
        return bundle.model.attention_residues
    if not any(isinstance(module, RelativeAttention | TransformersEncoder) for module in bundle.model.modules()):
        return None
    stride = max(layer.stride for layer in bundle.model.sequence_layers().values())
    return max(_ATTENTION_POSITIONS * stride, bundle.window or 0)


class Judge:
    """Judges batches in as many pieces as memory asks for: where a piece is too large it is halved, and so are those
    that come after it.

    Args:
        bundle: The model, in a block of `evaluating`.
        device: Where it is.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self._bundle, self._device = bundle, device
        self._residues = math.inf

    def __call__(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What `judge` says of inputs `(batch, length, ...)` and a mask `(batch, length)`, on the CPU.

        Raises:
            DeviceMemoryError: Memory is too small for a single sequence.
        """
        joint: list[Tensor] = []
        spread: list[Tensor] = []
        length, done = inputs.shape[1], 0
        while done < len(inputs):
            size = int(max(1, min(len(inputs) - done, self._residues // length)))
            judged = self._try(inputs[done : done + size], None if mask is None else mask[done : done + size])
            if judged is None:
                self._halve(size, length)
                continue
            joint.append(judged[0].cpu())
            spread += [] if judged[1] is None else [judged[1].cpu()]
            done += size
        return torch.cat(joint), torch.cat(spread) if spread else None

    def _try(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None] | None:
        """None where memory was too small. What was computed till then is free again once this has returned."""

        def work() -> tuple[Tensor, Tensor | None]:
            with torch.inference_mode():
                return judge(self._bundle, inputs.to(self._device), None if mask is None else mask.to(self._device))

        try:
            return in_turn(work)
        except torch.OutOfMemoryError:
            return None

    def _halve(self, size: int, length: int) -> None:
        if size == 1:
            raise DeviceMemoryError(
                f"the memory of {self._device} is too small for one sequence of {length:,} residues",
                remedy="Free some of it, run on the CPU (CUDA_VISIBLE_DEVICES=), or pass --length-policy tile",
            )
        self._residues = size // 2 * length
        torch.cuda.empty_cache()
