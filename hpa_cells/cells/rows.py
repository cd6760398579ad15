"""Rows of the cell table from a segmentation and a model's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells.morphology import measure_cells
from hpa_cells.masks import encode_labels
from hpa_cells.table import Column
from hpa_cells.types import CellScores, Segmentation

__all__ = ["cell_rows", "field_row"]


def cell_rows(segmentation: Segmentation, scores: CellScores | None) -> pd.DataFrame:
    """One row a cell, by ascending id: the columns of `CELL_COLUMNS`, then probabilities and embedding.

    Parameters
    ----------
    segmentation
        The field's cells.
    scores
        What a model says of the same cells, in any order; None for a table without probabilities.

    Raises
    ------
    ValueError
        If `scores` is of another field or of other cells.
    """
    measured = measure_cells(segmentation)
    height, width = segmentation.cells.shape
    nucleus_ids, nucleus_counts = encode_labels(segmentation.nuclei)
    nucleus_rles = {
        int(id_): counts.decode() for id_, counts in zip(nucleus_ids, nucleus_counts, strict=True)
    }
    pixel_area_um2 = segmentation.pixel_size_um**2
    values: dict[str, Any] = {
        Column.FIELD_ID: segmentation.field_id,
        Column.CELL_ID: measured.cell_ids,
        Column.HEIGHT_PX: height,
        Column.WIDTH_PX: width,
        Column.PIXEL_SIZE_UM: segmentation.pixel_size_um,
        Column.BBOX_X_PX: measured.boxes_px[:, 0],
        Column.BBOX_Y_PX: measured.boxes_px[:, 1],
        Column.BBOX_WIDTH_PX: measured.boxes_px[:, 2],
        Column.BBOX_HEIGHT_PX: measured.boxes_px[:, 3],
        Column.CENTROID_X_PX: measured.centroids_px[:, 0],
        Column.CENTROID_Y_PX: measured.centroids_px[:, 1],
        Column.AREA_PX: measured.areas_px,
        Column.AREA_UM2: measured.areas_px * pixel_area_um2,
        Column.NUCLEUS_AREA_PX: measured.nucleus_areas_px,
        Column.NUCLEUS_AREA_UM2: measured.nucleus_areas_px * pixel_area_um2,
        Column.TOUCHES_BORDER: measured.touches_border,
        Column.CELL_RLE: [counts.decode() for counts in encode_labels(segmentation.cells)[1]],
        Column.NUCLEUS_RLE: [nucleus_rles.get(int(id_)) for id_ in measured.cell_ids],
    }
    if scores is not None:
        _check_field(segmentation, scores)
        order = _order_of(measured.cell_ids, scores)
        columns = Column.probabilities(scores.class_set)
        values |= dict(zip(columns, scores.probabilities[order].T, strict=True))
        if scores.embeddings.shape[-1]:
            values[Column.EMBEDDING] = list(scores.embeddings[order])
    return pd.DataFrame(values, index=pd.RangeIndex(len(measured.cell_ids)))


def field_row(segmentation: Segmentation, scores: CellScores | None) -> dict[str, Any]:
    """Row of the field: the columns of `FIELD_COLUMNS`, then the field's own probabilities."""
    height, width = segmentation.cells.shape
    row: dict[str, Any] = {
        Column.FIELD_ID: segmentation.field_id,
        Column.HEIGHT_PX: height,
        Column.WIDTH_PX: width,
        Column.PIXEL_SIZE_UM: segmentation.pixel_size_um,
        Column.NUM_CELLS: len(segmentation.cell_ids),
    }
    if scores is not None:
        _check_field(segmentation, scores)
        columns = Column.probabilities(scores.class_set)
        row |= dict(zip(columns, map(float, scores.field_probabilities), strict=True))
    return row


def _check_field(segmentation: Segmentation, scores: CellScores) -> None:
    if segmentation.field_id != scores.field_id:
        raise ValueError(
            f"The segmentation is of field {segmentation.field_id}, the scores are of {scores.field_id}: "
            "pass two results of one field."
        )


def _order_of(cell_ids: NDArray[np.int32], scores: CellScores) -> NDArray[np.intp]:
    """(N,) positions in `scores` of the ascending `cell_ids`."""
    order = np.argsort(scores.cell_ids, kind="stable")
    if not np.array_equal(scores.cell_ids[order], cell_ids):
        differing = np.setxor1d(scores.cell_ids, cell_ids)
        raise ValueError(
            f"Field {scores.field_id}: {len(scores.cell_ids)} cells were scored, {len(cell_ids)} segmented "
            f"(only in one: {', '.join(map(str, differing[:5])) or 'a cell twice'}): score those segmented."
        )
    return order
