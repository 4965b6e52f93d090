"""Which of 919 chromatin features does this window of 1,000 bp carry? DeepSEA itself.

Data      DeepSEA: Zhou and Troyanskaya 2015 (Nat. Methods 12, 931-934); 4.4 million windows, chromosomes 8 and 9 for
          the test.
          seqclass data import deepsea --train train.mat --valid valid.mat --test test.mat --out deepsea.h5
Model     DeepSEA: three convolution stages and a dense layer, held back as published (weight vectors no longer than .9,
          L1 1e-8 on activations, L2 5e-7 on weights): 52,843,119 parameters.
Expect    Published means over 918 targets, both strands averaged: AUROC .933, average precision .343. A GPU: on the CPU
          an epoch takes days.

    python experiments/deepsea_reference.py fit --fast
    python experiments/deepsea_reference.py fit --data.store deepsea.h5
    python experiments/deepsea_reference.py test --data.store deepsea.h5
    python experiments/deepsea_reference.py predict windows.fasta
"""

from pathlib import Path

from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.sources.deepsea import import_deepsea
from seqclass.models.deepsea import DeepSEA
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    length: int,
    widths: tuple[int, ...] = (320, 480, 960),
    hidden: int = 925,
    max_norm: float = 0.9,
    l1: float = 1e-8,
    l2: float = 5e-7,
) -> DeepSEA:
    """DeepSEA.

    Args:
        num_targets: Number of logits.
        length: Of a window, in bp.
        widths: Output channels of the three stages.
        hidden: Units of the dense layer.
        max_norm: Bound of the length of each unit's weight vector.
        l1: Weight in the loss of the dense layer's activations.
        l2: Weight in the loss of the squared weights.
    """
    return DeepSEA(num_targets, "dna", length, widths, hidden=hidden, max_norm=max_norm, l1=l1, l2=l2)


def simulate(raw: Path, store: Path) -> None:
    """Windows with planted motifs, in DeepSEA's three MATLAB files."""
    simulate_deepsea(raw, train=200, valid=100, test=100, targets=4, force=True)
    import_deepsea(store, **{split: raw / f"{split}.mat" for split in ("train", "valid", "test")}, force=True)


if __name__ == "__main__":
    sgd = {"recipe.optimiser.kind": "sgd", "recipe.optimiser.weight_decay": 0.0, "recipe.learning_rate": 0.05}
    defaults = {"trainer.max_epochs": 30, "data.batch_size": 512, **sgd}
    small = {"model.widths": (8, 8, 16), "model.hidden": 16, "data.batch_size": 32}
    run_experiment(model, name="deepsea_reference", defaults=defaults, rehearsal=Rehearsal(simulate, small))
