"""DanQ: a convolution finds motifs, an LSTM reads their order. Quang and Xie 2016 (Nucleic Acids Res. 44, e107)."""

from __future__ import annotations

from seqclass.alphabets import get_alphabet
from seqclass.blocks import BiLSTMEncoder, ConvolutionStages, Flatten, MLPHead, OneHotEmbedding
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.deepsea import one_length
from seqclass.models.registry import register_model


@register_model
def danq(
    num_targets: int,
    alphabet: str = "dna",
    length: int | None = 1000,
    channels: int = 320,
    kernel_size: int = 26,
    pool: int = 13,
    units: int = 320,
    encoder_dropout: float = 0.5,
    hidden: int = 925,
) -> SequenceClassifier:
    """DanQ: 46,929,039 parameters at 919 targets and 1,000 bp; 2,560 of them are the second LSTM bias of PyTorch.

    One-hot letters, conv, ReLU, max-pool, dropout, bidirectional LSTM, dropout of channels, dense, ReLU, linear.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        length: Residues of a sample, all of one length.
        channels: Motifs, of `kernel_size` residues each.
        kernel_size: Of the convolution.
        pool: Positions pooled after it.
        units: Of each direction of the LSTM.
        encoder_dropout: Share of the LSTM's channels dropped.
        hidden: Units of the dense layer.

    Raises:
        AssemblyError: Samples are of no one length, or too short.
    """
    letters, length = OneHotEmbedding(get_alphabet(alphabet).name), one_length("danq", length)
    stem = ConvolutionStages(letters.out_channels, (channels,), kernel_size, (pool,), (0.2,))
    encoder = BiLSTMEncoder(channels, units, 1, "concatenate", norm=False, dropout=encoder_dropout)
    head = MLPHead(encoder.out_channels, num_targets, Flatten(stem.out_length(length)), (hidden,))
    return SequenceClassifier(letters, stem, encoder, head, None, letters.letters.name, length)
