"""How fast AUROC and average precision are, as a ratio to scikit-learn on the same labels and scores.

    python benchmarks/metrics.py

The size is that of the DeepSEA test set, 455,024 samples; a few targets are enough to time one.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from seqclass.metrics import rank, rank_targets

SAMPLES, TARGETS = 455_024, 32


def main() -> None:
    random = np.random.default_rng(0)
    for prevalence in (0.002, 0.02, 0.5):
        labels = (random.random((SAMPLES, TARGETS)) < prevalence).astype(np.uint8)
        scores = (random.standard_normal((SAMPLES, TARGETS)) + labels).astype(np.float32)
        one = (np.ascontiguousarray(labels[:, 0]), np.ascontiguousarray(scores[:, 0]))

        start = time.perf_counter()
        expected = roc_auc_score(*one), average_precision_score(*one)
        scikit_learn = time.perf_counter() - start

        repeats = 10
        start = time.perf_counter()
        for _ in range(repeats):
            curve = rank(*one)
            found = curve.auroc, curve.average_precision
        alone = (time.perf_counter() - start) / repeats

        start = time.perf_counter()
        rank_targets(labels, scores)
        many = (time.perf_counter() - start) / TARGETS

        difference = np.abs(np.subtract(found, expected)).max()
        print(
            f"prevalence {prevalence:5}: scikit-learn {scikit_learn * 1e3:6.1f} ms a target; "
            f"rank {alone * 1e3:5.1f} ms ({scikit_learn / alone:4.0f} x); "
            f"rank_targets {many * 1e3:5.1f} ms ({scikit_learn / many:4.0f} x); difference {difference:.0e}"
        )


if __name__ == "__main__":
    main()
