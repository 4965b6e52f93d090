"""Which of 919 chromatin features does this window of 1,000 bp carry? DanQ.

Data      DeepSEA: Zhou and Troyanskaya 2015 (Nat. Methods 12, 931-934); 4.4 million windows, chromosomes 8 and 9 for
          the test.
          seqclass data import deepsea --train train.mat --valid valid.mat --test test.mat --out deepsea.h5
Model     DanQ: Quang and Xie 2016 (Nucleic Acids Res. 44, e107); a convolution finds motifs, a bidirectional LSTM reads
          their order: 46,929,039 parameters.
Expect    Published means over 918 targets, both strands averaged: AUROC .938, average precision .371. A GPU: on the CPU
          an epoch takes days.

    python experiments/deepsea_danq.py fit --fast
    python experiments/deepsea_danq.py fit --data.store deepsea.h5
    python experiments/deepsea_danq.py test --data.store deepsea.h5
    python experiments/deepsea_danq.py predict windows.fasta
"""

from pathlib import Path

from seqclass.blocks import BiLSTMEncoder, ConvolutionStages, Flatten, MLPHead, OneHotEmbedding
from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.sources.deepsea import import_deepsea
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    length: int,
    channels: int = 320,
    kernel_size: int = 26,
    pool: int = 13,
    units: int = 320,
    hidden: int = 925,
) -> SequenceClassifier:
    """DanQ.

    Args:
        num_targets: Number of logits.
        length: Of a window, in bp.
        channels: Motifs.
        kernel_size: Of each, in bp.
        pool: Positions pooled after the convolution.
        units: Of each direction of the LSTM.
        hidden: Units of the dense layer.
    """
    stem = ConvolutionStages(4, (channels,), kernel_size, (pool,), (0.2,))
    encoder = BiLSTMEncoder(channels, units, directions="concatenate", norm=False, dropout=0.5)
    head = MLPHead(encoder.out_channels, num_targets, Flatten(stem.out_length(length)), (hidden,))
    return SequenceClassifier(OneHotEmbedding("dna"), stem, encoder, head, None, "dna", length)


def simulate(raw: Path, store: Path) -> None:
    """Windows with planted motifs, in DeepSEA's three MATLAB files."""
    simulate_deepsea(raw, train=200, valid=100, test=100, targets=4, force=True)
    import_deepsea(store, **{split: raw / f"{split}.mat" for split in ("train", "valid", "test")}, force=True)


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 30, "data.batch_size": 512, "recipe.optimiser.kind": "rmsprop"}
    small = {"model.channels": 8, "model.units": 8, "model.hidden": 16, "data.batch_size": 32}
    run_experiment(model, name="deepsea_danq", defaults=defaults, rehearsal=Rehearsal(simulate, small))
