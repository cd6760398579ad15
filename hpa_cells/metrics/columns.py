"""The names of the columns of score tables; nowhere else are they spelt."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

__all__ = ["ScoreColumn", "macro_mean"]


class ScoreColumn:
    """Columns of the tables that the metrics give: one row a class, or one row an IoU threshold."""

    CLASS_KEY: Final = "class_key"
    NAME: Final = "name"
    NUM_TRUTHS: Final = "num_truths"
    NUM_DETECTIONS: Final = "num_detections"
    AP: Final = "ap"
    AP_WORST: Final = "ap_worst"
    AP_BEST: Final = "ap_best"
    TIE_SHARE: Final = "tie_share"
    PRECISION: Final = "precision"
    RECALL: Final = "recall"
    F1: Final = "f1"
    IOU_THRESHOLD: Final = "iou_threshold"
    NUM_MATCHED: Final = "num_matched"
    NUM_PREDICTED: Final = "num_predicted"
    PANOPTIC_QUALITY: Final = "panoptic_quality"
    MEAN_MATCHED_IOU: Final = "mean_matched_iou"


def macro_mean(scores: pd.DataFrame, column: str) -> float:
    """Mean of a score over the classes that have one: one without truth (NaN) is left out, not taken as 0.

    NaN if no class has one.

    Examples
    --------
    >>> macro_mean(pd.DataFrame({"ap": [0.5, np.nan, 1.0]}), "ap")
    0.75
    """
    values = scores[column].to_numpy(dtype=np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
