"""DeepSEA: three convolution stages and a dense layer. Zhou and Troyanskaya 2015 (Nat. Methods 12, 931-934)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from seqclass.alphabets import get_alphabet
from seqclass.blocks import ConvolutionStages, Flatten, MLPHead, OneHotEmbedding, register_block
from seqclass.errors import AssemblyError
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.registry import register_model


@register_block
class DeepSEA(SequenceClassifier):
    """One-hot letters, [conv, ReLU, max-pool, dropout] * 3, dense, ReLU, linear.

    The published model was held back in three ways, all off by default: the length of each unit's incoming weight
    vector was bounded (by .9), and to the loss were added the squares of the weights (times 5e-7) and the activations
    of the dense layer (times 1e-8). The recipe's weight decay is another thing: AdamW's.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: The one length it takes, in residues.
        widths: Output channels of the three stages.
        kernel_size: Of the convolutions.
        pools: Positions pooled at the end of each stage.
        dropouts: Share of values dropped at the end of each stage.
        hidden: Units of the dense layer.
        max_norm: Bound of the Euclidean length of each unit's weight vector, None for none.
        l1: Weight in the loss of the sum of a sample's activations of the dense layer.
        l2: Weight in the loss of the sum of all squared weights.

    Raises:
        AssemblyError: The length is too short, or one of the last three is out of range.
    """

    embedding: OneHotEmbedding
    stem: ConvolutionStages
    head: MLPHead

    def __init__(
        self,
        num_targets: int,
        alphabet: str = "dna",
        length: int = 1000,
        widths: Sequence[int] = (320, 480, 960),
        kernel_size: int = 8,
        pools: Sequence[int] = (4, 4, 1),
        dropouts: Sequence[float] = (0.2, 0.2, 0.5),
        hidden: int = 925,
        max_norm: float | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        if (max_norm is not None and max_norm <= 0) or l1 < 0 or l2 < 0:
            raise AssemblyError(
                f"weight vectors bounded by {max_norm}, penalties l1 {l1} and l2 {l2}",
                remedy="Let the bound be positive or None, and the penalties at least 0",
            )
        letters = OneHotEmbedding(alphabet)
        stem = ConvolutionStages(letters.out_channels, widths, kernel_size, pools, dropouts)
        head = MLPHead(stem.out_channels, num_targets, Flatten(stem.out_length(length)), (hidden,))
        super().__init__(letters, stem, None, head, None, letters.letters.name, length)
        self.max_norm = max_norm
        self.l1 = l1
        self.l2 = l2

    def penalised(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Logits, and the two penalties of the loss."""
        hidden = self.head.hidden(*self.features(x, mask))
        penalty: Tensor | float = 0.0
        if self.l1:
            penalty = penalty + self.l1 * hidden.abs().sum(dim=1).mean()
        if self.l2:
            penalty = penalty + self.l2 * torch.stack([weight.square().sum() for weight in self._weights()]).sum()
        return self.head.out(hidden), penalty

    def constrain(self) -> None:
        """Shortens weight vectors that have grown longer than `max_norm`."""
        if self.max_norm is None:
            return
        with torch.no_grad():
            for weight in self._weights():
                weight.copy_(weight.renorm(2, 0, self.max_norm))

    def _weights(self) -> Iterator[Tensor]:
        return (parameter for name, parameter in self.named_parameters() if name.endswith("weight"))


@register_model
def deepsea(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    widths: Sequence[int] = (320, 480, 960),
    kernel_size: int = 8,
    hidden: int = 925,
    max_norm: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
) -> DeepSEA:
    """DeepSEA: 52,843,119 parameters at 919 targets and 1,000 bp.

    `load_channels_first` takes over weights of the published layout.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample, all of one length.
        widths: Output channels of the three stages.
        kernel_size: Of the convolutions.
        hidden: Units of the dense layer.
        max_norm: Bound of the length of each unit's weight vector; .9 as published.
        l1: Weight in the loss of the dense layer's activations; 1e-8 as published.
        l2: Weight in the loss of the squared weights; 5e-7 as published.

    Raises:
        AssemblyError: Samples are of no one length, or too short.
    """
    return DeepSEA(
        num_targets,
        get_alphabet(alphabet).name,
        one_length("deepsea", length),
        widths,
        kernel_size,
        hidden=hidden,
        max_norm=max_norm,
        l1=l1,
        l2=l2,
    )


def one_length(model: str, length: int | None) -> int:
    """The length of all samples, for a model that flattens positions.

    Raises:
        AssemblyError: There is none.
    """
    if length is None:
        raise AssemblyError(
            f"samples differ in length, and {model} takes one",
            remedy="Import the data with one window, or choose a model for any length, such as protcnn",
        )
    return length
