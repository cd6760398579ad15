"""Rows of the cell table from a segmentation and a model's scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells.morphology import CellMorphology, measure_cells
from hpa_cells.masks import encode_labels
from hpa_cells.table import Column
from hpa_cells.types import CellScores, Segmentation

__all__ = ["MaskRows", "cell_rows", "field_row", "mask_rows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskRows:
    """What the masks of a field put into its rows: a thousandth of its label images, which are not needed after it.

    Attributes
    ----------
    field_id
        The field.
    cells
        The columns of `CELL_COLUMNS`, one value a cell by ascending id, or one for all.
    field
        The columns of `FIELD_COLUMNS`.
    """

    field_id: str
    cells: dict[str, Any]
    field: dict[str, Any]

    @property
    def cell_ids(self) -> NDArray[np.int32]:
        """(N,) int32, ascending."""
        ids: NDArray[np.int32] = self.cells[Column.CELL_ID]
        return ids


def mask_rows(segmentation: Segmentation, measured: CellMorphology | None = None) -> MaskRows:
    """Measure and encode the masks of a field; `measured` is what `measure_cells` says of it, where that is known."""
    measured = measure_cells(segmentation) if measured is None else measured
    height, width = segmentation.shape
    coarse = segmentation.coarse
    (_, cell_counts), (nucleus_ids, nucleus_counts) = (
        encode_labels(labels, rows=coarse.rows, columns=coarse.columns)
        for labels in (coarse.cells, coarse.nuclei)
    )
    nucleus_rles = {
        int(id_): counts.decode() for id_, counts in zip(nucleus_ids, nucleus_counts, strict=True)
    }
    pixel_area_um2 = segmentation.pixel_size_um**2
    of_field: dict[str, Any] = {
        Column.FIELD_ID: segmentation.field_id,
        Column.HEIGHT_PX: height,
        Column.WIDTH_PX: width,
        Column.PIXEL_SIZE_UM: segmentation.pixel_size_um,
    }
    first = {Column.FIELD_ID: segmentation.field_id, Column.CELL_ID: measured.cell_ids}
    cells = (
        first
        | of_field
        | {
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
            Column.CELL_RLE: [counts.decode() for counts in cell_counts],
            Column.NUCLEUS_RLE: [nucleus_rles.get(int(id_)) for id_ in measured.cell_ids],
        }
    )
    return MaskRows(
        field_id=segmentation.field_id,
        cells=cells,
        field=of_field | {Column.NUM_CELLS: len(measured.cell_ids)},
    )


def cell_rows(cells: Segmentation | MaskRows, scores: CellScores | None) -> pd.DataFrame:
    """One row a cell, by ascending id: the columns of `CELL_COLUMNS`, then probabilities and embedding.

    Parameters
    ----------
    cells
        The cells of a field, or what `mask_rows` made of them.
    scores
        What a model says of the same cells, in any order; None for a table without probabilities.

    Raises
    ------
    ValueError
        If `scores` is of another field or of other cells.
    """
    masks = _measured(cells)
    values = dict(masks.cells)
    if scores is not None:
        _check_field(masks, scores)
        order = _order_of(masks.cell_ids, scores)
        columns = Column.probabilities(scores.class_set)
        values |= dict(zip(columns, scores.probabilities[order].T, strict=True))
        if scores.embeddings.shape[-1]:
            values[Column.EMBEDDING] = list(scores.embeddings[order])
    return pd.DataFrame(values, index=pd.RangeIndex(len(masks.cell_ids)))


def field_row(cells: Segmentation | MaskRows, scores: CellScores | None) -> dict[str, Any]:
    """Row of the field: the columns of `FIELD_COLUMNS`, then the field's own probabilities; see `cell_rows`."""
    masks = _measured(cells)
    row = dict(masks.field)
    if scores is not None:
        _check_field(masks, scores)
        columns = Column.probabilities(scores.class_set)
        row |= dict(zip(columns, map(float, scores.field_probabilities), strict=True))
    return row


def _measured(cells: Segmentation | MaskRows) -> MaskRows:
    return cells if isinstance(cells, MaskRows) else mask_rows(cells)


def _check_field(masks: MaskRows, scores: CellScores) -> None:
    if masks.field_id != scores.field_id:
        raise ValueError(
            f"The segmentation is of field {masks.field_id}, the scores are of {scores.field_id}: "
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
