"""Which of 251 factors bind here? Yeast ChIP-exo from sequence alone.

Data      ChIP-exo of Rossi et al. 2021 (doi:10.1038/s41586-021-03314-8) on sacCer3: every 200-bp bin in its 1,000 bp.
          seqclass data import peaks --genome sacCer3.fa --peaks peaks/ --out yeast.h5 --window 1000 --bin 200
              --min-positives 100 --valid-chroms VII --test-chroms IV --exclude-chroms Mito
Model     WideResNet stem, two bidirectional Transformer-XL layers, a head over the central bin and the window.
Expect    See experiments/README.md: measured scores, baselines, hardware, time and seed.

    python experiments/yeast_chip_exo.py fit --fast
    python experiments/yeast_chip_exo.py fit --data.store yeast.h5
    python experiments/yeast_chip_exo.py test --data.store yeast.h5
    python experiments/yeast_chip_exo.py predict promoters.fasta
"""

from pathlib import Path

from seqclass.blocks import CentreMax, DenseHead, OneHotEmbedding, TransformerXLEncoder, WideResNetStem
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


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


def simulate(raw: Path, store: Path) -> None:
    """Peaks of five factors on four chromosomes of 20 kb."""
    simulate_peaks(raw, chromosomes=4, length=20_000, force=True)
    held_out = {"valid_chroms": ["chr3"], "test_chroms": ["chr4"]}
    import_peaks(store, genome=raw / "genome.fa", peaks=raw / "peaks", window=400, bin=200, **held_out, force=True)


if __name__ == "__main__":
    small = Rehearsal(simulate, {"model.widths": (16, 32), "model.channels": 16, "model.hidden": 32})
    defaults = {"trainer.max_epochs": 12, "data.batch_size": 128}
    run_experiment(model, name="yeast_chip_exo", defaults=defaults, rehearsal=small)
