"""Sequences in, calibrated named probabilities out. Everything that scores with a bundle goes through here.

For DNA a probability is the mean of those of the two strands, calibrated after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.alphabets import DNA, Tokens
from seqclass.atomic import atomic_file, check_free
from seqclass.blocks import TransformersEncoder
from seqclass.blocks.relative_attention import RelativeAttention
from seqclass.bundle import Bundle
from seqclass.data.fasta import read_fasta
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Indices, Store
from seqclass.errors import BundleError, SequenceError, StoreError, find_name
from seqclass.models import Ensemble
from seqclass.models.strands import strand_mean
from seqclass.progress import Advance, progress, track

LengthPolicy = Literal["error", "centre", "tile"]
LENGTH_POLICIES: tuple[str, ...] = get_args(LengthPolicy)

ABSTAINED = "abstained"
"""What is called where a sample is taken to be of no class of a group."""

_BATCH_RESIDUES = 1 << 18
_CHUNK_SEQUENCES, _CHUNK_RESIDUES = 4096, 1 << 22

# Attention scores every position against every other. So many positions, 32,768 bp of the original DNA model, took 1 GB
# to predict and 3 GB to explain; twice as many take four times that.
_ATTENTION_POSITIONS = 4096


class Prediction(NamedTuple):
    """What a model says of one sequence, or of one window of it.

    Attributes:
        name: The sequence's name.
        start: Where the scored stretch begins, in residues of the sequence, 0-based; negative where N was put before.
        end: Where it ends (exclusive); beyond the sequence's length where N was put behind.
        probabilities: `(targets,)` float32.
        spread: `(targets,)` float32: of an ensemble, the standard deviation of its members' probabilities; else None.
        calls: Of a calibrated bundle, names of what is called: the class of each exclusive group, or `ABSTAINED`, and
            yes-or-no targets from their threshold on; else None.
    """

    name: str
    start: int
    end: int
    probabilities: NDArray[np.float32]
    spread: NDArray[np.float32] | None = None
    calls: list[str] | None = None


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def evaluating(model: nn.Module, device: torch.device | None = None) -> Iterator[torch.device]:
    """Within the block the model is in evaluation mode on `device`; afterwards it is as it was."""
    device = device or best_device()
    before = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval().to(device)
    try:
        yield device
    finally:
        model.to(before)
        for module, mode in modes:
            module.training = mode


def probabilities(bundle: Bundle, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Probabilities `(batch, targets)` of inputs `(batch, length)`, on the inputs' device; both strands for DNA.

    Those of an exclusive group of targets add up to 1. The members of an ensemble see both strands, then they vote.
    Last, the bundle's calibration is applied.
    """
    return judge(bundle, inputs, mask)[0]


