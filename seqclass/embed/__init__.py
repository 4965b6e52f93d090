"""Embeddings of proteins and DNA: a vector a residue, or one a sequence, from a language model or a bundle of ours."""

from seqclass.embed.backbones import Backbone, load_backbone
from seqclass.embed.extract import embed

__all__ = ["Backbone", "embed", "load_backbone"]
