"""Which of 919 chromatin features does this window of 1,000 bp carry? WideResNet and bidirectional LSTM.

Data      DeepSEA: Zhou and Troyanskaya 2015 (Nat. Methods 12, 931-934); 4.4 million windows, chromosomes 8 and 9 for
          the test.
          seqclass data import deepsea --train train.mat --valid valid.mat --test test.mat --out deepsea.h5
Model     Learned embedding, wide residual blocks with squeeze-excitation (Zagoruyko and Komodakis 2016,
          arXiv:1605.07146), a bidirectional LSTM whose directions are added, a dense head on both.
Expect    Published means over 918 targets, both strands averaged: AUROC .933 and average precision .343 of DeepSEA,
          .938 and .371 of DanQ. A GPU: on the CPU an epoch takes days.

    python experiments/deepsea_wrn_bilstm.py fit --fast
    python experiments/deepsea_wrn_bilstm.py fit --data.store deepsea.h5
    python experiments/deepsea_wrn_bilstm.py test --data.store deepsea.h5
    python experiments/deepsea_wrn_bilstm.py predict windows.fasta
"""

from pathlib import Path

from seqclass.blocks import BiLSTMEncoder, DenseHead, Flatten, LearnedEmbedding, WideResNetStem
from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.sources.deepsea import import_deepsea
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    length: int,
    channels: int = 64,
    widths: tuple[int, ...] = (64, 128, 256),
    expansion: int = 16,
    units: int = 256,
    layers: int = 1,
    hidden: int = 512,
    dropout: float = 0.3,
) -> SequenceClassifier:
    """The DNA model with an LSTM in place of attention.

    Args:
        num_targets: Number of logits.
        length: Of a window, in bp.
        channels: Channels of the embedding and of the first convolution.
        widths: Output channels of the residual blocks; each halves the length.
        expansion: Width factor of the residual blocks.
        units: Of each direction of the LSTM.
        layers: LSTM layers.
        hidden: Units of the head's dense layer.
        dropout: Share of them dropped.
    """
    stem = WideResNetStem(channels, channels, widths, [2] * len(widths), expansion)
    encoder = BiLSTMEncoder(widths[-1], units, layers, dropout=0.1)
    head = DenseHead(widths[-1] + encoder.out_channels, num_targets, Flatten(stem.out_length(length)), hidden, dropout)
    return SequenceClassifier(LearnedEmbedding(channels, "dna"), stem, encoder, head, "concatenate", "dna", length)


def simulate(raw: Path, store: Path) -> None:
    """Windows with planted motifs, in DeepSEA's three MATLAB files."""
    simulate_deepsea(raw, train=200, valid=100, test=100, targets=4, force=True)
    import_deepsea(store, **{split: raw / f"{split}.mat" for split in ("train", "valid", "test")}, force=True)


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 10, "data.batch_size": 1024}
    small = {"model.channels": 8, "model.widths": (8, 8, 16), "model.expansion": 2, "model.units": 8}
    rehearsal = Rehearsal(simulate, {**small, "model.hidden": 16, "data.batch_size": 32})
    run_experiment(model, name="deepsea_wrn_bilstm", defaults=defaults, rehearsal=rehearsal)
