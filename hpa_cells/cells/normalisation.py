"""Fields of any depth and brightness brought to 8 bit, a channel and a field at a time.

The scale is the field's and not the cell's, so that a cell that shows little of the protein stays darker than
its neighbours; and it has a floor, so that the noise of an empty channel is not blown up into a pattern.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.types import Field

__all__ = [
    "FLOOR_LEVELS",
    "NORMALISATION_QUANTILES",
    "channel_range",
    "intensity_tables",
    "look_up",
    "normalise_field",
]

# The 1st percentile is background in all but the fullest fields. A thousandth of a field is about 27 um2: the
# spots of a few centrosomes may saturate, but a speck of dust does not set the scale.
NORMALISATION_QUANTILES = (0.01, 0.999)
# Least distance between background and bright end, in levels of an 8-bit image.
FLOOR_LEVELS = 32
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
    for plane, table, out in zip(field.image, intensity_tables(field), normalised, strict=True):
        look_up(plane, table, out=out)
    return normalised


def intensity_tables(field: Field) -> list[NDArray[np.uint8]]:
    """Of each channel, (M + 1,) uint8: what `normalise_field` makes of each value from 0 to M; 0 stays 0."""
    return [_lookup_table(plane, field.max_value) for plane in field.image]


def look_up(
    plane: NDArray[np.uint8] | NDArray[np.uint16], table: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """`table` at each value of `plane`, in the table's type; written to `out` where that is given."""
    if plane.dtype == np.uint8:
        return cv2.LUT(plane, table, dst=out)
    return table.take(plane, out=out, mode="clip")


def channel_range(plane: NDArray[np.uint8] | NDArray[np.uint16], max_value: int) -> tuple[int, int]:
    """Background and bright end of a channel, between which `normalise_field` shows it.

    Parameters
    ----------
    plane
        (H, W) uint8 or uint16.
    max_value
        Largest value of the data type.

    Returns
    -------
    tuple of int
        The second is at least 32/255 of `max_value` above the first, and may be above `max_value`.
    """
    step = max(1, min(plane.shape) // _SAMPLED_SIDE_PX)
    sample: NDArray[np.uint8 | np.uint16] = np.ascontiguousarray(plane[::step, ::step])
    counts = cv2.calcHist([sample], [0], None, [max_value + 1], [0, max_value + 1])
    cumulative = np.cumsum(counts.ravel(), dtype=np.float64)
    # Order statistics, not interpolated: numbers stay whole until the one division, so 8 and 16 bit agree.
    background, bright = np.searchsorted(cumulative, np.array(NORMALISATION_QUANTILES) * cumulative[-1])
    return int(background), int(background) + max(int(bright - background), FLOOR_LEVELS * (max_value // 255))


def _lookup_table(plane: NDArray[np.uint8] | NDArray[np.uint16], max_value: int) -> NDArray[np.uint8]:
    """(max_value + 1,) uint8, the normalised value of every possible value."""
    background, bright = channel_range(plane, max_value)
    levels = 255 * (np.arange(max_value + 1) - background) / (bright - background)
    table: NDArray[np.uint8] = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return table
