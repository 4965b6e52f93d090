"""Blocks from which models are assembled.

A sequence block is `forward(x, mask=None) -> (x, mask)` on `(batch, length, channels)`; a pooling or a head returns a
tensor. A mask is `(batch, length)` bool, True at real residues, or None.
"""

from seqclass.blocks.backbone import LanguageModelEmbedding, TransformersEncoder, merged
from seqclass.blocks.base import Block, build, register_block
from seqclass.blocks.embedding import Embedding, LearnedEmbedding, OneHotEmbedding, Vectors
from seqclass.blocks.heads import DenseHead, Head, LinearHead
from seqclass.blocks.light_attention import LightAttention
from seqclass.blocks.mlp import MLPHead
from seqclass.blocks.pooling import AttentionPool, CentreMax, Flatten, MaxPool, MeanPool, Pool
from seqclass.blocks.protcnn import ProtCNNStem
from seqclass.blocks.recurrent import BiLSTMEncoder
from seqclass.blocks.stages import ConvolutionStages
from seqclass.blocks.transformer_xl import Memory, TransformerXLEncoder
from seqclass.blocks.wide_resnet import WideResNetStem

__all__ = [
    "AttentionPool",
    "BiLSTMEncoder",
    "Block",
    "CentreMax",
    "ConvolutionStages",
    "DenseHead",
    "Embedding",
    "Flatten",
    "Head",
    "LanguageModelEmbedding",
    "LearnedEmbedding",
    "LightAttention",
    "LinearHead",
    "MLPHead",
    "MaxPool",
    "MeanPool",
    "Memory",
    "OneHotEmbedding",
    "Pool",
    "ProtCNNStem",
    "TransformerXLEncoder",
    "TransformersEncoder",
    "Vectors",
    "WideResNetStem",
    "build",
    "merged",
    "register_block",
]
