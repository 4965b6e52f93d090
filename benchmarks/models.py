"""Models in training and in inference, against the same models as they are usually written.

    python benchmarks/models.py [--fast] [--compile] [--threads N]

`wrn_transformer_xl` (39,286,287 parameters, 1,000 bp, 919 targets, causal as the original was) against the original's
form, and `protcnn` (1,100 channels) on Pfam-like domains of many lengths against padding to 512; see
`reference_models.py`. First both are shown to compute the same, from the same weights. Then they take turns, round by
round, and the median counts, of rates and of the ratios within a round, as others may use the machine. Training is
forward, loss, backward and AdamW.

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from loader import write_proteins
from reference_models import OriginalDnaModel, PaddedProtCNN
from torch import Tensor, nn

from seqclass.data.loader import Batch, StoreLoader
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


class Work(NamedTuple):
    """Batches, and how many samples or real residues they hold."""

    batches: list[Inputs]
    amount: int


class Runner:
    """One way to run a model: which module, in which precision, on which batches in turn, which hold how much."""

    def __init__(self, name: str, model: nn.Module, precision: str, work: "Work", training: bool) -> None:
        self.name, self.precision, self.training, self.amount = name, precision, training, work.amount
        self.model = copy.deepcopy(model).to(DEVICE).train(training)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), 1e-5, fused=True) if training else None
        self.batches = [tuple(part.to(DEVICE) for part in batch) for batch in work.batches]
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
    title: str, unit: str, flops: float, runners: Iterable[Runner], rounds: int, peaks: dict[str, float]
) -> None:
    """Lets the first be the reference of the others.

    Args:
        title: Of the table.
        unit: Of what is counted.
        flops: Operations of the model's own in a forward pass of one unit.
        runners: Each makes a round in turn.
        rounds: How many of each count, after one that does not.
        peaks: Operations a second of a matrix product, by precision.
    """
    print(f"\n{title}")
    runners = list(runners)
    for number in range(rounds + 1):
        for runner in runners:
            runner.round()
            if number == 0:
                runner.times.clear()
    usual = runners[0]
    for runner in runners:
        middle = statistics.median(runner.times)
        rate = runner.amount / middle
        slower = statistics.median(one / other for one, other in zip(usual.times, runner.times, strict=True))
        ratio = slower * runner.amount / usual.amount
        operations = (3 if runner.training else 1) * flops * rate
        spread = (max(runner.times) - min(runner.times)) / middle
        print(
            f"  {runner.name:24} {rate:12,.0f} {unit}/s  {ratio:6.2f} x  {operations / 1e9:9,.0f} GFLOP/s, "
            f"{operations / peaks[runner.precision]:4.0%} of a matrix product  (spread {spread:.0%})",
            flush=True,
        )


def runners_of(
    reference: nn.Module, ours: Classifier, usual: Work, work: Work, training: bool, compiled: bool
) -> Iterator[Runner]:
    yield Runner("usual form, fp32", reference, "fp32", usual, training)
    if DEVICE.type == "cuda":
        yield Runner("usual form, bf16", reference, "bf16", usual, training)
    for precision in PRECISIONS:
        yield Runner(f"ours, {precision}", ours, precision, work, training)
    if compiled:
        yield Runner("ours, bf16, compiled", ours, "bf16", work, training).compile()


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
    work = Work([(tokens,)] * 3, 3 * size)
    for training in (False, True):
        title = f"wrn_transformer_xl, {'training' if training else 'inference'}, batches of {size}"
        runners = runners_of(reference, ours, work, work, training, options.compile)
        contest(title, "samples", summarise(ours)[-1].flops, runners, rounds, peaks)


def proteins(options: argparse.Namespace, rounds: int, peaks: dict[str, float]) -> None:
    torch.manual_seed(0)
    ours = create_model("protcnn", num_targets=1000).eval()
    reference = PaddedProtCNN(ours).eval()
    size = (256 if DEVICE.type == "cuda" else 12) // (3 if options.fast else 1)
    with tempfile.TemporaryDirectory() as folder:
        store = write_proteins(Path(folder) / "domains.h5", 8192, 155, vectors=False)
        samples = np.flatnonzero(store.views.length <= PADDED)
        loader = StoreLoader(store, samples, size, shuffle=True)
        ragged = [_with_mask(batch) for batch in islice(loader, 3 if DEVICE.type == "cpu" else 20)]
        # Every so many-th by length: as long on average as all of them are.
        order = samples[np.argsort(store.views.length[samples])]
        few = order[len(order) // (2 * size) :: len(order) // size][:size]
        parts = [_with_mask(batch) for batch in StoreLoader(store, few, size)]
    widened = [tuple(F.pad(part, (0, PADDED - part.shape[1])) for part in pair) for pair in parts]
    padded = tuple(torch.cat(column) for column in zip(*widened, strict=True))
    usual, work = (Work(batches, sum(int(mask.sum()) for _, mask in batches)) for batches in ([padded], ragged))
    with torch.inference_mode():
        check_equal(ours(padded[0][:2], padded[1][:2]), reference(padded[0][:2], padded[1][:2]))
    print(f"{size} domains of {usual.amount / size:.0f} residues, padded to {PADDED}, as the usual form")
    for training in (False, True):
        title = f"protcnn, {'training' if training else 'inference'}, batches of about {size * 155:,} residues"
        runners = runners_of(reference, ours, usual, work, training, options.compile)
        contest(title, "residues", summarise(ours, PADDED)[-1].flops / PADDED, runners, rounds, peaks)


def _with_mask(batch: Batch) -> Inputs:
    mask = torch.ones(batch.inputs.shape, dtype=torch.bool) if batch.mask is None else batch.mask
    return batch.inputs, mask


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
