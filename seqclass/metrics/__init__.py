"""Exact metrics of scores against labels, of one target or of many."""

from seqclass.metrics.confusion import BinaryCounts, ClassCounts, top_k_accuracy
from seqclass.metrics.ranking import MISSING, Curve, RankingMetrics, auroc, average_precision, rank, rank_targets
from seqclass.metrics.reliability import Reliability, brier_score, brier_skill, reliability

__all__ = [
    "MISSING",
    "BinaryCounts",
    "ClassCounts",
    "Curve",
    "RankingMetrics",
    "Reliability",
    "auroc",
    "average_precision",
    "brier_score",
    "brier_skill",
    "rank",
    "rank_targets",
    "reliability",
    "top_k_accuracy",
]
