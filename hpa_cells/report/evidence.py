"""Every probability of a run beside what is true of it: what curves and matrices are drawn from.

Shapes: N rows (cells or fields), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.fields import LabelTable
from hpa_cells.metrics import Overlaps, ScoreColumn, average_precision_of_matches, match_detections
from hpa_cells.table import CellTable, Column

__all__ = ["Evidence", "evidence_of_cells", "evidence_of_fields"]

BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Probabilities and truth, row by row.

    Attributes
    ----------
    of
        What a row is.
    probabilities
        (N, K) float; NaN where there is none.
    is_match
        (N, K) bool, whether the row is a match of the class: for cells, as the challenge has it.
    labels
        (N, K) bool, what is true of the row; False where there is no such cell.
    is_known
        (N,) bool, whether the row has a truth: a cell lies on a true one.
    num_truths
        (K,) int64, true cells or fields, found or not.
    ap
        (K,) float64 in [0, 1], average precision; NaN without truths.
    """

    of: Literal["cells", "fields"]
    probabilities: NDArray[np.floating[Any]]
    is_match: BoolArray
    labels: BoolArray
    is_known: BoolArray
    num_truths: NDArray[np.int64]
    ap: NDArray[np.float64]


def evidence_of_cells(
    table: CellTable,
    is_true: BoolArray,
    overlaps: Overlaps,
    true_row_of: Mapping[int, int],
    scores: pd.DataFrame,
) -> Evidence:
    """The cells of a run beside true cells.

    Parameters
    ----------
    table
        The run.
    is_true
        (T, K) bool, what is true of the true cells.
    overlaps
        Pairs of a predicted and a true cell that reach the IoU of the challenge.
    true_row_of
        For each predicted row that lies on a true cell, the row of that one.
    scores
        `hpa_cells.metrics.challenge_average_precision` of both.
    """
    probabilities = table.probabilities()
    labels = np.zeros(probabilities.shape, dtype=bool)
    is_known = np.zeros(len(probabilities), dtype=bool)
    rows = np.fromiter(true_row_of, dtype=np.int64, count=len(true_row_of))
    true_rows = np.fromiter(true_row_of.values(), dtype=np.int64, count=len(true_row_of))
    labels[rows], is_known[rows] = is_true[true_rows], True
    columns = zip(probabilities.T, is_true.T, strict=True)
    return Evidence(
        of="cells",
        probabilities=probabilities,
        is_match=np.stack([match_detections(overlaps, *column) for column in columns], axis=1),
        labels=labels,
        is_known=is_known,
        num_truths=is_true.sum(axis=0),
        ap=scores[ScoreColumn.AP].to_numpy(dtype=np.float64),
    )


def evidence_of_fields(table: CellTable, labels: LabelTable) -> Evidence:
    """The fields of a run that are labelled beside their labels; of fields without a label, nothing is known."""
    position_of = {field_id: row for row, field_id in enumerate(labels.field_ids)}
    field_ids = table.fields[Column.FIELD_ID].tolist()
    rows = [row for row, field_id in enumerate(field_ids) if field_id in position_of]
    true = np.asarray(labels.labels)[[position_of[field_ids[row]] for row in rows]].astype(bool)
    true = true.reshape(len(rows), len(table.class_set))
    probabilities = table.field_probabilities()[rows]
    return Evidence(
        of="fields",
        probabilities=probabilities,
        is_match=true,
        labels=true,
        is_known=np.ones(len(rows), dtype=bool),
        num_truths=true.sum(axis=0),
        ap=np.array(
            [_average_precision(*column) for column in zip(probabilities.T, true.T, strict=True)],
            dtype=np.float64,
        ),
    )


def _average_precision(probabilities: NDArray[np.floating[Any]], is_true: BoolArray) -> float:
    known = ~np.isnan(probabilities)
    return average_precision_of_matches(probabilities[known], is_true[known], int(is_true.sum()))
