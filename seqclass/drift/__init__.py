"""Whether new sequences are like those that a model was trained on; and where they lie among them."""

from seqclass.drift.measure import Aspect, Drift, measure_drift
from seqclass.drift.observe import place
from seqclass.drift.report import write_drift
from seqclass.drift.summary import MOST_SAMPLES, summarise, was_trained_on

__all__ = ["MOST_SAMPLES", "Aspect", "Drift", "measure_drift", "place", "summarise", "was_trained_on", "write_drift"]
