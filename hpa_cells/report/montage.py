"""Single cells side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.report.composite import protein_and_references
from hpa_cells.report.marks import outlines_of
from hpa_cells.report.overlay import draw_lines
from hpa_cells.table import Column

__all__ = ["cell_tile", "montage"]

_MARGIN = 0.06
# What is around the cell stays in sight, but in the dark.
_SURROUNDINGS = 0.22
_OUTLINE = (225, 225, 225)
_GAP_PX = 2


def cell_tile(
    channels: NDArray[np.uint8], labels: NDArray[np.int32], row: pd.Series, *, side_px: int
) -> NDArray[np.uint8]:
    """One cell in a square: the protein green over faint references, a thin outline, the rest darkened.

    Parameters
    ----------
    channels
        (4, H, W) uint8, the stretched channels of its field.
    labels
        (H, W) int32, the label image of its field.
    row
        The cell's row of the cell table.
    side_px
        Side of the square; the cell is scaled to fill it.

    Returns
    -------
    (side_px, side_px, 3) uint8; black beyond the edge of the field.
    """
    cell_id = int(row[Column.CELL_ID])
    box_width, box_height = int(row[Column.BBOX_WIDTH_PX]), int(row[Column.BBOX_HEIGHT_PX])
    side = math.ceil(max(box_width, box_height) * (1 + 2 * _MARGIN))
    left = int(row[Column.BBOX_X_PX]) + (box_width - side) // 2
    top = int(row[Column.BBOX_Y_PX]) + (box_height - side) // 2
    cut = np.stack([_square(channel, left, top, side) for channel in channels])
    picture = protein_and_references(cut)
    around = _square(labels, left, top, side) != cell_id
    picture[around] = (picture[around] * _SURROUNDINGS).astype(np.uint8)
    scale = side_px / side
    # Area averages when shrinking: the spots of a centrosome must not fall between the pixels of the tile.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    tile = np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=method), dtype=np.uint8)
    corner = np.array([left, top], dtype=np.float32)
    draw_lines(tile, [line - corner for line in outlines_of(labels, row)], _OUTLINE, scale=scale, width_px=1)
    return tile


def montage(tiles: Sequence[NDArray[np.uint8]], *, num_columns: int) -> NDArray[np.uint8]:
    """Tiles in rows of `num_columns`, with thin black gaps between them; what the last row lacks is black.

    Parameters
    ----------
    tiles
        At least one, each (S, S, 3) uint8.
    num_columns
        Tiles a row, at least 1.

    Returns
    -------
    (H, W, 3) uint8.
    """
    step = tiles[0].shape[0] + _GAP_PX
    num_rows = math.ceil(len(tiles) / num_columns)
    picture = np.zeros((num_rows * step - _GAP_PX, num_columns * step - _GAP_PX, 3), dtype=np.uint8)
    for position, tile in enumerate(tiles):
        y, x = (step * index for index in divmod(position, num_columns))
        picture[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return picture


def _square(pixels: NDArray[Any], left: int, top: int, side: int) -> NDArray[Any]:
    """(side, side) cut of (H, W) pixels, 0 beyond their edge."""
    height, width = pixels.shape
    cut = pixels[max(top, 0) : top + side, max(left, 0) : left + side]
    padded: NDArray[Any] = cv2.copyMakeBorder(
        cut,
        max(0, -top),
        max(0, top + side - height),
        max(0, -left),
        max(0, left + side - width),
        cv2.BORDER_CONSTANT,
        value=0,
    )
    return padded
