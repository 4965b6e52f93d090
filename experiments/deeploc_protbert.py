"""Where in the cell does this protein live? ProtBert, fine-tuned on DeepLoc 1.0.

Data      Almagro Armenteros et al. 2017 (doi:10.1093/bioinformatics/btx431); the published test split stays, and
          validation is whole clusters of similar proteins.
          seqclass data import deeploc deeploc_data.fasta --out deeploc.h5
          seqclass data split deeploc.h5 --by cluster --level 0.1 --fractions 0.88 0.12 0 --keep-test
Model     ProtBert's embedding and encoder (Elnaggar et al. 2021, arXiv:2007.06225), of which the upper layers learn,
          and that at less than the head's rate; a weighted mean and the maximum over residues, a dense head.
Expect    Published Q10 on the test split: ProtBert .74, ProtT5 .81, DeepLoc .78. A GPU of 24 GB, hours; the checkpoint
          (1.7 GB) is downloaded once.

    python experiments/deeploc_protbert.py fit --fast
    python experiments/deeploc_protbert.py fit --data.store deeploc.h5
    python experiments/deeploc_protbert.py test --data.store deeploc.h5
    python experiments/deeploc_protbert.py predict proteins.fasta
"""

from pathlib import Path

from seqclass.blocks import DenseHead, LightAttention
from seqclass.data.simulate.localisation import simulate_deeploc
from seqclass.data.sources.deeploc import import_deeploc
from seqclass.models import SequenceClassifier
from seqclass.models.protein_language import protbert
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    pretrained: str | None = "Rostlab/prot_bert",
    frozen_layers: int = 20,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    inner: int | None = None,
    hidden: int = 32,
    dropout: float = 0.25,
) -> SequenceClassifier:
    """ProtBert under a head of its own.

    Args:
        num_targets: Number of locations, and one for the membrane.
        pretrained: Folder or hub name of the checkpoint; None for random weights.
        frozen_layers: The embedding and so many layers are left as they are.
        layers: Of random weights: number of layers. These four are given only without a checkpoint.
        width: Channels.
        heads: Attention heads.
        inner: Units of the feed-forward networks.
        hidden: Units of the head's dense layer.
        dropout: Share of them dropped.
    """
    sizes = {"layers": layers, "width": width, "heads": heads, "inner": inner}
    body = protbert(num_targets, pretrained=pretrained, frozen_layers=frozen_layers, **sizes)
    channels = body.head.in_channels
    head = DenseHead(channels, num_targets, LightAttention(channels, 9, 0.25), hidden, dropout)
    return SequenceClassifier(body.embedding, None, body.encoder, head, None, "protein")


def simulate(raw: Path, store: Path) -> None:
    """Proteins with sorting signals, as DeepLoc 1.0."""
    import_deeploc(simulate_deeploc(raw, proteins=200, force=True) / "deeploc.fasta", store, force=True)


if __name__ == "__main__":
    recipe = {"recipe.learning_rate": 1e-4, "recipe.optimiser.layer_decay": 0.9}
    defaults = {"trainer.max_epochs": 5, "data.batch_size": 16, "trainer.accumulate_grad_batches": 2, **recipe}
    small = {"model.pretrained": None, "model.frozen_layers": 1, "model.layers": 2, "model.width": 16}
    rehearsal = Rehearsal(simulate, {**small, "model.heads": 2, "model.inner": 32})
    run_experiment(model, name="deeploc_protbert", defaults=defaults, rehearsal=rehearsal)
