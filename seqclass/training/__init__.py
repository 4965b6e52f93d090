"""Training with Lightning: the task, the data, and experiments from the command line."""

from seqclass.training.experiment import run_experiment
from seqclass.training.rehearsal import Rehearsal
from seqclass.training.task import Recipe

__all__ = ["Recipe", "Rehearsal", "run_experiment"]
