"""Checkpoints of protein language models, from a folder or the Hugging Face hub.

The families differ in what stands between residues, before the first and behind the last. All of that is asked of the
checkpoint's own tokenizer once, for every letter of the alphabet; then a sequence becomes ids by a table.
"""

from __future__ import annotations

import pickle
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from seqclass.alphabets import PROTEIN
from seqclass.blocks.backbone import FAMILIES, Plain, import_transformers, num_positions
from seqclass.errors import BackboneError

# Families whose tokenizer wants residues apart.
_SPACED = ("t5", "bert")

# ESM's predictor of contacts, which some checkpoints lack, has no part in the vectors.
_UNUSED_WEIGHTS = "contact_head."

# What transformers was seen to raise for damaged files, beside plain Exception, which its tokenizers raise.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    EOFError,
    ImportError,
    SafetensorError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True)
class Vocabulary:
    """The ids by which a language model knows a protein.

    Attributes:
        letters: `(letters + 1,)`, of each token of our alphabet, the unknown residue last.
        before: Of the special tokens before the first residue.
        behind: Of those behind the last.
        padding: Of the token that fills a batch up.
    """

    letters: Tensor
    before: tuple[int, ...]
    behind: tuple[int, ...]
    padding: int


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained language model of proteins.

    Attributes:
        family: "t5", "bert" or "esm".
        model: The transformers model without a head.
        config: Of its configuration, what shapes the encoder.
        vocabulary: Its ids.
        width: Length of its vectors.
        longest: The most residues that it takes at once, None for any number.
    """

    family: str
    model: Any
    config: dict[str, Plain]
    vocabulary: Vocabulary

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def longest(self) -> int | None:
        positions = num_positions(self.family, self.config)
        special = len(self.vocabulary.before) + len(self.vocabulary.behind)
        return None if positions is None else positions - special


def load_checkpoint(name: str | Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """The checkpoint in a folder, or of that name on the Hugging Face hub.

    Args:
        name: Of ProtT5, ProtBert, ESM-2 or another T5, BERT or ESM over residues.
        dtype: Precision of the weights, whatever that of the file.

    Raises:
        BackboneError: There is no such checkpoint, it cannot be downloaded, or it is of another family or no language
            model of residues.
        MissingPackageError: The transformers package is not installed.
    """
    name = str(name)
    transformers = import_transformers()
    with _Loading(name), _quiet(transformers.utils.logging):
        config = transformers.AutoConfig.from_pretrained(name)
        family = config.model_type
        if family not in FAMILIES:
            raise BackboneError(
                f"this is a model of the family '{family}', where one of {', '.join(FAMILIES)} is expected",
                remedy="Give ProtT5, ProtBert, ESM-2 or another T5, BERT or ESM over residues",
                file=name,
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        # A pooling layer, which some checkpoints lack, would be drawn at random and never used.
        extra = {} if family == "t5" else {"add_pooling_layer": False}
        model, found = getattr(transformers, FAMILIES[family].model_class).from_pretrained(
            name, dtype=dtype, output_loading_info=True, **extra
        )
        _refuse_random_weights(found["missing_keys"], name)
        vocabulary = _read_vocabulary(tokenizer, family in _SPACED, model.get_input_embeddings().num_embeddings, name)
        return Checkpoint(family, model, {key: getattr(config, key) for key in FAMILIES[family].keys}, vocabulary)


def _refuse_random_weights(missing: set[str], name: str) -> None:
    lacking = sorted(key for key in missing if not key.startswith(_UNUSED_WEIGHTS))
    if lacking:
        raise BackboneError(
            f"the checkpoint lacks {len(lacking)} of the model's arrays of weights, such as {lacking[0]}",
            remedy="Copy or download it again; with random weights the vectors would mean nothing",
            file=name,
        )


def _read_vocabulary(tokenizer: Any, spaced: bool, rows: int, name: str) -> Vocabulary:
    """Asks the tokenizer what stands for each letter, and what before the first residue and behind the last."""
    letters = PROTEIN.letters + PROTEIN.unknown
    ids = tokenizer((" " if spaced else "").join(letters))["input_ids"]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    inner = [place for place, each in enumerate(ids) if each not in special]
    known = [each for each in ids if each not in special and each != tokenizer.unk_token_id]
    if len(inner) != len(letters) or len(set(known)) < len(PROTEIN.letters) or max(ids) >= rows:
        raise BackboneError(
            f"its tokenizer reads '{letters}' as {len(inner)} tokens, {len(inner) - len(known)} of them unknown "
            f"and the last {max(ids)} of {rows}, where one a residue is expected",
            remedy="Give a model of protein residues, with its own tokenizer files in the folder",
            file=name,
        )
    before, behind = tuple(ids[: inner[0]]), tuple(ids[inner[-1] + 1 :])
    return Vocabulary(torch.tensor([ids[place] for place in inner]), before, behind, int(tokenizer.pad_token_id))


class _Loading:
    """Within the block, whatever transformers makes of a damaged checkpoint becomes a BackboneError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is Exception or isinstance(error, _DAMAGE):
            reason = textwrap.shorten(str(error), 200, placeholder=" ...").rstrip(".") or type(error).__name__
            raise BackboneError(
                f"no model can be had under this name ({reason})",
                remedy="Give the folder of a whole checkpoint, or its name on the hub and a connection to it",
                file=self._name,
            ) from error


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Within the block, transformers reports no weights that are left over, and shows bars to people only."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
