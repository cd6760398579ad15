"""How well segmented cells agree with true ones, from label images.

A predicted and a true object match if their intersection over union reaches a threshold, each at most once.
From the numbers of matches (TP), of predicted objects left over (FP) and of true ones missed (FN) follow

    precision = TP / (TP + FP)     recall = TP / (TP + FN)     F1 = 2 TP / (2 TP + FP + FN)
    AP = TP / (TP + FP + FN), the score of the Data Science Bowl 2018 [1]_
    PQ = sum of the IoU of the matches / (TP + FP/2 + FN/2), the panoptic quality [2]_ at threshold 0.5

References
----------
.. [1] Caicedo et al., Nature Methods 16:1247 (2019).
.. [2] Kirillov et al., Panoptic Segmentation, CVPR 2019, arXiv:1801.00868.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.metrics.columns import ScoreColumn

__all__ = [
    "IOU_THRESHOLDS",
    "InstanceOverlaps",
    "instance_overlaps",
    "match_instances",
    "score_instances",
]

LabelImage: TypeAlias = NDArray[np.int32]

IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceOverlaps:
    """The objects of two label images that overlap, or those of them that match.

    Attributes
    ----------
    predicted_ids, truth_ids
        (M,) int64, the ids of each pair.
    iou
        (M,) float64 in (0, 1].
    num_predicted, num_truths
        Number of objects in either image, paired or not.
    """

    predicted_ids: NDArray[np.int64]
    truth_ids: NDArray[np.int64]
    iou: NDArray[np.float64]
    num_predicted: int
    num_truths: int


def instance_overlaps(predicted: LabelImage, truth: LabelImage) -> InstanceOverlaps:
    """All pairs of a predicted and a true object that share a pixel.

    Parameters
    ----------
    predicted, truth
        (H, W) int32, 0 is background; ids need not be contiguous.

    Raises
    ------
    ValueError
        If the images have different shapes.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"Predicted labels have shape {predicted.shape}, true ones {truth.shape}: both must be equal."
        )
    pair_predicted, pair_truth, shared_px = _count_pairs(predicted.ravel(), truth.ravel())
    predicted_ids, predicted_index = np.unique(pair_predicted, return_inverse=True)
    truth_ids, truth_index = np.unique(pair_truth, return_inverse=True)
    predicted_px = np.bincount(predicted_index, weights=shared_px)[predicted_index]
    truth_px = np.bincount(truth_index, weights=shared_px)[truth_index]
    both = (pair_predicted != 0) & (pair_truth != 0)
    return InstanceOverlaps(
        predicted_ids=pair_predicted[both],
        truth_ids=pair_truth[both],
        iou=(shared_px / (predicted_px + truth_px - shared_px))[both],
        num_predicted=int(np.count_nonzero(predicted_ids)),
        num_truths=int(np.count_nonzero(truth_ids)),
    )