def judge(bundle: Bundle, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Probabilities as from `probabilities`; and of an ensemble, how far its members disagree about each, else None.

    That is the standard deviation of the members' probabilities, `(batch, targets)`.
    """
    if isinstance(bundle.model, Ensemble):
        each = torch.stack([_of_model(bundle, member, inputs, mask) for member in bundle.model.members])
        joint, spread = bundle.model.combine(each), each.std(dim=0, correction=0)
    else:
        joint, spread = _of_model(bundle, bundle.model, inputs, mask), None
    if bundle.calibration is not None:
        joint = bundle.calibration.apply(joint, bundle.binary, bundle.groups)
    return joint, spread


def _of_model(bundle: Bundle, model: nn.Module, inputs: Tensor, mask: Tensor | None) -> Tensor:

    groups = bundle.groups.values()

    def activation(logits: Tensor) -> Tensor:
        out = torch.sigmoid(logits)
        for members in groups:
            out[:, members] = torch.softmax(logits[:, members], dim=1)
        return out

    if bundle.alphabet is DNA and bundle.model.input_kind == "tokens":
        return strand_mean(model, inputs, mask, activation)
    return activation(model(inputs, mask).float())


def called(bundle: Bundle, probabilities: NDArray[np.floating[Any]]) -> list[list[str]]:
    """What is called on the strength of calibrated probabilities `(samples, targets)`; see `Prediction`.

    Raises:
        BundleError: The bundle has no calibration.
    """
    calibration = bundle.calibration
    if calibration is None:
        raise BundleError(
            "the bundle has no calibration, so no thresholds",
            remedy="Fit one on validation with seqclass.evaluation.calibration.calibrate",
            file=bundle.path,
        )
    names = np.array([target.name for target in bundle.targets])
    calls: list[list[str]] = [[] for _ in probabilities]
    for group, columns in bundle.groups.items():
        ours = probabilities[:, columns]
        known = ours.max(axis=1) >= calibration.abstain_below[group]
        for row, name in enumerate(np.where(known, names[columns][ours.argmax(axis=1)], ABSTAINED).tolist()):
            calls[row].append(name)
    binary = np.array(bundle.binary, dtype=np.int64)
    for row, above in enumerate(probabilities[:, binary] >= np.array(calibration.threshold)):
        calls[row] += names[binary[above]].tolist()
    return calls


def score_samples(bundle: Bundle, store: Store, samples: Indices, *, calibrated: bool = True) -> NDArray[np.float32]:
    """Probabilities of samples of a store, `(samples, targets)`, in the order given.

    Args:
        bundle: The model.
        store: Its alphabet, window and targets are those of the bundle.
        samples: Indices of samples.
        calibrated: Whether the bundle's calibration is applied, if it has one.

    Raises:
        StoreError: The store's alphabet, window or targets are not those of the bundle, or there are no samples.
    """
    check_fits(bundle, store)
    bundle = bundle if calibrated else replace(bundle, calibration=None)
    longest = int(store.views.length[samples].max(initial=1))
    most = _batch_size(bundle, longest)
    loader = StoreLoader(store, samples, most, batch_residues=most * longest)
    scores = np.empty((len(samples), store.num_targets), dtype=np.float32)
    order = np.argsort(samples, kind="stable")
    with evaluating(bundle.model) as device, torch.inference_mode():
        for batch in track(loader, "Scoring", len(loader), "batches"):
            mask = None if batch.mask is None else batch.mask.to(device)
            rows = order[np.searchsorted(samples[order], batch.samples.numpy())]
            scores[rows] = probabilities(bundle, batch.inputs.to(device), mask).cpu().numpy()
    return scores


def check_fits(bundle: Bundle, store: Store) -> None:
    """Makes sure that a store asks what the bundle answers.

    Raises:
        StoreError: What it holds, its alphabet, targets or window differ.
    """
    asked, held = _input(bundle.model.input_kind, bundle.model.vector_size), _input(store.input_kind, store.vector_size)
    if asked != held:
        raise StoreError(
            f"the store holds {held}, and the model reads {asked}",
            remedy=f"Give a store of {asked}",
            file=store.path,
        )
    if store.alphabet is not bundle.alphabet:
        found = f"the store holds {store.alphabet.name}, and the model reads {bundle.alphabet.name}"
        raise StoreError(found, remedy="Give a store of the model's alphabet", file=store.path)
    ours, theirs = [target.name for target in bundle.targets], [target.name for target in store.targets]
    if ours != theirs:
        differing = sorted(set(ours) ^ set(theirs)) or ["the order"]
        raise StoreError(
            f"the store's {len(theirs)} targets are not the model's {len(ours)} (differing: {', '.join(differing[:5])}"
            + (", ...)" if len(differing) > 5 else ")"),
            remedy="Import the data with the targets of the model",
            file=store.path,
        )
    if set(store.layout.exclusive) != set(bundle.exclusive):
        raise StoreError(
            f"just one target is true of the store's groups {list(store.layout.exclusive)}, and of the model's "
            f"{list(bundle.exclusive)}",
            remedy="Import the data with the questions of the model",
            file=store.path,
        )
    if bundle.length is not None and store.window != bundle.length:
        raise StoreError(
            f"the store's windows are of {store.window} residues, and the model takes {bundle.length}",
            remedy=f"Import the data with --window {bundle.length}",
            file=store.path,
        )


def _input(kind: str, vector_size: int | None) -> str:
    return kind if vector_size is None else f"{kind} of {vector_size:,} numbers"


class Stretch(NamedTuple):
    """What of a sequence is scored at once: the sequence's name, where on it this begins, and `(length,)` tokens."""

    name: str
    start: int
    tokens: Tokens


def read_stretches(
    bundle: Bundle, sequences: str | Path | Iterable[tuple[str, str]], policy: LengthPolicy
) -> Iterator[Stretch]:
    """The stretches to be scored of a FASTA file's records, or of pairs of a name and a sequence; see `cut`.

    Raises:
        SequenceError: The file is missing, empty or no FASTA, a sequence is empty, a letter is not of the model's
            alphabet, or a length does not fit; file and record are named. Or the model reads vectors.
    """
    if bundle.model.input_kind != "tokens":
        raise SequenceError(
            f"sequences, where the model reads {_input(bundle.model.input_kind, bundle.model.vector_size)}",
            remedy="Turn them into vectors with 'seqclass embed', import those, and judge the store with "
            "'seqclass evaluate'",
        )
    file: str | Path | None = None
    named: Iterator[tuple[str, str, str | bytes]]
    if isinstance(sequences, str | Path):
        file = sequences
        named = ((f"line {line}, record '{name}'", name, letters) for name, _, letters, line in read_fasta(file))
    else:
        named = ((f"record '{name}'", name, letters) for name, letters in sequences)
    for place, name, letters in named:
        try:
            for start, tokens in cut(bundle, bundle.alphabet.encode(letters), policy):
                yield Stretch(name, start, tokens)
        except SequenceError as error:
            raise SequenceError(error.problem, remedy=error.remedy, file=file, record=place) from None


def cut(bundle: Bundle, tokens: Tokens, policy: LengthPolicy) -> Iterator[tuple[int, Tokens]]:
    """The stretches of a sequence that are scored, each with its start.

    A model that takes any length scores the whole sequence, unless tiles are asked for. One of a fixed length scores
    what the policy says: "error" refuses sequences of another length; "centre" takes the middle of a longer one and
    puts N around a shorter one; "tile" scores windows a bin apart over a longer one, and puts N around a shorter one.

    Raises:
        SequenceError: The sequence is empty, or its length does not fit and the policy is "error"; or it is longer than
            the model's attention takes at once.
        UnknownNameError: There is no such policy.
    """
    chosen = find_name("length policy", policy, LENGTH_POLICIES)
    if not len(tokens):
        raise SequenceError("the sequence is empty", remedy="Leave it out")
    length = bundle.length if chosen != "tile" else bundle.length or bundle.window
    if length is None:
        _refuse_too_long(bundle, len(tokens))
        yield 0, tokens
    elif len(tokens) == length:
        yield 0, tokens
    elif chosen == "error":
        raise SequenceError(
            f"{len(tokens)} residues, where the model takes exactly {length}",
            remedy=f"Pass --length-policy centre (crop or pad with {bundle.alphabet.unknown} around the middle) "
            "or tile (score every window)",
        )
    elif chosen == "tile" and len(tokens) > length:
        last = len(tokens) - length
        for start in [*range(0, last, bundle.bin or length), last]:
            yield start, tokens[start : start + length]
    else:
        start = (len(tokens) - length) // 2
        window = np.full(length, bundle.alphabet.unknown_token, dtype=np.uint8)
        inner = tokens[max(0, start) : max(0, start) + length]
        window[max(0, -start) : max(0, -start) + len(inner)] = inner
        yield start, window


def _refuse_too_long(bundle: Bundle, length: int) -> None:
    limit = _attention_limit(bundle)
    if limit is not None and length > limit:
        remedy = f"Pass --length-policy tile (score every window of {bundle.window} residues)"
        raise SequenceError(
            f"{length} residues, where the model's attention takes at most {limit} at once",
            remedy=remedy if bundle.window else "Cut it into shorter ones",
        )


def _attention_limit(bundle: Bundle) -> int | None:
    """The most residues that are scored as one sequence, None where the model has no attention and so no limit."""
    limit, longest = _attention_memory(bundle), bundle.model.longest
    return limit if limit is None or longest is None else min(limit, longest)


def _attention_memory(bundle: Bundle) -> int | None:
    """The most residues of one sequence whose attention fits in memory, None where the model has none."""
    if not any(isinstance(module, RelativeAttention | TransformersEncoder) for module in bundle.model.modules()):
        return None
    stride = max(layer.stride for layer in bundle.model.sequence_layers().values())
    return max(_ATTENTION_POSITIONS * stride, bundle.window or 0)


def _batch_size(bundle: Bundle, longest: int) -> int:
    """How many sequences of that length are scored at once: memory goes with residues, of attention with squares."""
    size, limit = _BATCH_RESIDUES // longest, _attention_memory(bundle)
    return max(1, size if limit is None else min(size, (limit // longest) ** 2))


def predict(
    bundle: Bundle,
    sequences: str | Path | Iterable[tuple[str, str]],
    *,
    length_policy: LengthPolicy = "error",
    calibrated: bool = True,
) -> Iterator[Prediction]:
    """Scores sequences one chunk at a time, in their order; memory does not grow with their number.

    Args:
        bundle: The model.
        sequences: A FASTA file (plain or gzip), or pairs of a name and a sequence.
        length_policy: What becomes of sequences that a model of a fixed length cannot take; see `cut`.
        calibrated: Whether the bundle's calibration is applied, if it has one.

    Raises:
        SequenceError: A sequence cannot be read, or its length does not fit; file and record are named.
        UnknownNameError: There is no such length policy.
    """
    bundle = bundle if calibrated else replace(bundle, calibration=None)
    stretches = read_stretches(bundle, sequences, length_policy)
    with evaluating(bundle.model) as device, progress("Predicting", unit="stretches") as advance:
        while chunk := _take_chunk(stretches):
            scores, spread = score_tokens([stretch.tokens for stretch in chunk], bundle, device, advance)
            calls = None if bundle.calibration is None else called(bundle, scores)
            for row, (name, start, tokens) in enumerate(chunk):
                apart, names = None if spread is None else spread[row], None if calls is None else calls[row]
                yield Prediction(name, start, start + len(tokens), scores[row], apart, names)


def _take_chunk(stretches: Iterator[Stretch]) -> list[Stretch]:
    """The next stretches, as many as are sorted by length together; none at the end."""
    chunk: list[Stretch] = []
    residues = 0
    while len(chunk) < _CHUNK_SEQUENCES and residues < _CHUNK_RESIDUES and (stretch := next(stretches, None)):
        chunk.append(stretch)
        residues += len(stretch.tokens)
    return chunk


def score_tokens(
    sequences: Sequence[Tokens], bundle: Bundle, device: torch.device, advance: Advance
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """What `judge` says of sequences of any lengths; neighbours in length share a batch.

    Args:
        sequences: Tokens of each.
        bundle: The model, in a block of `evaluating`.
        device: Where it is.
        advance: Is told how many more are scored.

    Returns:
        The probabilities, `(sequences, targets)`, and of an ensemble the members' standard deviation, else None.
    """
    scores = np.empty((len(sequences), len(bundle.targets)), dtype=np.float32)
    spread = np.empty_like(scores) if isinstance(bundle.model, Ensemble) else None
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    while order:
        longest = len(sequences[order[-1]])
        size = _batch_size(bundle, longest)
        batch, order = order[-size:], order[:-size]
        lengths = np.array([len(sequences[i]) for i in batch])
        tokens = np.full((len(batch), longest), bundle.alphabet.unknown_token, dtype=np.uint8)
        for row, i in enumerate(batch):
            tokens[row, : lengths[row]] = sequences[i]
        mask = None
        if (lengths < longest).any():
            mask = torch.from_numpy(np.arange(longest) < lengths[:, None]).to(device)
        with torch.inference_mode():
            joint, apart = judge(bundle, torch.from_numpy(tokens).to(device), mask)
        scores[batch] = joint.cpu().numpy()
        if spread is not None and apart is not None:
            spread[batch] = apart.cpu().numpy()
        advance(len(batch))
    return scores, spread


def write_predictions(
    bundle: Bundle,
    fasta: str | Path,
    out: str | Path,
    *,
    length_policy: LengthPolicy = "error",
    calibrated: bool = True,
    force: bool = False,
) -> int:
    """Scores a FASTA file into a table (TSV): id, start, end, and the probability of each target.

    For an ensemble, a column `NAME:spread` for each target follows: how far the members disagree. With a calibration,
    the last column is `calls`: the names of what is called, or "abstained" for a group of classes, joined by ";".

    Returns:
        The number of rows.

    Raises:
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is an input or no file, or the disk is full.
        SequenceError: As in `predict`; nothing is written then.
    """
    check_free(out, force, inputs=(fasta, bundle.path))
    rows = 0
    with atomic_file(out, force=force) as partial, open(partial, "w", encoding="utf-8") as stream:
        names = [target.name for target in bundle.targets]
        apart = [f"{name}:spread" for name in names] if isinstance(bundle.model, Ensemble) else []
        calls = ["calls"] if calibrated and bundle.calibration is not None else []
        stream.write("\t".join(["id", "start", "end", *names, *apart, *calls]) + "\n")
        for prediction in predict(bundle, fasta, length_policy=length_policy, calibrated=calibrated):
            spread = () if prediction.spread is None else prediction.spread
            values = [f"{value:.6g}" for value in (*prediction.probabilities, *spread)]
            if prediction.calls is not None:
                values.append(";".join(prediction.calls))
            row = [prediction.name, str(prediction.start), str(prediction.end), *values]
            stream.write("\t".join(row) + "\n")
            rows += 1
    return rows
