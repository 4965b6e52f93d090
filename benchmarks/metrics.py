"""How fast the exact metrics are at DeepSEA's size, beside scikit-learn on the same labels and scores.

    python benchmarks/metrics.py [--targets 919]

Of 919 targets on the 455,024 test samples: AUROC, average precision and max-F1 together; scikit-learn's first two are
timed on a few of the targets, since all of them take it minutes. Prevalences are drawn like DeepSEA's, 2 % on average.
Once with scores in single precision, and once rounded to bfloat16, as a model's often are, so that ties abound. Then:
what an exact ranking of the 8,000 validation samples costs after each epoch, and 100 bootstrap replicates. Where there
is a GPU, the same there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from seqclass.evaluation.blocks import Blocks
from seqclass.evaluation.bootstrap import draw_blocks, resample_ranking
from seqclass.metrics import rank_targets
from seqclass.metrics.on_device import rank_tensors

SAMPLES, VALIDATION = 455_024, 8_000
# scikit-learn takes half a second for each; the bootstrap is shown on as many, and both are scaled up.
FEW = 16
LOCI = SAMPLES // 2

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def simulate(targets: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    prevalence = np.clip(random.lognormal(np.log(0.012), 1.1, targets), 1e-4, 0.3)
    labels, scores = np.empty((SAMPLES, targets), np.int8), np.empty((SAMPLES, targets), np.float32)
    for begin in range(0, SAMPLES, 1 << 14):
        block = slice(begin, begin + (1 << 14))
        labels[block] = random.random(labels[block].shape, dtype=np.float32) < prevalence
        scores[block] = random.standard_normal(scores[block].shape, dtype=np.float32)
        scores[block] += 1.5 * labels[block]
    return labels, scores


def compare(precision: str, labels: np.ndarray, scores: np.ndarray, few: np.ndarray) -> None:
    def loop() -> list[tuple[float, float]]:
        columns = [(np.ascontiguousarray(labels[:, i]), np.ascontiguousarray(scores[:, i])) for i in few]
        return [(roc_auc_score(*pair), average_precision_score(*pair)) for pair in columns]

    theirs, expected = timed(loop)
    theirs *= labels.shape[1] / len(few)
    ours, found = timed(lambda: rank_targets(labels, scores))
    difference = np.abs(np.stack([found.auroc[few], found.average_precision[few]], axis=1) - expected).max()
    print(f"scores in {precision}")
    print(f"  scikit-learn   {theirs:8.1f} s  ({len(few)} targets timed)")
    print(f"  rank_targets   {ours:8.1f} s  {theirs / ours:.0f} x as fast, largest difference {difference:.0e}")
    if torch.cuda.is_available():
        here = [torch.from_numpy(each) for each in (labels, scores)]
        timed(lambda: rank_tensors(*(each[:, :2].cuda() for each in here)))
        seconds, there = timed(lambda: rank_tensors(*(each.cuda() for each in here)))
        gap = max(np.abs(one - other).max() for one, other in zip(there, found, strict=True))
        print(f"  rank_tensors   {seconds:8.1f} s  {torch.cuda.get_device_name()}, largest difference {gap:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=919)
    targets = parser.parse_args().targets
    labels, scores = simulate(targets)
    print(f"{targets} targets x {SAMPLES:,} samples, {labels.mean():.3%} of labels are 1")

    few = np.linspace(0, targets - 1, min(FEW, targets)).astype(int)
    compare("float32", labels, scores, few)
    # What is left of a float32's bits is a bfloat16.
    scores.view(np.uint32)[:] &= 0xFFFF0000
    compare("bfloat16", labels, scores, few)

    seconds, _ = timed(lambda: rank_targets(labels[:VALIDATION], scores[:VALIDATION]))
    print(f"validation       {seconds:8.2f} s  {targets} targets x {VALIDATION:,} samples, exactly")

    draw = draw_blocks(Blocks(np.arange(LOCI) // 100, "windows"), targets, replicates=100)
    seconds, _ = timed(lambda: resample_ranking(labels[:LOCI, few], scores[:LOCI, few], draw))
    seconds *= targets / len(few)
    print(f"bootstrap        {seconds:8.1f} s  100 replicates of {LOCI:,} loci ({len(few)} targets timed)")


if __name__ == "__main__":
    main()
