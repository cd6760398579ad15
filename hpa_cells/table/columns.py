"""The columns of both tables, by name and type."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from hpa_cells.classes import ClassSet

__all__ = ["CELL_COLUMNS", "FIELD_COLUMNS", "Column"]


class Column:
    """The names of the columns; nowhere else are they spelt."""

    FIELD_ID: Final = "field_id"
    CELL_ID: Final = "cell_id"
    HEIGHT_PX: Final = "height_px"
    WIDTH_PX: Final = "width_px"
    PIXEL_SIZE_UM: Final = "pixel_size_um"
    BBOX_X_PX: Final = "bbox_x_px"
    BBOX_Y_PX: Final = "bbox_y_px"
    BBOX_WIDTH_PX: Final = "bbox_width_px"
    BBOX_HEIGHT_PX: Final = "bbox_height_px"
    CENTROID_X_PX: Final = "centroid_x_px"
    CENTROID_Y_PX: Final = "centroid_y_px"
    AREA_PX: Final = "area_px"
    AREA_UM2: Final = "area_um2"
    NUCLEUS_AREA_PX: Final = "nucleus_area_px"
    NUCLEUS_AREA_UM2: Final = "nucleus_area_um2"
    TOUCHES_BORDER: Final = "touches_border"
    CELL_RLE: Final = "cell_rle"
    NUCLEUS_RLE: Final = "nucleus_rle"
    EMBEDDING: Final = "embedding"
    NUM_CELLS: Final = "num_cells"

    @staticmethod
    def probabilities(class_set: ClassSet) -> list[str]:
        """The probability columns, one a class in the order of the class set, e.g. ``p_nucleoli``."""
        return [f"p_{key}" for key in class_set.keys]


# Column -> type, in the order of the file; the probability columns follow, then the embedding.
CELL_COLUMNS: Final[dict[str, pa.DataType]] = {
    Column.FIELD_ID: pa.string(),
    Column.CELL_ID: pa.int32(),
    Column.HEIGHT_PX: pa.int32(),
    Column.WIDTH_PX: pa.int32(),
    Column.PIXEL_SIZE_UM: pa.float64(),
    Column.BBOX_X_PX: pa.int32(),
    Column.BBOX_Y_PX: pa.int32(),
    Column.BBOX_WIDTH_PX: pa.int32(),
    Column.BBOX_HEIGHT_PX: pa.int32(),
    Column.CENTROID_X_PX: pa.float32(),
    Column.CENTROID_Y_PX: pa.float32(),
    Column.AREA_PX: pa.int64(),
    Column.AREA_UM2: pa.float64(),
    Column.NUCLEUS_AREA_PX: pa.int64(),
    Column.NUCLEUS_AREA_UM2: pa.float64(),
    Column.TOUCHES_BORDER: pa.bool_(),
    Column.CELL_RLE: pa.string(),
    Column.NUCLEUS_RLE: pa.string(),
}
FIELD_COLUMNS: Final[dict[str, pa.DataType]] = {
    Column.FIELD_ID: pa.string(),
    Column.HEIGHT_PX: pa.int32(),
    Column.WIDTH_PX: pa.int32(),
    Column.PIXEL_SIZE_UM: pa.float64(),
    Column.NUM_CELLS: pa.int32(),
}
