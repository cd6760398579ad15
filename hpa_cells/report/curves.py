"""How good the probabilities of each class are, as lines and points in the unit square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.metrics import ReliabilityColumn, halving_shares, reliability_bins
from hpa_cells.report.evidence import Evidence

__all__ = ["ClassCurves", "ReliabilityPoint", "class_curves", "precision_steps"]

_LEAST_IN_BIN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityPoint:
    """Rows of like probability: what is said of them, what is true, its 95 % interval, and how many they are."""

    said: float
    true: float
    low: float
    high: float
    num_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCurves:
    """The curves of one class.

    Attributes
    ----------
    class_index
        The class.
    ap, num_truths
        Average precision in [0, 1], and true cells or fields.
    steps
        Corners of the envelope of precision over recall, see `precision_steps`.
    reliability
        Points of the reliability curve, by rising probability.
    """

    class_index: int
    ap: float
    num_truths: int
    steps: list[tuple[float, float]]
    reliability: list[ReliabilityPoint]


def class_curves(evidence: Evidence) -> list[ClassCurves]:
    """The curves of every class that has truths, in the order of the classes."""
    return [
        ClassCurves(
            class_index=index,
            ap=float(evidence.ap[index]),
            num_truths=int(num_truths),
            steps=precision_steps(
                evidence.probabilities[:, index], evidence.is_match[:, index], int(num_truths)
            ),
            reliability=_reliability(evidence.probabilities[:, index], evidence.labels[:, index]),
        )
        for index, num_truths in enumerate(evidence.num_truths)
        if num_truths
    ]


def precision_steps(
    confidences: NDArray[np.floating[Any]], is_match: NDArray[np.bool_], num_truths: int
) -> list[tuple[float, float]]:
    """Corners (recall, precision) of the envelope: from the recall before up to this one, the precision is this.

    Without equal confidences, the area under the steps is the average precision; equal ones are taken together here.

    Parameters
    ----------
    confidences
        (N,) float; NaN is no detection.
    is_match
        (N,) bool.
    num_truths
        At least 1.

    Examples
    --------
    >>> precision_steps(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    [(0.5, 1.0), (1.0, 0.6666666666666666)]
    """
    known = ~np.isnan(confidences)
    _, groups, sizes = np.unique(-confidences[known], return_inverse=True, return_counts=True)
    num_matches = np.cumsum(np.bincount(groups[is_match[known]], minlength=len(sizes)))
    if not len(sizes):
        return []
    precision = num_matches / np.cumsum(sizes)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # One corner a level: the farthest to the right.
    is_last = np.append(np.diff(envelope) != 0, True) & (num_matches > 0)
    recall = num_matches / num_truths
    return [(float(x), float(y)) for x, y in zip(recall[is_last], envelope[is_last], strict=True) if y > 0]


def _reliability(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.bool_]
) -> list[ReliabilityPoint]:
    known = ~np.isnan(probabilities)
    if not known.any():
        return []
    shares = halving_shares(int(known.sum()), least=_LEAST_IN_BIN)
    bins = reliability_bins(probabilities[known], labels[known], shares=shares)
    columns = (
        ReliabilityColumn.PREDICTED,
        ReliabilityColumn.OBSERVED,
        ReliabilityColumn.LOW,
        ReliabilityColumn.HIGH,
        ReliabilityColumn.NUM_ROWS,
    )
    return [
        ReliabilityPoint(
            said=float(said), true=float(true), low=float(low), high=float(high), num_rows=int(num_rows)
        )
        for said, true, low, high, num_rows in bins[list(columns)].itertuples(index=False)
    ]
