"""Models: assemblies of blocks, and the registry that names them."""

from seqclass.models.beluga import beluga
from seqclass.models.channels_first import as_channels_first, load_channels_first
from seqclass.models.classifier import Classifier, SequenceClassifier, Spacing
from seqclass.models.danq import danq
from seqclass.models.deepsea import deepsea
from seqclass.models.embeddings import embedding_mlp, light_attention
from seqclass.models.ensemble import Ensemble, protenn
from seqclass.models.kmer import kmer_logreg
from seqclass.models.protcnn import protcnn, protcnn_small
from seqclass.models.registry import create_model, get_model, list_models, register_model
from seqclass.models.wide_resnet_transformer import wrn, wrn_bilstm, wrn_transformer_xl

__all__ = [
    "Classifier",
    "Ensemble",
    "SequenceClassifier",
    "Spacing",
    "as_channels_first",
    "beluga",
    "create_model",
    "danq",
    "deepsea",
    "embedding_mlp",
    "get_model",
    "kmer_logreg",
    "light_attention",
    "list_models",
    "load_channels_first",
    "protcnn",
    "protcnn_small",
    "protenn",
    "register_model",
    "wrn",
    "wrn_bilstm",
    "wrn_transformer_xl",
]
