"""Average precision on many choices of fields at once: for folds, and for the error by the bootstrap over fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision_on_fields"]


def average_precision_on_fields(
    confidences: NDArray[np.floating[Any]],
    is_match: NDArray[np.bool_],
    *,
    field_of_detection: NDArray[np.int64],
    num_truths: NDArray[np.int64],
    field_weights: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Area under the envelope of precision over recall, of one class, where each field counts so many times.

    Detections of equal confidence are accepted together, so that their order does not matter; where none are equal
    and every field counts once, this is `average_precision_of_matches`. A field that counts twice gives what the same
    field in the table twice would.

    Parameters
    ----------
    confidences
        (D,) float, no NaN.
    is_match
        (D,) bool, from `match_detections`.
    field_of_detection
        (D,) int64 in [0, F).
    num_truths
        (F,) int64, true cells of the class in each field, found or not.
    field_weights
        (B, F) float, 0 or more: how often each field counts, in B choices.

    Returns
    -------
    (B,) float64 in [0, 1]; NaN where the fields that count hold no true cell of the class.
    """
    totals = (field_weights @ num_truths).astype(np.float64)
    # Positions of equal confidence have one end; a choice of no detection has area 0.
    order = np.argsort(-confidences, kind="stable")
    ranked = confidences[order]
    ends = (
        np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, np.int64)
    )
    matches, fields = is_match[order], field_of_detection[order]
    areas = np.full(len(field_weights), np.nan)
    for choice in np.flatnonzero(totals > 0):
        weights = field_weights[choice][fields]
        counted = np.cumsum(weights)[ends]
        right = np.cumsum(weights * matches)[ends]
        precision = np.divide(right, counted, out=np.zeros(len(ends)), where=counted > 0)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        areas[choice] = (envelope * np.diff(right, prepend=0)).sum() / totals[choice]
    return areas
