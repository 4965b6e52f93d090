"""What does each part of the yeast model bring? Encoder, its direction, skip connection and embedding, one at a time.

Data      As for yeast_chip_exo, in 400 bp around each bin, so that a run takes minutes.
          seqclass data import peaks --genome sacCer3.fa --peaks peaks/ --out yeast400.h5 --window 400 --bin 200
              --min-positives 100 --valid-chroms VII --test-chroms IV --exclude-chroms Mito
Model     A small WideResNet stem, an encoder or none, and a head over the central bin and the window.
Expect    See experiments/README.md: three seeds a row, hardware, time.

    python experiments/yeast_ablation.py fit --fast
    python experiments/yeast_ablation.py fit --data.store yeast400.h5 --model.encoder bilstm --out runs/bilstm
    python experiments/yeast_ablation.py fit --data.store yeast400.h5 --model.skip false --out runs/no-skip
    seqclass compare runs/bilstm runs/no-skip
"""

from pathlib import Path
from typing import Literal

from seqclass.blocks import (
    BiLSTMEncoder,
    CentreMax,
    DenseHead,
    LearnedEmbedding,
    OneHotEmbedding,
    TransformerXLEncoder,
    WideResNetStem,
)
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.models import SequenceClassifier
from seqclass.training import Rehearsal, run_experiment


def model(
    num_targets: int,
    bin: int,
    encoder: Literal["none", "bilstm", "causal", "bidirectional"] = "bidirectional",
    skip: bool = True,
    embedding: Literal["one-hot", "learned"] = "one-hot",
) -> SequenceClassifier:
    """The yeast model, with a part replaced.

    Args:
        num_targets: Number of logits.
        bin: Bases in the middle of the window that the labels describe.
        encoder: None, a BiLSTM, or two Transformer-XL layers that see what lies before or both sides.
        skip: Whether the head also sees the stem's output, beside the encoder's.
        embedding: Of the letters.
    """
    letters = OneHotEmbedding("dna") if embedding == "one-hot" else LearnedEmbedding(64, "dna")
    stem = WideResNetStem(letters.out_channels, 64, (64, 96, 128), (2, 2, 2), expansion=2)
    width = stem.out_channels
    encoders = {
        "none": lambda: None,
        "bilstm": lambda: BiLSTMEncoder(width, width),
        "causal": lambda: TransformerXLEncoder(width, 2, causal=True),
        "bidirectional": lambda: TransformerXLEncoder(width, 2),
    }
    chosen = encoders[encoder]()
    joined = "concatenate" if skip and chosen is not None else None
    head = DenseHead(2 * width if joined else width, num_targets, CentreMax(bin // stem.stride), 256, 0.3)
    return SequenceClassifier(letters, stem, chosen, head, skip=joined)


def simulate(raw: Path, store: Path) -> None:
    """Peaks of five factors on four chromosomes of 20 kb."""
    simulate_peaks(raw, chromosomes=4, length=20_000, force=True)
    held_out = {"valid_chroms": ["chr3"], "test_chroms": ["chr4"]}
    import_peaks(store, genome=raw / "genome.fa", peaks=raw / "peaks", window=400, bin=200, **held_out, force=True)


if __name__ == "__main__":
    defaults = {"trainer.max_epochs": 2, "data.batch_size": 128, "recipe.learning_rate": 0.002}
    run_experiment(model, name="yeast_ablation", defaults=defaults, rehearsal=Rehearsal(simulate))
