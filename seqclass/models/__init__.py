"""Models: assemblies of blocks, and the registry that names them."""

from seqclass.models.classifier import Classifier, SequenceClassifier
from seqclass.models.registry import create_model, get_model, list_models, register_model
from seqclass.models.wide_resnet_transformer import wrn_transformer_xl

__all__ = [
    "Classifier",
    "SequenceClassifier",
    "create_model",
    "get_model",
    "list_models",
    "register_model",
    "wrn_transformer_xl",
]
