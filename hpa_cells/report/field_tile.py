"""A field as a small square, beside others of any shape."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.report.composite import mix_channels

__all__ = ["field_tile"]

# Beside the picture, where a field is no square: no colour that a field has.
_BLANK = 255


def field_tile(channels: NDArray[np.uint8], *, side_px: int) -> NDArray[np.uint8]:
    """The field in the colours of the atlas, as large as fits into a square, in its middle.

    Parameters
    ----------
    channels
        (4, H, W) uint8, stretched, see `hpa_cells.cells.normalise_field`.
    side_px
        Side of the square.

    Returns
    -------
    (side_px, side_px, 3) uint8; white beside the field.
    """
    height, width = channels.shape[1:]
    scale = side_px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Area averages when shrinking: single bright spots must not fall between the pixels of the tile.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = np.stack([cv2.resize(channel, size, interpolation=method) for channel in channels])
    tile = np.full((side_px, side_px, 3), _BLANK, dtype=np.uint8)
    top, left = (side_px - size[1]) // 2, (side_px - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = mix_channels(small)
    return tile
