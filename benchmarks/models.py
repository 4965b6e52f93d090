"""Models in training and in inference, against the same models as they are usually written.

    python benchmarks/models.py [--fast] [--compile] [--threads N]

`wrn_transformer_xl` (39,286,287 parameters, 1,000 bp, 919 targets, causal as the original was) against the original's
form, and `protcnn` (1,100 channels) on Pfam-like domains of many lengths against padding to 512; see
`reference_models.py`. First both are shown to compute the same, from the same weights. Then they take turns, round by
round, and the median round counts, as others may use the machine. Training is forward, loss, backward and AdamW.

Beside the rate stands the share of the matrix product's: the model's own operations a second (a training step counts as
three forward passes; padding counts for nothing) over those of a large matrix product of the same precision, measured
in the same run.
"""

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from loader import write_proteins
from reference_models import OriginalDnaModel, PaddedProtCNN
from torch import Tensor, nn

from seqclass.data.loader import StoreLoader
from seqclass.models import Classifier, create_model
from seqclass.models.summary import summarise

PADDED = 512
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Inputs = tuple[Tensor, ...]


def in_bf16() -> AbstractContextManager[None]:
    return torch.autocast(DEVICE.type, torch.bfloat16)


PRECISIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {"fp32": nullcontext, "bf16": in_bf16}


def seconds(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(precision: str) -> float:
    """Operations a second of a large matrix product."""
    size = 8192 if DEVICE.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=DEVICE) for _ in range(2))
    if precision == "bf16":
        a, b = a.bfloat16(), b.bfloat16()
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(6))


class Runner:
    """One way to run a model: which module, in which precision, on which batches in turn."""

    def __init__(self, name: str, model: nn.Module, precision: str, batches: list[Inputs], training: bool) -> None:
        self.name, self.precision, self.training = name, precision, training
        self.model = copy.deepcopy(model).to(DEVICE).train(training)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), 1e-5, fused=True) if training else None
        self.batches = [tuple(part.to(DEVICE) for part in batch) for batch in batches]
        self.times: list[float] = []

    def compile(self) -> "Runner":
        self.model.compile(dynamic=len({batch[0].shape for batch in self.batches}) > 1 or None)
        return self

    def round(self) -> None:
        self.times.append(seconds(self._pass))

    def _pass(self) -> None:
        if self.optimiser is None:
            # As one predicts: weights are cast once for all batches.
            with torch.no_grad(), PRECISIONS[self.precision]():
                for batch in self.batches:
                    self.model(*batch)
            return
        for batch in self.batches:
            with PRECISIONS[self.precision]():
                logits = self.model(*batch)
            loss = F.binary_cross_entropy_with_logits(logits.float(), torch.zeros_like(logits, dtype=torch.float32))
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()


def contest(
    title: str, unit: str, amount: float, flops: float, runners: list[Runner], rounds: int, peaks: dict[str, float]
) -> None:
    """Lets the first be the reference of the others.

    Args:
        title: Of the table.
        unit: Of what is counted.
        amount: Units in a round.
        flops: Operations of the model's own in a forward pass over a round.
        runners: Each makes a round in turn.
        rounds: How many of each count, after one that does not.
        peaks: Operations a second of a matrix product, by precision.
    """
    print(f"\n{title}")
    for number in range(rounds + 1):
        for runner in runners:
            runner.round()
            if number == 0:
                runner.times.clear()
    reference = statistics.median(runners[0].times)
    for runner in runners:
        middle = statistics.median(runner.times)
        rate = (3 if runner.training else 1) * flops / middle
        spread = (max(runner.times) - min(runner.times)) / middle
        print(
            f"  {runner.name:24} {amount / middle:12,.0f} {unit}/s  {reference / middle:6.2f} x  "
            f"{rate / 1e9:9,.0f} GFLOP/s, {rate / peaks[runner.precision]:4.0%} of a matrix product  "
            f"(spread {spread:.0%})",
            flush=True,
        )


