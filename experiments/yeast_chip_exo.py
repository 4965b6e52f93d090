"""Which of 251 factors bind here? Yeast ChIP-exo from sequence alone.

Data      ChIP-exo of Rossi et al. 2021 (doi:10.1038/s41586-021-03314-8) on sacCer3: every 200-bp bin in its 1,000 bp.
          seqclass data import peaks --genome sacCer3.fa --peaks peaks/ --out yeast.h5 --window 1000 --bin 200
              --min-positives 100 --valid-chroms VII --test-chroms IV --exclude-chroms Mito
Model     WideResNet stem, two bidirectional Transformer-XL layers, a head over the central bin and the window.
Expect    See experiments/README.md: measured scores, baselines, hardware, time and seed.

    python experiments/yeast_chip_exo.py fit --data.store yeast.h5
    python experiments/yeast_chip_exo.py test --data.store yeast.h5
    python experiments/yeast_chip_exo.py predict promoters.fasta
"""

from seqclass.blocks import CentreMax, DenseHead, OneHotEmbedding, TransformerXLEncoder, WideResNetStem
from seqclass.models import SequenceClassifier
from seqclass.training import run_experiment


def model(
    num_targets: int,
    bin: int,
    channels: int = 64,
    widths: tuple[int, ...] = (64, 128, 192, 256),
    expansion: int = 4,
    layers: int = 2,
    causal: bool = False,
    hidden: int = 512,
    dropout: float = 0.3,
) -> SequenceClassifier:
    """The yeast model.

    Args:
        num_targets: Number of logits.
        bin: Bases in the middle of the window that the labels describe.
        channels: Channels of the first convolution.
        widths: Output channels of the residual blocks; each halves the length.
        expansion: Width factor of the residual blocks.
        layers: Encoder layers.
        causal: Whether the encoder sees only what lies before.
        hidden: Units of the head's dense layer.
        dropout: Share of them dropped.
    """
    embedding = OneHotEmbedding("dna")
    stem = WideResNetStem(4, channels, widths, [2] * len(widths), expansion)
    encoder = TransformerXLEncoder(widths[-1], layers, causal=causal)
    head = DenseHead(2 * widths[-1], num_targets, CentreMax(bin // stem.stride), hidden, dropout)
    return SequenceClassifier(embedding, stem, encoder, head, skip="concatenate")


if __name__ == "__main__":
    run_experiment(model, name="yeast_chip_exo", defaults={"trainer.max_epochs": 12, "data.batch_size": 128})
