"""Blocks from which models are assembled.

A sequence block is `forward(x, mask=None) -> (x, mask)` on `(batch, length, channels)`; a pooling or a head returns a
tensor. A mask is `(batch, length)` bool, True at real residues, or None.
"""

from seqclass.blocks.base import Block, build, register_block
from seqclass.blocks.embedding import LearnedEmbedding, OneHotEmbedding
from seqclass.blocks.heads import DenseHead
from seqclass.blocks.pooling import CentreMax, Flatten, Pool
from seqclass.blocks.transformer_xl import TransformerXLEncoder
from seqclass.blocks.wide_resnet import WideResNetStem

__all__ = [
    "Block",
    "CentreMax",
    "DenseHead",
    "Flatten",
    "LearnedEmbedding",
    "OneHotEmbedding",
    "Pool",
    "TransformerXLEncoder",
    "WideResNetStem",
    "build",
    "register_block",
]
