"""The metric of the 2021 challenge: mean average precision of cells at mask IoU 0.6, as Open Images has it.

For each field and class, detections are taken by falling confidence. Each looks only at the true cell of that
class that it overlaps most: it is a match if their IoU reaches the threshold and no earlier detection took
that cell, else a false positive; there is no second choice. Detections of a class are then pooled over all
fields and sorted by confidence. The average precision is the area under the envelope of precision over
recall, at every recall [1]_, divided by the number of true cells. The world is closed: a detection of a class
that its field lacks is a false positive. (The evaluator of Open Images [2]_ would leave it out unless the
class was verified to be absent.)

References
----------
.. [1] Everingham et al., The PASCAL VOC Development Kit 2010, section 3.4.1.
.. [2] tensorflow/models, ``research/object_detection/utils/per_image_evaluation.py`` and ``metrics.py``.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.metrics.columns import ScoreColumn, macro_mean
from hpa_cells.metrics.pairing import MissingFields, Overlaps, overlapping_cells
from hpa_cells.table import CellTable, Column

__all__ = [
    "CHALLENGE_IOU",
    "TieOrder",
    "average_precision_of_matches",
    "challenge_average_precision",
    "match_detections",
    "mean_average_precision",
    "tie_share",
]

BoolArray: TypeAlias = NDArray[np.bool_]
TieOrder: TypeAlias = Literal["order", "average", "worst", "best"]

CHALLENGE_IOU = 0.6
_TRUE_FROM = 0.5
_NUM_RANDOM_ORDERS = 20


def challenge_average_precision(
    predicted: CellTable,
    truth: CellTable,
    *,
    iou_threshold: float = CHALLENGE_IOU,
    ties: Literal["order", "average"] = "order",
    missing_fields: MissingFields = "error",
    verified_only: bool = False,
) -> pd.DataFrame:
    """Average precision of each class.

    Parameters
    ----------
    predicted
        Cells with a confidence for each class; a cell without one (NaN) is no detection of that class.
    truth
        True cells of the same fields; a class is true of a cell where its probability is 0.5 or more.
    iou_threshold
        Smallest IoU of a match, in (0, 1].
    ties
        How detections of equal confidence follow each other: in the ``order`` of the table, or the
        ``average`` over 20 random orders (the same ones in every run).
    missing_fields
        What to do with true fields that were not predicted: ``error``, or ``no_cells`` to count their cells
        as missed.
    verified_only
        Leave out detections of a class in fields where no cell has it, as the evaluator of Open Images does
        without labels of verified absence. This is not the metric of the challenge.

    Returns
    -------
    One row a class, in the order of the class set: ``class_key``, ``name``, ``ap`` in [0, 1], ``ap_worst``
    and ``ap_best`` over all orders of ties, ``tie_share`` (see `tie_share`), ``num_truths``,
    ``num_detections``. A class without true cells has NaN for its AP and 0 for its ``num_truths``; one with
    true cells and no detection has 0.

    Raises
    ------
    ValueError
        If the tables differ in their class set, their fields or the sizes of these.
    """
    if predicted.class_set.name != truth.class_set.name:
        raise ValueError(
            f"The prediction has the classes of {predicted.class_set.name}, the truth those of "
            f"{truth.class_set.name}: both must be the same."
        )
    overlaps = overlapping_cells(predicted, truth, iou_threshold=iou_threshold, missing_fields=missing_fields)
    is_truth_TK = truth.probabilities() >= _TRUE_FROM
    confidences_PK = predicted.probabilities()
    if verified_only:
        has_class_PK = _field_has_class(predicted.cells, truth.cells, is_truth_TK)
        confidences_PK = np.where(has_class_PK, confidences_PK, np.float32(np.nan))
    rows = [
        _score_class(overlaps, confidences_P, is_truth_T, ties)
        for confidences_P, is_truth_T in zip(confidences_PK.T, is_truth_TK.T, strict=True)
    ]
    names = {ScoreColumn.CLASS_KEY: truth.class_set.keys, ScoreColumn.NAME: truth.class_set.names}
    return pd.concat([pd.DataFrame(names), pd.DataFrame(rows)], axis=1)


def mean_average_precision(scores: pd.DataFrame) -> float:
    """Mean AP of `challenge_average_precision` over the classes that have true cells; NaN if none has."""
    return macro_mean(scores, ScoreColumn.AP)


def match_detections(
    overlaps: Overlaps, confidences: NDArray[np.floating[Any]], is_truth: BoolArray
) -> BoolArray:
    """Which detections of one class are matches.

    Parameters
    ----------
    overlaps
        The pairs whose IoU reaches the threshold.
    confidences
        (P,) float, of every predicted cell; NaN where it is no detection. Of equals in a field, the earlier
        is first.
    is_truth
        (T,) bool, whether the true cell has the class.

    Returns
    -------
    (P,) bool, False for a false positive and for what is no detection.
    """
    is_match = np.zeros(len(confidences), dtype=bool)
    of_class = is_truth[overlaps.truth_rows] & ~np.isnan(confidences[overlaps.predicted_rows])
    detections, truths = overlaps.predicted_rows[of_class], overlaps.truth_rows[of_class]
    # The most overlapped truth of each detection; of equals, the first in the table.
    order = np.lexsort((truths, -overlaps.iou[of_class], detections))
    chosen = order[_is_first(detections[order])]
    detections, truths = detections[chosen], truths[chosen]
    # Of the detections that chose the same truth, the most confident has it.
    order = np.lexsort((detections, -confidences[detections], truths))
    is_match[detections[order[_is_first(truths[order])]]] = True
    return is_match


def average_precision_of_matches(
    confidences: NDArray[np.floating[Any]],
    is_match: BoolArray,
    num_truths: int,
    *,
    ties: TieOrder = "order",
    seed: int = 0,
) -> float:
    """Area under the envelope of precision over recall, of detections that are already matched.

    Parameters
    ----------
    confidences
        (D,) float, no NaN.
    is_match
        (D,) bool, match or false positive.
    num_truths
        Number of true cells, found or not.
    ties
        How equal confidences follow each other: in the ``order`` given, false positives first (``worst``),
        matches first (``best``), or the ``average`` over 20 random orders. The matches themselves stay as
        they are.
    seed
        Of the random orders.

    Returns
    -------
    In [0, 1]; NaN if there are no truths, 0 if there are truths and no detection.

    Examples
    --------
    >>> average_precision_of_matches(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    0.8333333333333333
    """
    if num_truths == 0:
        return float("nan")
    if ties != "average" or tie_share(confidences, is_match) == 0:
        tie_breaks = {"worst": is_match, "best": ~is_match}.get(ties, np.zeros_like(is_match))
        order = np.lexsort((tie_breaks, -confidences))
        return _envelope_area(is_match[order], num_truths)
    rng = np.random.default_rng(seed)
    ranks = np.unique(-confidences, return_inverse=True)[1]
    orders = (np.argsort(ranks + rng.random(len(ranks))) for _ in range(_NUM_RANDOM_ORDERS))
    return float(np.mean([_envelope_area(is_match[order], num_truths) for order in orders]))


def tie_share(confidences: NDArray[np.floating[Any]], is_match: BoolArray) -> float:
    """Share of the detections that have the confidence of another one with the opposite outcome.

    Above 0, the average precision depends on the order of the ties. NaN if there are no detections.

    Examples
    --------
    >>> tie_share(np.array([0.5, 0.5, 0.4, 0.4]), np.array([True, False, True, True]))
    0.5
    """
    if len(confidences) == 0:
        return float("nan")
    _, groups, sizes = np.unique(confidences, return_inverse=True, return_counts=True)
    num_matches = np.bincount(groups[is_match], minlength=len(sizes))
    mixed = (num_matches > 0) & (num_matches < sizes)
    return float(sizes[mixed].sum() / sizes.sum())


def _score_class(
    overlaps: Overlaps, confidences: NDArray[np.float32], is_truth: BoolArray, ties: TieOrder
) -> dict[str, float | int]:
    is_detection = ~np.isnan(confidences)
    is_match = match_detections(overlaps, confidences, is_truth)[is_detection]
    confidences = confidences[is_detection]
    num_truths = int(is_truth.sum())
    orders: dict[str, TieOrder] = {
        ScoreColumn.AP: ties,
        ScoreColumn.AP_WORST: "worst",
        ScoreColumn.AP_BEST: "best",
    }
    areas = {
        column: average_precision_of_matches(confidences, is_match, num_truths, ties=order)
        for column, order in orders.items()
    }
    return areas | {
        ScoreColumn.TIE_SHARE: tie_share(confidences, is_match),
        ScoreColumn.NUM_TRUTHS: num_truths,
        ScoreColumn.NUM_DETECTIONS: len(confidences),
    }


def _envelope_area(is_match: BoolArray, num_truths: int) -> float:
    """The area for detections (D,) in their final order: recall rises by 1 / `num_truths` at each match."""
    precision = np.cumsum(is_match) / np.arange(1, len(is_match) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[is_match].sum() / num_truths)


def _field_has_class(
    predicted_cells: pd.DataFrame, truth_cells: pd.DataFrame, is_truth_TK: BoolArray
) -> BoolArray:
    """(P, K) bool, whether any true cell in the field of the predicted cell has the class."""
    has_class = pd.DataFrame(is_truth_TK).groupby(truth_cells[Column.FIELD_ID].to_numpy()).any()
    near = has_class.reindex(predicted_cells[Column.FIELD_ID], fill_value=False)
    has_class_PK: BoolArray = near.to_numpy(dtype=bool)
    return has_class_PK


def _is_first(values: NDArray[np.int64]) -> BoolArray:
    """(M,) bool, whether each of the sorted values is the first of its kind."""
    return np.diff(values, prepend=-1).astype(np.bool_)
