"""Tiny checkpoints of protein language models with random weights, in the files that transformers itself writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")

LETTERS = "LAGVESIKRDTPNQFYMHCWX"
SIZE = 16
SMALL = {"hidden_size": SIZE, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
LONGEST = 38


def save_bert(folder: Path, letters: str = LETTERS, kind: str = "BertModel", **options: Any) -> Path:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    settings = {"vocab_size": len(vocabulary), "max_position_embeddings": LONGEST + 2, **SMALL} | options
    getattr(transformers, kind)(transformers.BertConfig(**settings)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    return folder


def save_esm(folder: Path, kind: str = "EsmModel", **options: Any) -> Path:
    vocabulary = ["<cls>", "<pad>", "<eos>", "<unk>", *LETTERS, "<mask>"]
    settings = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": LONGEST + 4,
        "position_embedding_type": "rotary",
        "pad_token_id": 1,
        "mask_token_id": len(vocabulary) - 1,
        "token_dropout": True,
        **SMALL,
    } | options
    extra = {"add_pooling_layer": False} if kind == "EsmModel" else {}
    getattr(transformers, kind)(transformers.EsmConfig(**settings), **extra).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def save_t5(folder: Path, kind: str = "T5EncoderModel", **options: Any) -> Path:
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), *((f"\u2581{c}", -3.0) for c in LETTERS)]
    settings = {
        "vocab_size": len(vocabulary),
        "d_model": SIZE,
        "d_kv": 8,
        "d_ff": 24,
        "num_layers": 2,
        "num_heads": 2,
    } | options
    getattr(transformers, kind)(transformers.T5Config(**settings)).save_pretrained(folder)
    transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0).save_pretrained(folder)
    return folder


SAVE: dict[str, Callable[..., Path]] = {"bert": save_bert, "esm": save_esm, "t5": save_t5}
