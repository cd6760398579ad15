"""Which locations are called together, and which in place of which.

Shapes: N cells or fields, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.report.evidence import Evidence

__all__ = ["Matrix", "co_occurrence", "confusion"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Counts of pairs of locations.

    Attributes
    ----------
    title, told
        What it is, in few words and in a sentence.
    rows
        Classes of the rows, those that occur.
    columns
        Classes of the columns; None for no class at all.
    counts
        (R, C) int64.
    totals
        (R,) int64, at least 1: what the counts of a row are shares of.
    """

    title: str
    told: str
    rows: list[int]
    columns: list[int | None]
    counts: NDArray[np.int64]
    totals: NDArray[np.int64]


def confusion(evidence: Evidence, *, threshold: float) -> Matrix | None:
    """For each true location, how often each location is called; None where nothing is known.

    With several locations a cell, rows may hold more than their total: a second location may be right, too.
    """
    true = evidence.labels[evidence.is_known]
    called = evidence.probabilities[evidence.is_known] >= threshold
    totals = true.sum(axis=0)
    rows = np.flatnonzero(totals)
    if not len(rows):
        return None
    columns = np.flatnonzero(totals + called.sum(axis=0))
    counts = true.T.astype(np.int64) @ np.column_stack([called[:, columns], ~called.any(axis=1)])
    return Matrix(
        title="Called for each true location",
        told=f"Of the {evidence.of} with the true location of the row, how many are called each location, in per cent. "
        "One with two locations counts in two rows, and a call off the diagonal may be right, too.",
        rows=rows.tolist(),
        columns=[*columns.tolist(), None],
        counts=counts[rows],
        totals=totals[rows],
    )


def co_occurrence(labels: NDArray[np.bool_], *, of: str, title: str) -> Matrix | None:
    """For each location, how often each other one is in the same row; None where there is none.

    Parameters
    ----------
    labels
        (N, K) bool.
    of
        What a row of `labels` is, in the plural.
    title
        Of the matrix.
    """
    counts = labels.T.astype(np.int64) @ labels
    present = np.flatnonzero(counts.diagonal())
    if not len(present):
        return None
    return Matrix(
        title=title,
        told=f"Of the {of} with the location of the row, how many have that of the column, too, in per cent.",
        rows=present.tolist(),
        columns=[*present.tolist()],
        counts=counts[np.ix_(present, present)],
        totals=counts.diagonal()[present],
    )
