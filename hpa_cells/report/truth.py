"""What is known to be true of a run: which of its cells are right, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa_cells.metrics import CHALLENGE_IOU, challenge_average_precision, overlapping_cells
from hpa_cells.table import CellTable, Column

__all__ = ["KnownTruth", "compare_with_truth"]

_TRUE_FROM = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownTruth:
    """A run beside its truth.

    Attributes
    ----------
    scores
        Average precision of each class, as `hpa_cells.metrics.challenge_average_precision` gives it.
    classes_of_row
        For each row of the run's cells that lies on a true cell, the classes of that one.
    classes_of_field
        For each field, the classes that it truly has.
    num_unpredicted
        True fields that the run lacks; their cells count as missed.
    """

    scores: pd.DataFrame
    classes_of_row: dict[int, frozenset[int]]
    classes_of_field: dict[str, list[int]]
    num_unpredicted: int


def compare_with_truth(table: CellTable, truth: CellTable) -> KnownTruth:
    """Match the cells of a run with the true ones, at the mask IoU of the challenge, and score them.

    Raises
    ------
    ValueError
        If the run has fields that the truth lacks, or the two differ in their classes or the sizes of fields.
    """
    scores = challenge_average_precision(table, truth, missing_fields="no_cells")
    overlaps = overlapping_cells(table, truth, iou_threshold=CHALLENGE_IOU, missing_fields="no_cells")
    is_true = truth.probabilities() >= _TRUE_FROM
    # By rising IoU, so that the largest overlap has the last word.
    order = np.argsort(overlaps.iou, kind="stable")
    pairs = zip(overlaps.predicted_rows[order].tolist(), overlaps.truth_rows[order].tolist(), strict=True)
    field_classes = truth.field_probabilities() >= _TRUE_FROM
    return KnownTruth(
        scores=scores,
        classes_of_row={
            predicted: frozenset(np.flatnonzero(is_true[true]).tolist()) for predicted, true in pairs
        },
        classes_of_field={
            field_id: np.flatnonzero(present).tolist()
            for field_id, present in zip(truth.fields[Column.FIELD_ID], field_classes, strict=True)
        },
        num_unpredicted=int((~truth.fields[Column.FIELD_ID].isin(table.fields[Column.FIELD_ID])).sum()),
    )
