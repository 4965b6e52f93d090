"""How well a language model guesses letters that it was not trained on, beside what knows their frequencies alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from seqclass.alphabets import Tokens
from seqclass.evaluation.baselines.markov import KmerCounts, MarkovModel, longest_kmers
from seqclass.evaluation.blocks import STRETCH, Blocks, blocks_of, each_by_itself
from seqclass.evaluation.bootstrap import LEVEL, draw_blocks
from seqclass.models import TransformerXLLM
from seqclass.models.language import UNCOUNTED
from seqclass.training.language_data import LanguageDataModule, TapeLoader, stretches
from seqclass.training.language_task import LanguageModel, guess

ORDERS = {"dna": 5, "protein": 2}
"""Orders of the Markov models that are always shown, by alphabet: counts of 6-mers of DNA, of 3-mers of proteins."""

STRENGTHS = (4.0, 16.0, 64.0, 256.0, 1024.0)
"""Pseudocounts of a context among which validation chooses."""

_SEED = 0
_FEWEST_BLOCKS = 5

Floats = NDArray[np.float64]


def score_language_model(model: LanguageModel, data: LanguageDataModule, hidden: float) -> dict[str, Any]:
    """Bits a letter on the validation split, and on the test split where there is one, with intervals.

    A model that guesses the next letter is compared with interpolated Markov models of the training text: of order 0
    and of the order in `ORDERS`, with pseudocounts of 16; and the one that does best on validation, of all orders that
    the text has letters for and all `STRENGTHS`. One that guesses hidden letters is compared with the letters' shares
    in training. All are judged on the same letters. Intervals are of 95 %, by bootstrap of blocks: 100 kb of the tape,
    or what evaluation of classifiers draws together; there are none of fewer than five blocks.

    Args:
        model: Its mode is put back.
        data: With the splits.
        hidden: Share of letters hidden from a model that sees both sides.

    Returns:
        By split: "letters", how many were guessed; "accuracy", the share that the model guessed right; and
        "bits_per_letter", by scorer "mean" and "interval", and for all but the model "minus_model" with another two.
    """
    score = _score_tape if isinstance(model, TransformerXLLM) else _score_samples
    was_training = model.training
    model.eval()
    try:
        return score(model, data, hidden)
    finally:
        model.train(was_training)


def score_table(scores: Mapping[str, Any]) -> Table:
    """The scores as a table for people."""
    table = Table(title="bits a letter that was not trained on", title_justify="left")
    table.add_column("split")
    table.add_column("scorer")
    for heading in ("bits a letter", "95 % interval", "minus the model's", "95 % interval"):
        table.add_column(heading, justify="right")
    for split, found in scores.items():
        for scorer, bits in found["bits_per_letter"].items():
            more = bits.get("minus_model")
            cells = [f"{bits['mean']:.4f}", _range(bits["interval"])]
            cells += ["", ""] if more is None else [f"{more['mean']:+.4f}", _range(more["interval"])]
            table.add_row(split, scorer, *cells)
    return table


def _range(interval: list[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _score_tape(model: LanguageModel, data: LanguageDataModule, hidden: float) -> dict[str, Any]:
    alphabet, shown = data.store.alphabet, ORDERS[data.store.alphabet.name]
    train = TapeLoader(data.store, data.store.samples("train"), 1, 1)
    counts = KmerCounts(train.text(), alphabet, max(shown + 1, longest_kmers(train.num_letters, alphabet)))
    texts = {"valid": _tape_loader(data, "valid")}
    if len(data.store.samples("test")):
        texts["test"] = _tape_loader(data, "test")
    markov, order = _best_markov(counts, texts["valid"].text())
    usual = MarkovModel(counts)
    scores = {}
    for split, loader in texts.items():
        bits, right = _read(model, loader)
        text = loader.text()
        by_scorer = {"model": bits}
        by_scorer |= {f"markov_order_{each}": usual.bits(text, each) for each in (0, shown)}
        by_scorer["best_markov"] = markov.bits(text, order)
        counted = np.flatnonzero(~np.isnan(bits))
        sums = {name: np.add.reduceat(each[counted], _cuts(counted)) for name, each in by_scorer.items()}
        letters = np.diff(np.append(_cuts(counted), len(counted)))
        scores[split] = _summary(sums, letters, each_by_itself(len(letters)), float(right[counted].mean()))
        scores[split] |= {
            "blocks": f"{STRETCH:,} letters",
            "best_markov": {"order": order, "strength": markov.strength},
        }
    return scores


def _best_markov(counts: KmerCounts, text: Tokens) -> tuple[MarkovModel, int]:
    """The model, and its order, to which a letter of a text costs least."""
    best: tuple[float, float, int] | None = None
    for strength in STRENGTHS:
        markov = MarkovModel(counts, strength)
        for order in range(markov.order + 1):
            found = float(np.nanmean(markov.bits(text, order))), strength, order
            best = found if best is None else min(best, found)
    assert best is not None
    return MarkovModel(counts, best[1]), best[2]


def _tape_loader(data: LanguageDataModule, split: str) -> TapeLoader:
    """The text of a split in rows of at least 100 kb, so that what is read without a memory of it hardly counts."""
    samples = data.store.samples(split)
    first, behind = stretches(data.store, samples)
    rows = max(1, min(data.batch_size, int((behind - first).sum()) // STRETCH))
    return TapeLoader(data.store, samples, rows, data.segment)


def _cuts(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where among places in a text each stretch of 100 kb begins; a last one that is shorter joins the one before."""
    last = max(1, int(places[-1] + 1) // STRETCH) - 1
    return np.unique(np.minimum(places // STRETCH, last), return_index=True)[1].astype(np.int64)


@torch.no_grad()
def _read(model: LanguageModel, loader: TapeLoader) -> tuple[Floats, Floats]:
    """What each letter of a loader's text costs, NaN where it is not guessed, and whether it is guessed right."""
    device, memory = next(model.parameters()).device, None
    parts: list[NDArray[np.float32]] = []
    for batch in loader:
        found = guess(model, batch._replace(inputs=batch.inputs.to(device)), memory, 0.0, _SEED)
        memory = found.memory
        cost = found.bits.masked_fill(found.letters == UNCOUNTED, torch.nan)
        hit = (found.logits.argmax(dim=-1) == found.letters).float()
        parts.append(torch.stack([cost, hit]).cpu().numpy())
    # Rows of segments, side by side and then below each other, are the text from its second letter on.
    rows = np.concatenate(parts, axis=2).reshape(2, -1)
    length = len(loader.text())
    bits, right = np.full((2, length), np.nan)
    bits[1:], right[1:] = rows[:, : length - 1]
    return bits, right


@torch.no_grad()
def _score_samples(model: LanguageModel, data: LanguageDataModule, hidden: float) -> dict[str, Any]:
    store, device = data.store, next(model.parameters()).device
    train = TapeLoader(store, store.samples("train"), 1, 1).text()
    composition = MarkovModel(KmerCounts(train, store.alphabet, 1))
    price = composition.bits(np.arange(len(store.alphabet.letters), dtype=np.uint8))
    scores = {}
    for split in ("valid", "test"):
        if not len(store.samples(split)):
            continue
        parts = []
        for number, batch in enumerate(data.loader(split)):
            moved = batch._replace(
                inputs=batch.inputs.to(device), mask=None if batch.mask is None else batch.mask.to(device)
            )
            found = guess(model, moved, None, hidden, _SEED, number, 0)
            letters = found.letters.cpu().numpy()
            counted = letters != UNCOUNTED
            right = found.logits.argmax(dim=-1).cpu().numpy() == letters
            cost = np.where(counted, price[np.where(counted, letters, 0)], 0)
            columns = (found.bits.cpu().double().numpy(), cost, right & counted, counted)
            parts.append(np.column_stack([batch.samples.numpy(), *(column.sum(axis=1) for column in columns)]))
        samples, bits, cost, right, letters = np.concatenate(parts).T
        sums = {"model": bits, "composition": cost}
        blocks = blocks_of(store, samples.astype(np.int64))
        scores[split] = _summary(sums, letters, blocks, float(right.sum() / letters.sum()))
        scores[split]["blocks"] = blocks.kind
    return scores


def _summary(sums: Mapping[str, Floats], letters: NDArray[Any], blocks: Blocks, accuracy: float) -> dict[str, Any]:
    """Means of bits that add up to `sums` over so many `letters`, both `(samples,)`, with intervals."""
    weights = draw_blocks(blocks, 1, replicates=1000).weights.astype(np.float64)
    index, number = blocks.index, blocks.number
    drawn = np.bincount(index, letters, number) @ weights

    def interval(values: Floats) -> dict[str, Any]:
        mean = float(values.sum() / letters.sum())
        if number < _FEWEST_BLOCKS:
            return {"mean": mean, "interval": None}
        replicates = (np.bincount(index, values, number) @ weights) / drawn
        ends = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return {"mean": mean, "interval": [float(end) for end in ends]}

    model = sums["model"]
    bits = {
        name: interval(values) | ({} if name == "model" else {"minus_model": interval(values - model)})
        for name, values in sums.items()
    }
    return {"letters": int(letters.sum()), "accuracy": accuracy, "bits_per_letter": bits}
