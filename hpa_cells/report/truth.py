"""What is known to be true of a run: which of its cells are right, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa_cells.classes import ClassSet
from hpa_cells.fields import LabelTable
from hpa_cells.metrics import CHALLENGE_IOU, challenge_average_precision, overlapping_cells
from hpa_cells.report.colors import short_name
from hpa_cells.report.evidence import Evidence, evidence_of_cells, evidence_of_fields
from hpa_cells.table import CellTable, Column

__all__ = ["KnownTruth", "compare_with_truth"]

_TRUE_FROM = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownTruth:
    """A run beside its truth.

    Attributes
    ----------
    scores
        Average precision of each class, as `hpa_cells.metrics.challenge_average_precision` gives it; None
        where only fields are labelled.
    classes_of_row
        For each row of the run's cells that lies on a true cell, the classes of that one; None where only
        fields are labelled.
    classes_of_field
        For each labelled field, the classes that it truly has.
    num_unpredicted
        True fields that the run lacks; their cells count as missed.
    evidence
        Every probability beside what is true of it: of cells, or where only fields are labelled, of fields.
    """

    scores: pd.DataFrame | None
    classes_of_row: dict[int, frozenset[int]] | None
    classes_of_field: dict[str, list[int]]
    num_unpredicted: int
    evidence: Evidence

    def is_right(self, row: int, class_index: int) -> bool | None:
        """Whether a cell has the class; False where there is no such cell, None where cells are not known."""
        if self.classes_of_row is None:
            return None
        return class_index in self.classes_of_row.get(row, frozenset())

    def words(self, row: int, class_set: ClassSet) -> str:
        """What is true of a cell, in words; empty where cells are not known."""
        if self.classes_of_row is None:
            return ""
        if row not in self.classes_of_row:
            return "no such cell"
        names = [short_name(class_set.keys[index]) for index in sorted(self.classes_of_row[row])]
        return ", ".join(names) or "no location"


def compare_with_truth(table: CellTable, truth: CellTable | LabelTable) -> KnownTruth:
    """Match the cells of a run with the true ones, at the mask IoU of the challenge, and score them.

    Of labels of fields, only the classes of each field are known.

    Raises
    ------
    ValueError
        If the two differ in their classes, or the run has fields that the true cells lack or have in another
        size.
    """
    if isinstance(truth, LabelTable):
        return _of_field_labels(table, truth)
    scores = challenge_average_precision(table, truth, missing_fields="no_cells")
    overlaps = overlapping_cells(table, truth, iou_threshold=CHALLENGE_IOU, missing_fields="no_cells")
    is_true = truth.probabilities() >= _TRUE_FROM
    # By rising IoU, so that the largest overlap has the last word.
    order = np.argsort(overlaps.iou, kind="stable")
    pairs = dict(
        zip(overlaps.predicted_rows[order].tolist(), overlaps.truth_rows[order].tolist(), strict=True)
    )
    field_classes = truth.field_probabilities() >= _TRUE_FROM
    return KnownTruth(
        scores=scores,
        classes_of_row={
            predicted: frozenset(np.flatnonzero(is_true[true]).tolist()) for predicted, true in pairs.items()
        },
        classes_of_field={
            field_id: np.flatnonzero(present).tolist()
            for field_id, present in zip(truth.fields[Column.FIELD_ID], field_classes, strict=True)
        },
        num_unpredicted=int((~truth.fields[Column.FIELD_ID].isin(table.fields[Column.FIELD_ID])).sum()),
        evidence=evidence_of_cells(table, is_true, overlaps, pairs, scores),
    )


def _of_field_labels(table: CellTable, labels: LabelTable) -> KnownTruth:
    if labels.class_set.name != table.class_set.name:
        raise ValueError(
            f"The run has the classes of {table.class_set.name}, the labels those of "
            f"{labels.class_set.name}: map the labels to the classes of the run."
        )
    return KnownTruth(
        scores=None,
        classes_of_row=None,
        classes_of_field={
            field_id: np.flatnonzero(present).tolist()
            for field_id, present in zip(labels.field_ids, labels.labels, strict=True)
        },
        num_unpredicted=0,
        evidence=evidence_of_fields(table, labels),
    )
