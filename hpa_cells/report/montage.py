"""Single cells side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells import cut_square
from hpa_cells.report.composite import protein_and_references
from hpa_cells.report.marks import mask_of, outlines_of
from hpa_cells.report.overlay import draw_lines
from hpa_cells.table import Column

__all__ = ["cell_tile", "montage"]

_MARGIN = 0.06
# What is around the cell stays in sight, but in the dark.
_SURROUNDINGS = 0.22
_DARKENED = (np.arange(256) * _SURROUNDINGS).astype(np.uint8)
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
    box_width, box_height = int(row[Column.BBOX_WIDTH_PX]), int(row[Column.BBOX_HEIGHT_PX])
    side = math.ceil(max(box_width, box_height) * (1 + 2 * _MARGIN))
    corner = (
        int(row[Column.BBOX_X_PX]) + (box_width - side) // 2,
        int(row[Column.BBOX_Y_PX]) + (box_height - side) // 2,
    )
    cut = cut_square(channels.transpose(1, 2, 0), corner, side).transpose(2, 0, 1)
    picture = protein_and_references(cut)
    mask = mask_of(labels, row)
    left, top = int(row[Column.BBOX_X_PX]) - corner[0], int(row[Column.BBOX_Y_PX]) - corner[1]
    around = np.ones((side, side), dtype=np.uint8)
    around[top : top + mask.shape[0], left : left + mask.shape[1]] -= mask
    cv2.copyTo(cv2.LUT(picture, _DARKENED), around, picture)
    scale = side_px / side
    # Area averages when shrinking: the spots of a centrosome must not fall between the pixels of the tile.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    tile = np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=method), dtype=np.uint8)
    lines = [line - np.array(corner, dtype=np.float32) for line in outlines_of(labels, row)]
    draw_lines(tile, lines, _OUTLINE, scale=scale, width_px=1)
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
