"""What does a genome tell without labels? Each next base from those before it, chromosome by chromosome.

Data      The tape of a store of a genome: what its samples cover, each base once, labels unseen. Whole chromosomes are
          held out.
          seqclass data import peaks --genome sacCer3.fa --peaks peaks/ --out yeast.h5 --window 1000 --bin 200
              --min-positives 100 --valid-chroms VII --test-chroms IV --exclude-chroms Mito
Model     A causal Transformer-XL with memory: Dai et al. 2019 (arXiv:1901.02860), over single bases.
Expect    Fewer bits a base on the held-out chromosomes than a 6-mer Markov model (each base from the five before it)
          of the same training chromosomes. See experiments/README.md: measured figures, hardware, time and seed.

    python experiments/dna_language_model.py fit --fast
    python experiments/dna_language_model.py fit --data.store yeast.h5
    seqclass fit --model transformer_xl --model.causal true --data.store yeast.h5 \
        --init_from runs/dna_language_model/language_model
"""

from pathlib import Path

from seqclass.blocks import LearnedEmbedding, TransformerXLEncoder
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.models import TransformerXLLM
from seqclass.training import Rehearsal
from seqclass.training.pretraining import run_pretraining


def model(
    channels: int = 128,
    layers: int = 4,
    heads: int = 4,
    head_size: int = 32,
    inner: int = 256,
    dropout: float = 0.1,
    memory_length: int = 512,
) -> TransformerXLLM:
    """The language model that `transformer_xl(causal=True)` of the same sizes starts from.

    Args:
        channels: Of the embedding and the encoder.
        layers: Encoder layers.
        heads: Attention heads.
        head_size: Channels of an attention head.
        inner: Units of the feed-forward networks.
        dropout: Share of channels dropped.
        memory_length: Bases that are remembered of the segments before.
    """
    encoder = TransformerXLEncoder(
        channels, layers, heads, head_size, inner, True, dropout, norm="pre", memory_length=memory_length
    )
    return TransformerXLLM(LearnedEmbedding(channels), encoder)


def simulate(raw: Path, store: Path) -> None:
    """A genome of four chromosomes of 20 kb with planted motifs."""
    simulate_peaks(raw, chromosomes=4, length=20_000, force=True)
    held_out = {"valid_chroms": ["chr3"], "test_chroms": ["chr4"]}
    import_peaks(store, genome=raw / "genome.fa", peaks=raw / "peaks", window=400, bin=200, **held_out, force=True)


if __name__ == "__main__":
    tiny = {"model.channels": 32, "model.layers": 2, "model.heads": 2, "model.head_size": 16, "model.inner": 64}
    tiny |= {"model.memory_length": 64, "data.batch_size": 8, "data.segment": 64}
    run_pretraining(model, name="dna_language_model", rehearsal=Rehearsal(simulate, tiny))
