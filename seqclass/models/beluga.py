"""Beluga: pairs of convolutions over 2,000 bp, the network behind ExPecto. Zhou et al. 2018 (Nat. Genet. 50, 1171)."""

from __future__ import annotations

from collections.abc import Sequence

from seqclass.alphabets import get_alphabet
from seqclass.blocks import ConvolutionStages, Flatten, MLPHead, OneHotEmbedding
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.deepsea import one_length
from seqclass.models.registry import register_model


@register_model
def beluga(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 2000,
    widths: Sequence[int] = (320, 480, 640),
    kernel_size: int = 8,
    hidden: int = 2003,
) -> SequenceClassifier:
    """Beluga: 149,536,251 parameters at 2,002 targets and 2,000 bp.

    One-hot letters, [conv, ReLU, conv, ReLU, max-pool, dropout] * 3 (no pooling in the last), dense, ReLU, linear.
    `load_channels_first` takes over weights of the published layout.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample, all of one length.
        widths: Output channels of the three stages.
        kernel_size: Of the convolutions.
        hidden: Units of the dense layer.

    Raises:
        AssemblyError: Samples are of no one length, or too short.
    """
    letters, length = OneHotEmbedding(get_alphabet(alphabet).name), one_length("beluga", length)
    stem = ConvolutionStages(letters.out_channels, widths, kernel_size, (4, 4, 1), (0.2, 0.2, 0.5), convolutions=2)
    head = MLPHead(stem.out_channels, num_targets, Flatten(stem.out_length(length)), (hidden,))
    return SequenceClassifier(letters, stem, None, head, None, letters.letters.name, length)
