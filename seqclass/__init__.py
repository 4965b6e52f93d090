"""Composable deep-learning classifiers for DNA and protein sequences.

    import seqclass

    for prediction in seqclass.load("runs/demo/bundle").predict("promoters.fasta"):
        print(prediction.id, prediction.top(3))

Importing this package is light; torch is loaded when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from seqclass.bundle import Bundle

__all__ = ["__version__", "load"]


def load(path: str) -> Bundle:
    """The bundle in a folder or on the hub, or in an ONNX file; see `seqclass.onnx_file.open_bundle`."""
    from seqclass.onnx_file import open_bundle

    return open_bundle(path)