def match_instances(overlaps: InstanceOverlaps, *, iou_threshold: float = 0.5) -> InstanceOverlaps:
    """The pairs that match: IoU at least `iou_threshold`, every object in at most one pair.

    Above 0.5 no object can be in two such pairs. At lower thresholds the largest number of matches is taken,
    and of those the one with the highest sum of IoU.

    Raises
    ------
    ValueError
        If the threshold is not in (0, 1].
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"The IoU threshold is {iou_threshold}, expected above 0 and at most 1.")
    pairs = np.flatnonzero(overlaps.iou >= iou_threshold)
    _, predicted_index = np.unique(overlaps.predicted_ids[pairs], return_inverse=True)
    _, truth_index = np.unique(overlaps.truth_ids[pairs], return_inverse=True)
    alone = (np.bincount(predicted_index)[predicted_index] == 1) & (
        np.bincount(truth_index)[truth_index] == 1
    )
    matched = pairs[alone]
    if not alone.all():
        matched = np.sort(np.append(matched, _best_assignment(overlaps, pairs[~alone])))
    return InstanceOverlaps(
        predicted_ids=overlaps.predicted_ids[matched],
        truth_ids=overlaps.truth_ids[matched],
        iou=overlaps.iou[matched],
        num_predicted=overlaps.num_predicted,
        num_truths=overlaps.num_truths,
    )


def score_instances(
    images: Iterable[tuple[LabelImage, LabelImage]], *, iou_thresholds: Sequence[float] = IOU_THRESHOLDS
) -> pd.DataFrame:
    """Scores at each IoU threshold, over the objects of all images together.

    Parameters
    ----------
    images
        Pairs of a predicted and a true label image, each pair (H, W) int32 of one shape; read one at a time.
    iou_thresholds
        Each in (0, 1].

    Returns
    -------
    One row a threshold: ``iou_threshold``, ``precision``, ``recall``, ``f1``, ``ap``, ``panoptic_quality``,
    ``mean_matched_iou``, each in [0, 1], ``num_matched``, ``num_predicted``, ``num_truths``. A score without
    anything to divide by is NaN: all of them where there are no objects at all, the recall where there are no
    true ones.

    Examples
    --------
    >>> truth = np.array([[1, 1, 1, 0, 2]], dtype=np.int32)
    >>> predicted = np.array([[7, 7, 0, 0, 0]], dtype=np.int32)
    >>> score_instances([(predicted, truth)], iou_thresholds=[0.5])["f1"].tolist()
    [0.6666666666666666]
    """
    num_matched, sum_of_iou = np.zeros(len(iou_thresholds), dtype=np.int64), np.zeros(len(iou_thresholds))
    num_predicted = num_truths = 0
    for predicted, truth in images:
        overlaps = instance_overlaps(predicted, truth)
        num_predicted, num_truths = num_predicted + overlaps.num_predicted, num_truths + overlaps.num_truths
        for index, iou_threshold in enumerate(iou_thresholds):
            iou = match_instances(overlaps, iou_threshold=iou_threshold).iou
            num_matched[index] += len(iou)
            sum_of_iou[index] += iou.sum()
    num_either = np.full(len(iou_thresholds), num_predicted + num_truths)
    return pd.DataFrame(
        {
            ScoreColumn.IOU_THRESHOLD: np.asarray(iou_thresholds, dtype=np.float64),
            ScoreColumn.PRECISION: _ratio(num_matched, np.full_like(num_matched, num_predicted)),
            ScoreColumn.RECALL: _ratio(num_matched, np.full_like(num_matched, num_truths)),
            ScoreColumn.F1: _ratio(2 * num_matched, num_either),
            ScoreColumn.AP: _ratio(num_matched, num_either - num_matched),
            ScoreColumn.PANOPTIC_QUALITY: _ratio(2 * sum_of_iou, num_either),
            ScoreColumn.MEAN_MATCHED_IOU: _ratio(sum_of_iou, num_matched),
            ScoreColumn.NUM_MATCHED: num_matched,
            ScoreColumn.NUM_PREDICTED: num_predicted,
            ScoreColumn.NUM_TRUTHS: num_truths,
        }
    )


def _count_pairs(
    predicted: LabelImage, truth: LabelImage
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct pairs of values at the same pixel of two flat images, background included, and their pixels.

    Only the ends of runs are looked at one by one, so sorting costs little, and no table over ids limits
    their size.
    """
    if predicted.size == 0:
        return (np.empty(0, dtype=np.int64),) * 3
    changes = (predicted[1:] != predicted[:-1]) | (truth[1:] != truth[:-1])
    starts = np.append(0, 1 + np.flatnonzero(changes))
    lengths_px = np.diff(starts, append=predicted.size)
    base = np.int64(truth.max()) + 1
    keys, run_index = np.unique(predicted[starts] * base + truth[starts], return_inverse=True)
    shared_px = np.bincount(run_index, weights=lengths_px).astype(np.int64)
    return keys // base, keys % base, shared_px


def _best_assignment(overlaps: InstanceOverlaps, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of `pairs` to take so that no object is in two: as many as can be, then with the highest IoU."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed by few images

    _, rows = np.unique(overlaps.predicted_ids[pairs], return_inverse=True)
    _, columns = np.unique(overlaps.truth_ids[pairs], return_inverse=True)
    pair_at = np.full((rows.max() + 1, columns.max() + 1), -1)
    pair_at[rows, columns] = pairs
    # All IoU together are worth less than one match.
    gain = np.zeros(pair_at.shape)
    gain[rows, columns] = 1 + overlaps.iou[pairs] / (len(pairs) + 1)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    chosen: NDArray[np.int64] = pair_at[rows, columns]
    return chosen[chosen >= 0]


def _ratio(
    numerator: NDArray[np.int64] | NDArray[np.float64], denominator: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(T,) float64, NaN where the denominator is 0."""
    ratio: NDArray[np.float64] = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
