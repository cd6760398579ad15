"""Fields of any depth and brightness brought to 8 bit, a channel and a field at a time.

The scale is the field's and not the cell's, so that a cell that shows little of the protein stays darker than
its neighbours; and it has a floor, so that the noise of an empty channel is not blown up into a pattern.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.types import NUM_CHANNELS, Field

__all__ = ["normalise_field"]

# The 1st percentile is background in all but the fullest fields. A thousandth of a field is about 27 um2: the
# spots of a few centrosomes may saturate, but a speck of dust does not set the scale.
_BACKGROUND_QUANTILE = 0.01
_BRIGHT_QUANTILE = 0.999
# Least distance between background and bright end, in levels of an 8-bit image.
_FLOOR_LEVELS = 32
# Every fourth row and column is enough for a quantile of a field this large.
_SAMPLED_SIDE_PX = 512


def normalise_field(field: Field) -> NDArray[np.uint8]:
    """Bring the four channels to 8 bit, from their background (0) to their bright end (255).

    Background and bright end are the quantiles 0.01 and 0.999 of a channel over the field, kept at least
    32/255 of the data type's range apart. An 8-bit field and its 16-bit copy (times 257) give one result.

    Returns
    -------
    (4, H, W) uint8; an empty or constant channel is all 0.
    """
    normalised = np.empty(field.image.shape, dtype=np.uint8)
    for channel in range(NUM_CHANNELS):
        plane = field.image[channel]
        table = _lookup_table(plane, field.max_value)
        normalised[channel] = cv2.LUT(plane, table) if plane.dtype == np.uint8 else table[plane]
    return normalised


def _lookup_table(plane: NDArray[np.uint8] | NDArray[np.uint16], max_value: int) -> NDArray[np.uint8]:
    """(max_value + 1,) uint8, the normalised value of every possible value."""
    step = max(1, min(plane.shape) // _SAMPLED_SIDE_PX)
    cumulative = np.cumsum(np.bincount(plane[::step, ::step].ravel(), minlength=max_value + 1))
    # Order statistics, not interpolated: numbers stay whole until the one division, so 8 and 16 bit agree.
    background, bright = np.searchsorted(
        cumulative, np.array([_BACKGROUND_QUANTILE, _BRIGHT_QUANTILE]) * cumulative[-1]
    )
    span = max(int(bright - background), _FLOOR_LEVELS * (max_value // 255))
    levels = 255 * (np.arange(max_value + 1) - background) / span
    table: NDArray[np.uint8] = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return table
