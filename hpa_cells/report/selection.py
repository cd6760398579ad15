"""Which fields and cells a report shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpa_cells.fields import FieldSource
from hpa_cells.metrics.pairing import overlapping_cells
from hpa_cells.report.settings import ReportSettings
from hpa_cells.table import CellTable, Column

__all__ = ["available_fields", "confident_cells", "drawn_fields", "true_classes"]

_MATCH_IOU = 0.6
_TRUE_FROM = 0.5
_NUM_SHOWN = 5


def available_fields(
    table: CellTable, sources: Sequence[FieldSource], *, skip_missing: bool
) -> dict[str, FieldSource]:
    """The sources of the fields of the table, by id and in its order.

    Raises
    ------
    ValueError
        If fields of the table have no source, unless `skip_missing` allows it and at least one has.
    """
    by_id = {source.field_id: source for source in sources}
    field_ids = table.fields[Column.FIELD_ID].tolist()
    missing = [field_id for field_id in field_ids if field_id not in by_id]
    if missing and (not skip_missing or len(missing) == len(field_ids)):
        shown = ", ".join(missing[:_NUM_SHOWN]) + (", ..." if len(missing) > _NUM_SHOWN else "")
        raise ValueError(
            f"{len(missing)} of the table's {len(field_ids)} fields are not among the {len(by_id)} fields given "
            f"({shown}): give the fields the table was made from, or skip_missing=true to show the others."
        )
    return {field_id: by_id[field_id] for field_id in field_ids if field_id in by_id}


def drawn_fields(field_ids: Sequence[str], settings: ReportSettings) -> list[str]:
    """At most `settings.max_fields` of the ids, in their order; the same ones for the same seed."""
    if len(field_ids) <= settings.max_fields:
        return list(field_ids)
    rng = np.random.default_rng(settings.seed)
    positions = rng.choice(len(field_ids), settings.max_fields, replace=False)
    return [field_ids[position] for position in sorted(positions)]


def confident_cells(table: CellTable, field_ids: Sequence[str], settings: ReportSettings) -> list[list[int]]:
    """For each class, rows of ``table.cells`` in the given fields by falling probability, from the threshold up."""
    in_fields = table.cells[Column.FIELD_ID].isin(field_ids).to_numpy()
    probabilities = table.probabilities()
    rows_of_class = []
    for values in probabilities.T:
        rows = np.flatnonzero(in_fields & (values >= settings.threshold))
        order = np.argsort(-values[rows], kind="stable")[: settings.cells_per_class]
        rows_of_class.append(rows[order].tolist())
    return rows_of_class


def true_classes(table: CellTable, truth: CellTable) -> dict[int, frozenset[int]]:
    """Classes of the true cell that each row of ``table.cells`` overlaps most, where their IoU is 0.6 or more."""
    overlaps = overlapping_cells(table, truth, iou_threshold=_MATCH_IOU, missing_fields="no_cells")
    is_true = truth.probabilities() >= _TRUE_FROM
    classes: dict[int, frozenset[int]] = {}
    # By rising IoU, so that the largest overlap has the last word.
    for position in np.argsort(overlaps.iou, kind="stable"):
        present = np.flatnonzero(is_true[overlaps.truth_rows[position]])
        classes[int(overlaps.predicted_rows[position])] = frozenset(present.tolist())
    return classes
