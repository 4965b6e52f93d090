"""A search for the options with which a model trains best, on validation."""

from seqclass.training.sweep.command import run_sweep

__all__ = ["run_sweep"]
