"""Where in the cell does this protein live? DeepLoc 1.0 from sequence alone, from scratch.

Data      Almagro Armenteros et al. 2017 (doi:10.1093/bioinformatics/btx431); the published test split stays, and
          validation is whole clusters of similar proteins.
          seqclass data import deeploc deeploc_data.fasta --out deeploc.h5
          seqclass data split deeploc.h5 --by cluster --level 0.1 --fractions 0.88 0.12 0 --keep-test
Model     Learned embedding, dilated convolutions, a weighted mean and the maximum over residues.
Expect    See experiments/README.md: measured scores, baselines, hardware, time and seed.

    python experiments/deeploc.py fit --fast
    python experiments/deeploc.py fit --data.store deeploc.h5
    python experiments/deeploc.py test --data.store deeploc.h5
    python experiments/deeploc.py predict proteins.fasta
"""

from pathlib import Path

from seqclass.blocks import DenseHead, LearnedEmbedding, LightAttention, ProtCNNStem
from seqclass.data.simulate.localisation import simulate_deeploc
from seqclass.data.sources.deeploc import import_deeploc
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    embedding: int = 32,
    channels: int = 128,
    bottleneck: int = 64,
    dilations: tuple[int, ...] = (1, 3, 9),
    hidden: int = 64,
    dropout: float = 0.4,
) -> SequenceClassifier:
    """The localisation model.

    Args:
        num_targets: Number of locations, and one for the membrane.
        embedding: Channels of a residue.
        channels: Width of the trunk.
        bottleneck: Width inside the blocks.
        dilations: One for each block.
        hidden: Units of the head's dense layer.
        dropout: Share of them dropped.
    """
    letters = LearnedEmbedding(embedding, "protein")
    stem = ProtCNNStem(embedding, channels, bottleneck, 9, dilations)
    head = DenseHead(channels, num_targets, LightAttention(channels, 9, 0.25), hidden, dropout)
    return SequenceClassifier(letters, stem, None, head, None, "protein")


def simulate(raw: Path, store: Path) -> None:
    """Proteins with sorting signals, as DeepLoc 1.0."""
    import_deeploc(simulate_deeploc(raw, proteins=200, force=True) / "deeploc.fasta", store, force=True)


if __name__ == "__main__":
    defaults = {
        "trainer.max_epochs": 10,
        "data.batch_size": 32,
        "data.mask": 0.05,
        "recipe.optimiser.weight_decay": 0.05,
        "recipe.averaging.decay": 0.998,
    }
    small = Rehearsal(simulate, {"model.channels": 16, "model.bottleneck": 8, "data.batch_size": 16})
    run_experiment(model, name="deeploc", defaults=defaults, rehearsal=small)
