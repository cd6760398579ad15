"""The columns of both tables, by name and type."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from hpa_cells.classes import ClassSet

__all__ = ["CELL_COLUMNS", "DESCRIPTIONS", "FIELD_COLUMNS", "Column", "arrow_types", "describe"]


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

# What each column says, for people: as docs/table.md has it, and the files that travel alone.
DESCRIPTIONS: Final[dict[str, str]] = {
    Column.FIELD_ID: "the field",
    Column.CELL_ID: "the cell within its field: its pixel value in the label image, at least 1",
    Column.HEIGHT_PX: "rows of the field",
    Column.WIDTH_PX: "columns of the field",
    Column.PIXEL_SIZE_UM: "side of a pixel in um",
    Column.BBOX_X_PX: "first column of the smallest upright box around the cell",
    Column.BBOX_Y_PX: "first row of that box",
    Column.BBOX_WIDTH_PX: "columns of that box",
    Column.BBOX_HEIGHT_PX: "rows of that box",
    Column.CENTROID_X_PX: "x of the mean of the cell's pixels; the centre of the top left pixel is (0, 0)",
    Column.CENTROID_Y_PX: "y of that mean, downwards",
    Column.AREA_PX: "pixels of the cell, those of its nucleus with them",
    Column.AREA_UM2: "that area in square um",
    Column.NUCLEUS_AREA_PX: "pixels of its nuclei; 0 for a cell without one",
    Column.NUCLEUS_AREA_UM2: "that area in square um",
    Column.TOUCHES_BORDER: "whether a pixel lies in the first or last row or column of the field",
    Column.CELL_RLE: "mask of the cell: the counts of a COCO run-length encoding, of height_px by width_px pixels",
    Column.NUCLEUS_RLE: "mask of its nuclei, encoded alike; missing for a cell without one",
    Column.EMBEDDING: "what the model's encoder says of the cell, before the heads",
    Column.NUM_CELLS: "cells found in the field",
}


def arrow_types(columns: dict[str, pa.DataType], class_set: ClassSet) -> dict[str, pa.DataType]:
    """Type of each column of a file with these, in its order: the probabilities follow, then the embedding, if any."""
    probabilities = dict.fromkeys(Column.probabilities(class_set), pa.float32())
    return columns | probabilities | {Column.EMBEDDING: pa.list_(pa.float32())}


def describe(column: str, class_set: ClassSet) -> str:
    """What a column of a table of this class set says, for people.

    Raises
    ------
    KeyError
        If a table of this class set has no such column.

    Examples
    --------
    >>> from hpa_cells.classes import get_class_set
    >>> describe("p_nucleoli", get_class_set("hpa2021"))
    'probability of Nucleoli, from 0 to 1'
    """
    names = dict(zip(Column.probabilities(class_set), class_set.names, strict=True))
    return f"probability of {names[column]}, from 0 to 1" if column in names else DESCRIPTIONS[column]