def runners_of(
    reference: nn.Module, ours: Classifier, padded: list[Inputs], ragged: list[Inputs], training: bool, compiled: bool
) -> Iterator[Runner]:
    yield Runner("usual form, fp32", reference, "fp32", padded, training)
    if DEVICE.type == "cuda":
        yield Runner("usual form, bf16", reference, "bf16", padded, training)
    for precision in PRECISIONS:
        yield Runner(f"ours, {precision}", ours, precision, ragged, training)
    if compiled:
        yield Runner("ours, bf16, compiled", ours, "bf16", ragged, training).compile()


def check_equal(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    print(f"same logits from the same weights: largest difference {(one - two).abs().max():.1e}")


def dna(options: argparse.Namespace, rounds: int, peaks: dict[str, float]) -> None:
    torch.manual_seed(0)
    ours = create_model("wrn_transformer_xl", num_targets=919, causal=True).eval()
    reference = OriginalDnaModel(ours).eval()
    size = (1024 if DEVICE.type == "cuda" else 32) // (4 if options.fast else 1)
    tokens = torch.randint(0, 4, (size, 1000), dtype=torch.uint8)
    with torch.inference_mode():
        check_equal(ours(tokens[:4]), reference(tokens[:4]))
    batches: list[Inputs] = [(tokens,)] * 3
    count = size * len(batches)
    flops = count * summarise(ours)[-1].flops
    for training in (False, True):
        title = f"wrn_transformer_xl, {'training' if training else 'inference'}, batches of {size}"
        runners = list(runners_of(reference, ours, batches, batches, training, options.compile))
        contest(title, "samples", count, flops, runners, rounds, peaks)


def proteins(options: argparse.Namespace, rounds: int, peaks: dict[str, float]) -> None:
    torch.manual_seed(0)
    ours = create_model("protcnn", num_targets=1000).eval()
    reference = PaddedProtCNN(ours).eval()
    size = (256 if DEVICE.type == "cuda" else 12) // (3 if options.fast else 1)
    with tempfile.TemporaryDirectory() as folder:
        store = write_proteins(Path(folder) / "domains.h5", 8192, 155, vectors=False)
        loader = StoreLoader(store, store.samples("train"), size, shuffle=True)
        steps = 3 if DEVICE.type == "cpu" else 20
        # Batches of longer and shorter domains as they come, none longer than the reference takes.
        chosen = list(islice((batch for batch in loader if batch.inputs.shape[1] <= PADDED), steps))
    ragged = [
        (batch.inputs, torch.ones(batch.inputs.shape, dtype=torch.bool) if batch.mask is None else batch.mask)
        for batch in chosen
    ]
    pairs = [(tokens[row : row + 1], mask[row : row + 1]) for tokens, mask in ragged for row in range(len(tokens))]
    padded = [
        tuple(
            torch.cat([F.pad(part, (0, PADDED - part.shape[1])) for part in parts]) for parts in zip(*few, strict=True)
        )
        for few in (pairs[begin : begin + size] for begin in range(0, len(pairs), size))
    ]
    residues = sum(int(mask.sum()) for _, mask in ragged)
    with torch.inference_mode():
        check_equal(ours(*padded[0])[:2], reference(*padded[0])[:2])
    flops = residues / PADDED * summarise(ours, PADDED)[-1].flops
    print(f"{len(pairs)} domains of {residues / len(pairs):.0f} residues; padded to {PADDED}, {len(padded)} batches")
    for training in (False, True):
        title = f"protcnn, {'training' if training else 'inference'}, batches of about {size * 155:,} residues"
        runners = list(runners_of(reference, ours, padded, ragged, training, options.compile))
        contest(title, "residues", residues, flops, runners, rounds, peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast models train and predict, beside their usual form.")
    parser.add_argument("--fast", action="store_true", help="small batches, one round")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile, which takes minutes")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.processor() or platform.machine()
    print(f"{where}, {os.cpu_count()} cores, {options.threads} threads; torch {torch.__version__}")
    peaks = {precision: peak(precision) for precision in PRECISIONS}
    print("matrix product: " + ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in peaks.items()))
    rounds = 1 if options.fast else 5
    dna(options, rounds, peaks)
    proteins(options, rounds, peaks)


if __name__ == "__main__":
    main()
