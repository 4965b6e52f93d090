"""Composable deep-learning classifiers for DNA and protein sequences.

    import seqclass
    from seqclass.predict import predict

    bundle = seqclass.load("runs/demo/bundle")
    for prediction in predict(bundle, "promoters.fasta"):
        print(prediction.name, prediction.probabilities)

Importing this package is light; torch is loaded when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from seqclass.bundle import Bundle

__all__ = ["__version__", "load"]


def load(path: str) -> Bundle:
    """The bundle in a folder, as from `seqclass.bundle.Bundle.load`."""
    from seqclass.bundle import Bundle

    return Bundle.load(path)
