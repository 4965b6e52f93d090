"""Which Pfam family is this domain? ProtCNN on seed domains.

Data      Pfam 32 seed domains in the Kaggle layout, five columns or two.
          seqclass data import pfam random_split --out pfam.h5
Model     ProtCNN: Bileschi et al. 2022 (Nat. Biotechnol. 40, 932-937), by default narrower than published.
          --model.channels 1100 --model.bottleneck 550 is the published width: for a GPU.
Expect    See experiments/README.md: measured scores, baselines, hardware, time and seed.

    python experiments/pfam_protcnn.py fit --fast
    python experiments/pfam_protcnn.py fit --data.store pfam.h5
    python experiments/pfam_protcnn.py test --data.store pfam.h5
    python experiments/pfam_protcnn.py predict domains.fasta
"""

from pathlib import Path

from seqclass.blocks import LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    channels: int = 128,
    bottleneck: int = 64,
    kernel_size: int = 9,
    dilations: tuple[int, ...] = (1, 1, 3, 9, 27),
    dropout: float = 0.1,
) -> SequenceClassifier:
    """ProtCNN.

    Args:
        num_targets: Number of families.
        channels: Width of the trunk.
        bottleneck: Width inside the blocks.
        kernel_size: Of the first and of the dilated convolutions.
        dilations: One for each block.
        dropout: Share of pooled features dropped.
    """
    stem = ProtCNNStem(20, channels, bottleneck, kernel_size, dilations)
    head = LinearHead(channels, num_targets, MaxPool(), dropout)
    return SequenceClassifier(OneHotEmbedding("protein"), stem, None, head, None, "protein")


def simulate(raw: Path, store: Path) -> None:
    """Four families in the Kaggle layout."""
    import_pfam(simulate_pfam(raw, families=4, force=True) / "random_split", store, force=True)


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 10, "data.batch_size": 64, "recipe.averaging.decay": 0.998}
    small = Rehearsal(simulate, {"model.channels": 32, "model.bottleneck": 16, "data.batch_size": 16})
    run_experiment(model, name="pfam_protcnn", defaults=defaults, rehearsal=small)
