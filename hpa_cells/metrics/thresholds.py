"""Thresholds that turn probabilities into labels: a class is predicted where its probability reaches its own.

Three ways: one fixed value; the best F1 on validation rows; or, as the winner of the 2018 challenge did, so
that each class is predicted as often as it occurs in training.

Shapes: N rows (cells or fields), K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["fixed_thresholds", "ratio_thresholds", "tuned_thresholds"]

FloatArray: TypeAlias = NDArray[np.floating[Any]]


def fixed_thresholds(value: float, num_classes: int) -> NDArray[np.float64]:
    """(K,) float64, the same threshold for all classes."""
    return np.full(num_classes, value, dtype=np.float64)


def tuned_thresholds(
    probabilities: FloatArray, labels: NDArray[np.bool_], *, fallback: float = 0.5
) -> NDArray[np.float64]:
    """The thresholds with the highest F1 of each class on the rows given.

    Parameters
    ----------
    probabilities
        (N, K) float, no NaN.
    labels
        (N, K) bool. Rows that a model was trained on give thresholds that are too high.
    fallback
        Threshold of a class that no row has.

    Returns
    -------
    (K,) float64, each one of the probabilities of its class; of thresholds with equal F1, the highest.

    Examples
    --------
    >>> tuned_thresholds(np.array([[0.9], [0.6], [0.4], [0.1]]), np.array([[True], [False], [True], [False]]))
    array([0.4])
    """
    thresholds = fixed_thresholds(fallback, probabilities.shape[1])
    for class_index in np.flatnonzero(labels.any(axis=0)):
        is_true = labels[:, class_index]
        candidates, groups, sizes = np.unique(
            -probabilities[:, class_index], return_inverse=True, return_counts=True
        )
        num_matches = np.cumsum(np.bincount(groups[is_true], minlength=len(sizes)))
        f1 = 2 * num_matches / (np.cumsum(sizes) + is_true.sum())
        thresholds[class_index] = -candidates[np.argmax(f1)]
    return thresholds


def ratio_thresholds(
    probabilities: FloatArray, training_ratios: Sequence[float] | FloatArray
) -> NDArray[np.float64]:
    """The thresholds at which each class is predicted for the same share of rows as carried it in training.

    Parameters
    ----------
    probabilities
        (N, K) float, no NaN, of the rows to be labelled; N at least 1.
    training_ratios
        (K,) share of the training rows with each class, in [0, 1].

    Returns
    -------
    (K,) float64. Equal probabilities cannot be parted: of the shares that can be had, the closest is taken,
    and the smaller one of two that are equally close. A share of 0 gives a threshold just above the highest
    probability.

    Raises
    ------
    ValueError
        If there are no rows, or not one ratio in [0, 1] for each class.

    Examples
    --------
    >>> ratio_thresholds(np.array([[0.9], [0.6], [0.4], [0.1]]), [0.5])
    array([0.6])
    """
    ratios = np.asarray(training_ratios, dtype=np.float64)
    num_rows, num_classes = probabilities.shape
    if num_rows == 0:
        raise ValueError("There are no rows to match label ratios on: predict at least one.")
    if ratios.shape != (num_classes,) or not ((ratios >= 0) & (ratios <= 1)).all():
        raise ValueError(
            f"Training ratios are {training_ratios}, expected {num_classes} shares in [0, 1], one a class."
        )
    thresholds = fixed_thresholds(np.nan, num_classes)
    for class_index, ratio in enumerate(ratios):
        values, sizes = np.unique(-probabilities[:, class_index].astype(np.float64), return_counts=True)
        candidates = np.append(np.nextafter(-values[0], np.inf), -values)
        shares = np.append(0, np.cumsum(sizes)) / num_rows
        thresholds[class_index] = candidates[np.argmin(np.abs(shares - ratio))]
    return thresholds
