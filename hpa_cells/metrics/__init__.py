"""Metrics: the 2021 challenge's average precision, multilabel scores and thresholds, instance scores."""

from hpa_cells.metrics.columns import ScoreColumn, macro_mean
from hpa_cells.metrics.instances import (
    IOU_THRESHOLDS,
    InstanceOverlaps,
    instance_overlaps,
    match_instances,
    score_instances,
)
from hpa_cells.metrics.multilabel import average_precision_per_class, macro_f1, multilabel_scores
from hpa_cells.metrics.open_images import (
    CHALLENGE_IOU,
    TieOrder,
    average_precision_of_matches,
    challenge_average_precision,
    match_detections,
    mean_average_precision,
    tie_share,
)
from hpa_cells.metrics.pairing import MissingFields, Overlaps, label_images, overlapping_cells
from hpa_cells.metrics.reliability import (
    ReliabilityColumn,
    brier_score,
    calibration_error,
    calibration_scores,
    equal_shares,
    halving_shares,
    reliability_bins,
    wilson_interval,
)
from hpa_cells.metrics.resampled import average_precision_on_fields
from hpa_cells.metrics.thresholds import fixed_thresholds, ratio_thresholds, tuned_thresholds

__all__ = [
    "CHALLENGE_IOU",
    "IOU_THRESHOLDS",
    "InstanceOverlaps",
    "MissingFields",
    "Overlaps",
    "ReliabilityColumn",
    "ScoreColumn",
    "TieOrder",
    "average_precision_of_matches",
    "average_precision_on_fields",
    "average_precision_per_class",
    "brier_score",
    "calibration_error",
    "calibration_scores",
    "challenge_average_precision",
    "equal_shares",
    "fixed_thresholds",
    "halving_shares",
    "instance_overlaps",
    "label_images",
    "macro_f1",
    "macro_mean",
    "match_detections",
    "match_instances",
    "mean_average_precision",
    "multilabel_scores",
    "overlapping_cells",
    "ratio_thresholds",
    "reliability_bins",
    "score_instances",
    "tie_share",
    "tuned_thresholds",
    "wilson_interval",
]
