"""Which Pfam family is this domain? ProtENN: ProtCNNs that differ in their initial weights, and vote.

Data      Pfam 32 seed domains in the Kaggle layout, five columns or two.
          seqclass data import pfam random_split --out pfam.h5
Model     ProtENN: Bileschi et al. 2022 (Nat. Biotechnol. 40, 932-937), by default narrower than published and of three
          members, not 19. --model.channels 1100 --model.bottleneck 550 is the published width: for a GPU.
Expect    Published error on Google's random split of all 17,929 families: ProtCNN .495 %, ProtENN .159 %. Here the
          members learn side by side, at as many times the cost of one; `pfam_protcnn.py fit --ensemble 3` trains them
          one by one.

    python experiments/pfam_protenn.py fit --fast
    python experiments/pfam_protenn.py fit --data.store pfam.h5
    python experiments/pfam_protenn.py test --data.store pfam.h5
    python experiments/pfam_protenn.py predict domains.fasta
"""

from pathlib import Path

from seqclass.blocks import LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam
from seqclass.models import SequenceClassifier
from seqclass.models.ensemble import Ensemble
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    exclusive: list[list[int]],
    members: int = 3,
    vote: str = "majority",
    channels: int = 128,
    bottleneck: int = 64,
    kernel_size: int = 9,
    dilations: tuple[int, ...] = (1, 1, 3, 9, 27),
    dropout: float = 0.1,
) -> Ensemble:
    """ProtENN.

    Args:
        num_targets: Number of families.
        exclusive: The columns of families, of which just one is true.
        members: How many; an odd number, so that a vote is decided.
        vote: "majority", or the "mean" of probabilities.
        channels: Width of the trunks.
        bottleneck: Width inside the blocks.
        kernel_size: Of the first and of the dilated convolutions.
        dilations: One for each block.
        dropout: Share of pooled features dropped.
    """

    def member() -> SequenceClassifier:
        stem = ProtCNNStem(20, channels, bottleneck, kernel_size, dilations)
        head = LinearHead(channels, num_targets, MaxPool(), dropout)
        return SequenceClassifier(OneHotEmbedding("protein"), stem, None, head, None, "protein")

    return Ensemble([member() for _ in range(members)], vote, exclusive)


def simulate(raw: Path, store: Path) -> None:
    """Four families in the Kaggle layout."""
    import_pfam(simulate_pfam(raw, families=4, force=True) / "random_split", store, force=True)


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 10, "data.batch_size": 64, "recipe.averaging.decay": 0.998}
    small = Rehearsal(simulate, {"model.channels": 32, "model.bottleneck": 16, "data.batch_size": 16})
    run_experiment(model, name="pfam_protenn", defaults=defaults, rehearsal=small)
