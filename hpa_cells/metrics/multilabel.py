"""Precision, recall, F1 and average precision per class, for cells or fields that carry several labels.

A class that no row has is NaN, with its support of 0 beside it: it is neither counted as 0 nor hidden.

Shapes: N rows (cells or fields), K classes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.metrics.columns import ScoreColumn, macro_mean

__all__ = ["average_precision_per_class", "macro_f1", "multilabel_scores"]

BoolArray: TypeAlias = NDArray[np.bool_]


def multilabel_scores(predicted: BoolArray, labels: BoolArray, class_set: ClassSet) -> pd.DataFrame:
    """Precision, recall and F1 of each class.

    Parameters
    ----------
    predicted
        (N, K) bool, e.g. ``probabilities >= thresholds``.
    labels
        (N, K) bool, the truth.
    class_set
        The K classes.

    Returns
    -------
    One row a class: ``class_key``, ``name``, ``precision``, ``recall``, ``f1``, each in [0, 1],
    ``num_truths``, ``num_detections``. For a class without truths all three are NaN; for one that is never
    predicted the precision is NaN and F1 is 0.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_shapes(predicted, labels, len(class_set))
    num_matches = (predicted & labels).sum(axis=0)
    num_predicted, num_truths = predicted.sum(axis=0), labels.sum(axis=0)
    scores = {
        ScoreColumn.PRECISION: _ratio(num_matches, num_predicted),
        ScoreColumn.RECALL: _ratio(num_matches, num_truths),
        ScoreColumn.F1: _ratio(2 * num_matches, num_predicted + num_truths),
    }
    present = {column: np.where(num_truths > 0, values, np.nan) for column, values in scores.items()}
    counts = {ScoreColumn.NUM_TRUTHS: num_truths, ScoreColumn.NUM_DETECTIONS: num_predicted}
    return pd.DataFrame(
        {ScoreColumn.CLASS_KEY: class_set.keys, ScoreColumn.NAME: class_set.names} | present | counts
    )


def macro_f1(scores: pd.DataFrame) -> float:
    """Mean F1 of `multilabel_scores` over the classes that have truths, the score of the 2018 challenge."""
    return macro_mean(scores, ScoreColumn.F1)


def average_precision_per_class(
    probabilities: NDArray[np.floating[Any]], labels: BoolArray
) -> NDArray[np.float64]:
    """Average precision of each class: precision at each distinct threshold, weighted by the recall it adds.

    Rows of equal probability are accepted together, so their order does not matter. There is no envelope,
    unlike in `average_precision_of_matches`.

    Parameters
    ----------
    probabilities
        (N, K) float.
    labels
        (N, K) bool.

    Returns
    -------
    (K,) float64 in [0, 1]; NaN for a class without truths.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_shapes(probabilities, labels, probabilities.shape[-1])
    return np.array([_average_precision(*columns) for columns in zip(probabilities.T, labels.T, strict=True)])


def _average_precision(probabilities: NDArray[np.floating[Any]], is_true: BoolArray) -> float:
    if not is_true.any():
        return float("nan")
    _, groups, sizes = np.unique(-probabilities, return_inverse=True, return_counts=True)
    num_true = np.bincount(groups[is_true], minlength=len(sizes))
    precision = np.cumsum(num_true) / np.cumsum(sizes)
    return float((precision * num_true).sum() / is_true.sum())


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) float64, NaN where the denominator is 0."""
    ratio: NDArray[np.float64] = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _check_shapes(scores: NDArray[Any], labels: BoolArray, num_classes: int) -> None:
    if scores.shape != labels.shape or labels.ndim != 2 or labels.shape[1] != num_classes:
        raise ValueError(
            f"Predictions have shape {scores.shape}, labels {labels.shape}: "
            f"both must have one row a cell or field and {num_classes} columns."
        )
