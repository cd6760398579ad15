"""Rows of the cell table from masks alone, for files that hold nothing else of a cell.

Unlike a label image, the masks of a file may overlap; so each is measured on its own runs, and no pixel is
painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.export.expected import FieldSize
from hpa_cells.masks import counts_boxes
from hpa_cells.masks.coding import runs_from_counts, starts_and_stops
from hpa_cells.table import Column

__all__ = ["checked_masks", "mask_rows", "typed_rows"]


def mask_rows(counts: Sequence[bytes], size: FieldSize, pixel_size_um: float) -> dict[str, Any]:
    """The columns of `CELL_COLUMNS` that follow from N masks; no cell has a nucleus.

    Parameters
    ----------
    counts
        N compressed counts of COCO, none empty.
    size
        Of the field.
    pixel_size_um
        Side of a pixel, in um; NaN, and then the areas in um2 too, where it is unknown.

    Returns
    -------
    dict
        Column to (N,) values, or one value for all.
    """
    boxes = counts_boxes(counts, size.height_px, size.width_px)
    left, top, width, height = boxes.T
    areas, centroids = _areas_and_centroids(counts, size)
    return {
        Column.HEIGHT_PX: size.height_px,
        Column.WIDTH_PX: size.width_px,
        Column.PIXEL_SIZE_UM: pixel_size_um,
        Column.BBOX_X_PX: left,
        Column.BBOX_Y_PX: top,
        Column.BBOX_WIDTH_PX: width,
        Column.BBOX_HEIGHT_PX: height,
        Column.CENTROID_X_PX: centroids[:, 0],
        Column.CENTROID_Y_PX: centroids[:, 1],
        Column.AREA_PX: areas,
        Column.AREA_UM2: areas * pixel_size_um**2,
        Column.NUCLEUS_AREA_PX: 0,
        Column.NUCLEUS_AREA_UM2: 0 * pixel_size_um,
        Column.TOUCHES_BORDER: (
            (left == 0) | (top == 0) | (left + width == size.width_px) | (top + height == size.height_px)
        ),
        Column.CELL_RLE: [each.decode("ascii") for each in counts],
        Column.NUCLEUS_RLE: None,
    }


def typed_rows(
    parts: Sequence[pd.DataFrame], columns: dict[str, pa.DataType], class_set: ClassSet, order: list[str]
) -> pd.DataFrame:
    """The rows with the columns and types that `read_table` gives, in its order; what is unknown is NaN."""
    probabilities = Column.probabilities(class_set)
    schema = pa.schema(columns | dict.fromkeys(probabilities, pa.float32()))
    rows = (pd.concat(parts) if parts else pd.DataFrame()).reindex(columns=schema.names)
    typed: pd.DataFrame = pa.Table.from_pandas(rows, schema=schema, preserve_index=False).to_pandas()
    return typed.sort_values(order, ignore_index=True)


def checked_masks(counts: Sequence[bytes], cell_ids: Sequence[int], size: FieldSize, place: str) -> None:
    """Refuse masks of strangers that are no masks of the field.

    Raises
    ------
    ValueError
        If counts cannot be read, do not fill the field or have no pixel inside. The message begins with `place` and
        names the cell.
    """
    try:
        runs = runs_from_counts(
            counts, size.width_px * size.height_px, [f"of cell {cell_id}" for cell_id in cell_ids]
        )
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    empty = np.setdiff1d(np.arange(len(counts)), starts_and_stops(*runs)[0])
    for number in empty[:1].tolist():
        raise ValueError(
            f"{place}: mask of cell {cell_ids[number]} is empty: leave out cells without pixels."
        )


def _areas_and_centroids(
    counts: Sequence[bytes], size: FieldSize
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N,) areas and (N, 2) x and y of the mean pixel centre, in px."""
    num_pixels = size.width_px * size.height_px
    masks, starts, stops = starts_and_stops(*runs_from_counts(counts, num_pixels, range(len(counts))))
    lengths = stops - starts
    areas, sum_x, sum_pixels = np.zeros((3, len(counts)), dtype=np.int64)
    np.add.at(areas, masks, lengths)
    np.add.at(sum_x, masks, _columns_before(stops, size.height_px) - _columns_before(starts, size.height_px))
    np.add.at(sum_pixels, masks, lengths * (starts + stops - 1) // 2)
    # A pixel's number is height * x + y, so the sum over y follows from the other two.
    return areas, np.stack([sum_x, sum_pixels - size.height_px * sum_x], axis=1) / areas[:, None]


def _columns_before(pixels: NDArray[np.int64], height_px: int) -> NDArray[np.int64]:
    """For each p, the sum of the columns of the pixels 0 to p - 1, counted down the columns of the image."""
    columns, rows = np.divmod(pixels, height_px)
    total: NDArray[np.int64] = height_px * columns * (columns - 1) // 2 + columns * rows
    return total
