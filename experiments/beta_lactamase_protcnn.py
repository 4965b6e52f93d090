r"""Which Ambler class of beta-lactamase is this protein: A, B, C, D or none? ProtCNN from sequence alone.

Data      Beta-lactamases of NCBI's AMRFinderPlus, five alleles a family; EC 3 hydrolases and other resistance proteins
          that are as long, and all homologues of beta-lactamases among them. Then a store a split: --by random, group
          (families) and cluster (similar sequences).
          awk -F'\t' 'NR == 1 || ++n[$3] <= 5' beta_lactamases.tsv > few.tsv
          seqclass data negatives few.tsv --from hydrolases.tsv other_resistance_proteins.tsv --out beta.tsv
              --label ambler_class --group family ec_number --homologues
          seqclass data import table beta.tsv --alphabet protein --labels ambler_class --group group --out cluster.h5
          seqclass data split cluster.h5 --by cluster --fractions 0.6 0.1 0.3
Model     ProtCNN: Bileschi et al. 2022 (Nat. Biotechnol. 40, 932-937), narrow enough for a laptop.
Expect    See experiments/README.md: measured scores, baselines, hardware, time and seed. Minutes on a CPU.

    python experiments/beta_lactamase_protcnn.py fit --fast
    python experiments/beta_lactamase_protcnn.py fit --data.store cluster.h5
    seqclass evaluate runs/beta_lactamase_protcnn/bundle cluster.h5 --out report --homology phmmer
        --strata beta.tsv origin homologue
    python experiments/beta_lactamase_protcnn.py predict proteins.fasta
"""

from pathlib import Path

from seqclass.alphabets import PROTEIN
from seqclass.blocks import LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem
from seqclass.data.simulate.resistance import simulate_beta_lactamases
from seqclass.data.sources.length_matched import add_negatives
from seqclass.data.sources.table import import_table
from seqclass.data.splits import split_store
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    channels: int = 64,
    bottleneck: int = 32,
    kernel_size: int = 9,
    dilations: tuple[int, ...] = (1, 3, 9),
    dropout: float = 0.1,
) -> SequenceClassifier:
    """ProtCNN.

    Args:
        num_targets: Four classes, and none.
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
    """Families of four classes and of none, in the same tables."""
    tables = simulate_beta_lactamases(raw, force=True)
    negatives = [tables / "hydrolases.tsv", tables / "other_resistance_proteins.tsv"]
    table, groups = store.with_name("beta.tsv"), ["family", "ec_number"]
    add_negatives(tables / "beta_lactamases.tsv", negatives, table, label="ambler_class", group=groups, force=True)
    imported = import_table(table, store, alphabet=PROTEIN, labels=["ambler_class"], group="group", force=True)
    split_store(imported, "random")


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 12, "data.batch_size": 16, "recipe.averaging.decay": 0.99}
    small = Rehearsal(simulate, {"model.channels": 16, "model.bottleneck": 8, "data.batch_size": 16})
    run_experiment(model, name="beta_lactamase_protcnn", defaults=defaults, rehearsal=small)
