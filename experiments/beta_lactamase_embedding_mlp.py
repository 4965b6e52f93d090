r"""Which Ambler class of beta-lactamase is this protein: A, B, C, D or none? A small network on ProtT5's vectors.

Data      beta.tsv and its splits as for beta_lactamase_protcnn.py; a vector a protein from a protein language model.
          awk -F'\t' 'NR > 1 { print ">" $1 "\n" $NF }' beta.tsv > beta.fasta
          seqclass embed --backbone Rostlab/prot_t5_xl_half_uniref50-enc beta.fasta vectors.h5
          seqclass data import embeddings vectors.h5 --labels-table beta.tsv --labels ambler_class --group group
              --out beta-vectors.h5
          seqclass data split beta-vectors.h5 --by group --fractions 0.6 0.1 0.3
Model     Dense layers of 256 and 128 on the mean of the residues' vectors: 295,941 parameters.
Expect    No published score on these splits. Embedding takes a GPU minutes and the CPU hours, and a checkpoint of
          2.4 GB; training takes seconds.

    python experiments/beta_lactamase_embedding_mlp.py fit --fast
    python experiments/beta_lactamase_embedding_mlp.py fit --data.store beta-vectors.h5
    python experiments/beta_lactamase_embedding_mlp.py test --data.store beta-vectors.h5
"""

from pathlib import Path

from seqclass.blocks import MeanPool, MLPHead, Vectors
from seqclass.data.simulate.embeddings import simulate_embeddings
from seqclass.data.sources.embeddings import import_embeddings
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    vector_size: int,
    hidden: tuple[int, ...] = (256, 128),
    dropout: float = 0.25,
) -> SequenceClassifier:
    """A network on vectors.

    Args:
        num_targets: Four classes, and none.
        vector_size: Numbers a protein or residue.
        hidden: Units of each dense layer.
        dropout: Share of them dropped.
    """
    head = MLPHead(vector_size, num_targets, MeanPool(), hidden, dropout)
    return SequenceClassifier(Vectors(vector_size), None, None, head, None, "protein")


def simulate(raw: Path, store: Path) -> None:
    """Vectors of five classes, in the layout that `seqclass embed` writes."""
    simulate_embeddings(raw, proteins=600, classes=5, force=True)
    import_embeddings([raw / "embeddings.h5"], store, labels_table=raw / "labels.tsv", split="split", force=True)


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 30, "data.batch_size": 64}
    run_experiment(model, name="beta_lactamase_embedding_mlp", defaults=defaults, rehearsal=Rehearsal(simulate))
