"""What is drawn over a field: for each cell its outline, a colour and a few words."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.masks import paint_labels
from hpa_cells.report.colors import Rgb, color_on_dark, short_name
from hpa_cells.table import Column

__all__ = ["CellMark", "cell_marks", "label_image", "mask_of", "outlines_of"]

_NO_CLASS_COLOR: Rgb = (200, 200, 200)
_MOST_CLASSES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CellMark:
    """One cell over a field.

    Attributes
    ----------
    cell_id
        Its id.
    outlines_px
        For each piece of the cell (P, 2) float32: x and y along its edge, in px of the field, where the top
        left corner of the field is (0, 0).
    middle_px
        x and y of the cell's centroid, in the same measure.
    color
        That of its most probable class; grey where the table has no probabilities.
    classes
        Its classes from the threshold up, at most two, most probable first; else the most probable one alone.
    is_sure
        Whether a class reaches the threshold.
    """

    cell_id: int
    outlines_px: list[NDArray[np.float32]]
    middle_px: tuple[float, float]
    color: Rgb
    classes: tuple[str, ...]
    is_sure: bool

    @property
    def words(self) -> str:
        """Id and classes, one a line; a class below the threshold is followed by ``?``."""
        return "\n".join([str(self.cell_id), *self.classes]) + (
            "?" if self.classes and not self.is_sure else ""
        )


def cell_marks(
    cells: pd.DataFrame, labels: NDArray[np.int32], class_set: ClassSet, *, threshold: float
) -> list[CellMark]:
    """The marks of the cells of one field.

    Parameters
    ----------
    cells
        Rows of the cell table, all of one field.
    labels
        (H, W) int32, their label image.
    class_set
        The classes of its probability columns.
    threshold
        Least probability of a class that is named.
    """
    probabilities = cells[Column.probabilities(class_set)].to_numpy(dtype=np.float32)
    middles = cells[[Column.CENTROID_X_PX, Column.CENTROID_Y_PX]].to_numpy(dtype=np.float64) + 0.5
    marks = []
    for row, cell_id in enumerate(cells[Column.CELL_ID]):
        ranked = [
            index for index in np.argsort(-probabilities[row]) if not np.isnan(probabilities[row, index])
        ]
        sure = [index for index in ranked if probabilities[row, index] >= threshold]
        named = sure[:_MOST_CLASSES] or ranked[:1]
        marks.append(
            CellMark(
                cell_id=int(cell_id),
                outlines_px=outlines_of(labels, cells.iloc[row]),
                middle_px=(float(middles[row, 0]), float(middles[row, 1])),
                color=color_on_dark(class_set.colors[named[0]]) if named else _NO_CLASS_COLOR,
                classes=tuple(short_name(class_set.keys[index]) for index in named),
                is_sure=bool(sure),
            )
        )
    return marks


def label_image(cells: pd.DataFrame, height_px: int, width_px: int) -> NDArray[np.int32]:
    """(H, W) int32, the label image of the cells of one field.

    Raises
    ------
    ValueError
        If a mask does not fill an image of this size.
    """
    counts = [rle.encode("ascii") for rle in cells[Column.CELL_RLE]]
    return paint_labels(cells[Column.CELL_ID].to_numpy(dtype=np.int32), counts, height_px, width_px)


def mask_of(labels: NDArray[np.int32], row: pd.Series) -> NDArray[np.uint8]:
    """(h, w) uint8, 1 where a cell is in its bounding box; also where others lie over it in the label image."""
    left, top = int(row[Column.BBOX_X_PX]), int(row[Column.BBOX_Y_PX])
    box = np.s_[top : top + int(row[Column.BBOX_HEIGHT_PX]), left : left + int(row[Column.BBOX_WIDTH_PX])]
    mask: NDArray[np.uint8] = (labels[box] == int(row[Column.CELL_ID])).astype(np.uint8)
    if np.count_nonzero(mask) != int(row[Column.AREA_PX]):
        height, width = labels.shape
        alone = paint_labels([1], [row[Column.CELL_RLE].encode("ascii")], height, width)
        mask = alone[box].astype(np.uint8)
    return mask


def outlines_of(labels: NDArray[np.int32], row: pd.Series) -> list[NDArray[np.float32]]:
    """(P, 2) float32 along the edge of each piece of a cell, x and y in px; `row` is its row of the table."""
    left, top = int(row[Column.BBOX_X_PX]), int(row[Column.BBOX_Y_PX])
    contours, _ = cv2.findContours(
        mask_of(labels, row), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top)
    )
    # OpenCV counts from the centre of the first pixel, pictures from its corner.
    return [contour.reshape(-1, 2).astype(np.float32) + np.float32(0.5) for contour in contours]
