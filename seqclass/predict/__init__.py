"""Sequences in, calibrated named probabilities out. Everything that scores with a bundle goes through here.

For DNA a probability is the mean of those of the two strands, calibrated after that.

    judge       a batch through the model
    memory      how much at once
    turns       when, where a device is shared
    stretches   from sequences to what of them is scored
    scoring     batches of like length; samples of a store
    portions    many stretches, none scored twice
    records     predictions, one after the other
    formats     as files; beta_lactamase, one of them
    run         long runs, stopped and gone on with, shared by processes
    files       a FASTA file in, a file out
    genome      a genome in, tracks out
"""

from __future__ import annotations

from seqclass.predict.files import write_predictions
from seqclass.predict.formats import FORMATS
from seqclass.predict.genome import write_tracks
from seqclass.predict.judge import ABSTAINED, best_device, called, evaluating, judge, probabilities
from seqclass.predict.records import Label, Prediction, Tell, predict
from seqclass.predict.scoring import check_fits, score_samples, score_tokens
from seqclass.predict.stretches import (
    LENGTH_POLICIES,
    LengthPolicy,
    Sequences,
    Stretch,
    cut,
    letter_reader,
    read_stretches,
)

__all__ = [
    "ABSTAINED",
    "FORMATS",
    "LENGTH_POLICIES",
    "Label",
    "LengthPolicy",
    "Prediction",
    "Sequences",
    "Stretch",
    "Tell",
    "best_device",
    "called",
    "check_fits",
    "cut",
    "evaluating",
    "judge",
    "letter_reader",
    "predict",
    "probabilities",
    "read_stretches",
    "score_samples",
    "score_tokens",
    "write_predictions",
    "write_tracks",
]
