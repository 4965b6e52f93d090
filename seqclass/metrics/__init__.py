"""Exact metrics of scores against labels, of one target or of many."""

from seqclass.metrics.ranking import MISSING, Curve, RankingMetrics, auroc, average_precision, rank, rank_targets

__all__ = ["MISSING", "Curve", "RankingMetrics", "auroc", "average_precision", "rank", "rank_targets"]
