"""Which predicted cells lie on which true cells, over all fields of two cell tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.masks import paint_labels, pairwise_iou
from hpa_cells.table import CellTable, Column

__all__ = ["FieldPair", "MissingFields", "Overlaps", "label_images", "overlapping_cells", "paired_fields"]

MissingFields: TypeAlias = Literal["error", "no_cells"]
_SHOWN_FIELDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldPair:
    """One field in two cell tables.

    Attributes
    ----------
    field_id
        Its name.
    height_px, width_px
        Its size.
    predicted_rows, truth_rows
        (P,) and (T,) int64, the rows of its cells in ``cells`` of either table; none where it has no cells.
    """

    field_id: str
    height_px: int
    width_px: int
    predicted_rows: NDArray[np.int64]
    truth_rows: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlaps:
    """The pairs of a predicted and a true cell whose IoU reaches a threshold; all others are left out.

    Attributes
    ----------
    predicted_rows
        (M,) int64, rows of the predicted cells.
    truth_rows
        (M,) int64, rows of the true cells.
    iou
        (M,) float64 in [0, 1].
    """

    predicted_rows: NDArray[np.int64]
    truth_rows: NDArray[np.int64]
    iou: NDArray[np.float64]


def paired_fields(
    predicted: CellTable, truth: CellTable, *, missing_fields: MissingFields = "error"
) -> list[FieldPair]:
    """The fields of the truth, each with the rows of its cells in both tables.

    Parameters
    ----------
    predicted, truth
        Tables of the same fields.
    missing_fields
        What to do with true fields that the prediction lacks: ``error``, or ``no_cells`` to go on as if no
        cell had been found in them.

    Raises
    ------
    ValueError
        If a field is in one table only, or has different sizes in the two.
    """
    sizes = _checked_sizes(predicted, truth, missing_fields)
    predicted_rows, truth_rows = _rows_of_fields(predicted), _rows_of_fields(truth)
    no_rows = np.empty(0, dtype=np.int64)
    return [
        FieldPair(
            field_id=field_id,
            height_px=height_px,
            width_px=width_px,
            predicted_rows=predicted_rows.get(field_id, no_rows),
            truth_rows=truth_rows.get(field_id, no_rows),
        )
        for field_id, height_px, width_px in sizes.itertuples()
    ]


def overlapping_cells(
    predicted: CellTable, truth: CellTable, *, iou_threshold: float, missing_fields: MissingFields = "error"
) -> Overlaps:
    """Pairs of a predicted and a true cell of the same field with an IoU of at least `iou_threshold`.

    Parameters
    ----------
    predicted, truth
        Tables of the same fields.
    iou_threshold
        In (0, 1].
    missing_fields
        See `paired_fields`.

    Raises
    ------
    ValueError
        If the tables do not hold the same fields in the same sizes, or the threshold is not in (0, 1].
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"The IoU threshold is {iou_threshold}, expected above 0 and at most 1.")
    predicted_counts, truth_counts = (
        [rle.encode("ascii") for rle in table.cells[Column.CELL_RLE]] for table in (predicted, truth)
    )
    rows_of_predicted, rows_of_truth, ious = [], [], []
    for pair in paired_fields(predicted, truth, missing_fields=missing_fields):
        iou_PT = pairwise_iou(
            [predicted_counts[row] for row in pair.predicted_rows],
            [truth_counts[row] for row in pair.truth_rows],
            pair.height_px,
            pair.width_px,
        )
        predicted_index, truth_index = np.nonzero(iou_PT >= iou_threshold)
        rows_of_predicted.append(pair.predicted_rows[predicted_index])
        rows_of_truth.append(pair.truth_rows[truth_index])
        ious.append(iou_PT[predicted_index, truth_index])
    return Overlaps(
        predicted_rows=np.concatenate([*rows_of_predicted, np.empty(0, dtype=np.int64)]),
        truth_rows=np.concatenate([*rows_of_truth, np.empty(0, dtype=np.int64)]),
        iou=np.concatenate([*ious, np.empty(0)]),
    )


def label_images(
    predicted: CellTable, truth: CellTable, *, missing_fields: MissingFields = "error"
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """The label images of the cells of two tables, field by field, for `score_instances`.

    Parameters
    ----------
    predicted, truth
        Tables of the same fields.
    missing_fields
        What to do with true fields that were not predicted: ``error``, or ``no_cells`` to count their cells
        as missed.

    Raises
    ------
    ValueError
        If the tables do not hold the same fields in the same sizes, or a mask cannot be read.
    """
    for pair in paired_fields(predicted, truth, missing_fields=missing_fields):
        size = (pair.height_px, pair.width_px)
        yield (
            _painted(predicted.cells.iloc[pair.predicted_rows], size),
            _painted(truth.cells.iloc[pair.truth_rows], size),
        )


def _checked_sizes(predicted: CellTable, truth: CellTable, missing_fields: MissingFields) -> pd.DataFrame:
    """Height and width of the fields of the truth, by id, after a look at whether the prediction agrees."""
    size_columns = [Column.HEIGHT_PX, Column.WIDTH_PX]
    predicted_sizes, truth_sizes = (
        table.fields.set_index(Column.FIELD_ID)[size_columns] for table in (predicted, truth)
    )
    unknown = predicted_sizes.index.difference(truth_sizes.index)
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} predicted fields have no truth ({_listed(unknown)}): "
            "give the truth of the fields that were predicted."
        )
    missing = truth_sizes.index.difference(predicted_sizes.index)
    if len(missing) and missing_fields == "error":
        raise ValueError(
            f"{len(missing)} fields of the truth were not predicted ({_listed(missing)}): "
            "predict them too, or set missing_fields=no_cells to count their cells as missed."
        )
    common = predicted_sizes.index
    differing = common[(predicted_sizes != truth_sizes.loc[common]).any(axis=1)]
    if len(differing):
        raise ValueError(
            f"{len(differing)} fields have another height or width than in the truth ({_listed(differing)}): "
            "masks can only be compared at the same size."
        )
    return truth_sizes


def _rows_of_fields(table: CellTable) -> dict[str, NDArray[np.int64]]:
    """The rows of the cells of each field that has any."""
    groups = table.cells.groupby(Column.FIELD_ID).indices
    return {str(field_id): np.asarray(rows, dtype=np.int64) for field_id, rows in groups.items()}


def _painted(cells: pd.DataFrame, size: tuple[int, int]) -> NDArray[np.int32]:
    counts = [rle.encode("ascii") for rle in cells[Column.CELL_RLE]]
    return paint_labels(cells[Column.CELL_ID].to_numpy(dtype=np.int32), counts, *size)


def _listed(field_ids: pd.Index) -> str:
    shown = ", ".join(field_ids[:_SHOWN_FIELDS])
    return f"{shown}, ..." if len(field_ids) > _SHOWN_FIELDS else shown
