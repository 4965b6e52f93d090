"""Models: assemblies of blocks, and the registry that names them."""

from seqclass.models.beluga import beluga
from seqclass.models.channels_first import as_channels_first, load_channels_first
from seqclass.models.classifier import Classifier, SequenceClassifier, Spacing
from seqclass.models.danq import danq
from seqclass.models.deepsea import deepsea
from seqclass.models.embeddings import embedding_mlp, light_attention
from seqclass.models.ensemble import Ensemble, protenn
from seqclass.models.initialise import init_from
from seqclass.models.kmer import kmer_logreg
from seqclass.models.language import MaskedResidueLM, TransformerXLLM, bits_per_letter, letter_loss
from seqclass.models.protcnn import protcnn, protcnn_small
from seqclass.models.protein_language import esm2, protbert, prott5
from seqclass.models.registry import create_model, get_model, list_models, model_options, register_model
from seqclass.models.transformer_xl import transformer_xl, transformer_xl_lm
from seqclass.models.wide_resnet_transformer import wrn, wrn_bert, wrn_bilstm, wrn_transformer_xl

__all__ = [
    "Classifier",
    "Ensemble",
    "MaskedResidueLM",
    "SequenceClassifier",
    "Spacing",
    "TransformerXLLM",
    "as_channels_first",
    "beluga",
    "bits_per_letter",
    "create_model",
    "danq",
    "deepsea",
    "embedding_mlp",
    "esm2",
    "get_model",
    "init_from",
    "kmer_logreg",
    "letter_loss",
    "light_attention",
    "list_models",
    "load_channels_first",
    "model_options",
    "protbert",
    "protcnn",
    "protcnn_small",
    "protenn",
    "prott5",
    "register_model",
    "transformer_xl",
    "transformer_xl_lm",
    "wrn",
    "wrn_bert",
    "wrn_bilstm",
    "wrn_transformer_xl",
]
