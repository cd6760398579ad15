"""What the U-Net sees of a field: three channels at one scale, each between its own dark and bright end."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.types import Channel, Field

__all__ = [
    "NETWORK_CHANNELS",
    "intensity_range",
    "network_input",
    "rescaled_channels",
    "scaled_shape",
    "shows_no_nuclei",
    "shows_nuclei_only",
    "to_range",
]

# The protein is left out: its place differs from field to field, the outlines of cells must not follow it.
NETWORK_CHANNELS: Final = (Channel.MICROTUBULES, Channel.ER, Channel.NUCLEUS)

# Rows at the network's scale.
_BAND_PX = 64

DARK_QUANTILE, BRIGHT_QUANTILE = 0.005, 0.995
# Specks of dirt above the bright end are told from cells no better for being brighter still.
MOST = 1.5
# In units of an 8-bit image; below it, what differs is the rounding of resizing.
LEAST_SPAN = 0.02

# Enlarging shows nothing of a cell in pixels coarser than this: a nucleus has five of them across. Images of whole
# slides have up to 1.3 um.
_COARSEST_UM = 2.0
# Beyond both, a wrong unit or pixel size is more likely than such a field.
_MOST_ENLARGED, _MOST_SIDE_PX = 16, 20_000


def scaled_shape(field: Field, um_per_px: float) -> tuple[int, int]:
    """Height and width of a field at `um_per_px`, at least 1 px each.

    Raises
    ------
    ValueError
        If its pixels are coarser than 2 um and than `um_per_px`, or it would get more than 20,000 px a side and
        16 times its pixels.
    """
    scale = field.pixel_size_um / um_per_px
    height_px, width_px = (max(1, round(side * scale)) for side in (field.height_px, field.width_px))
    is_too_coarse = scale > 1 and field.pixel_size_um > _COARSEST_UM
    if is_too_coarse or (scale**2 > _MOST_ENLARGED and max(height_px, width_px) > _MOST_SIDE_PX):
        raise ValueError(
            f"Field {field.field_id}: a pixel size of {field.pixel_size_um:g} um would enlarge its "
            f"{field.height_px} x {field.width_px} px to {height_px} x {width_px} px of {um_per_px:g} um: is it in "
            f"nm? Give it in um, at most {_COARSEST_UM:g}."
        )
    return height_px, width_px


def rescaled_channels(field: Field, um_per_px: float) -> NDArray[np.float32]:
    """(3, h, w) float32, microtubules, ER and nucleus at `um_per_px`, in units of an 8-bit image."""
    shape = scaled_shape(field, um_per_px)
    planes = [_resized(field.image[channel], *shape) for channel in NETWORK_CHANNELS]
    return np.asarray(np.stack(planes) / np.float32(field.max_value // 255), dtype=np.float32)


def _resized(plane: NDArray[np.uint8] | NDArray[np.uint16], height: int, width: int) -> NDArray[np.float32]:
    # Not in 8 bits: rounded means would make steps of a dim field, and differ from its 16-bit copy's.
    if plane.dtype == np.uint8 and plane.shape == (4 * height, 4 * width):
        return _means_of_squares(plane)
    method = cv2.INTER_AREA if height * width <= plane.size else cv2.INTER_LINEAR
    resized = cv2.resize(plane.astype(np.float32), (width, height), interpolation=method)
    return np.asarray(resized, dtype=np.float32)


def _means_of_squares(plane: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float32]:
    """Exact means of 4 x 4 px of 8 bits, the usual case: a mean of four that are multiples of 4 needs no rounding."""
    height, width = (side // 4 for side in plane.shape)
    means = np.empty((height, width), dtype=np.float32)
    # A part at a time stays in the processor's cache.
    for top in range(0, height, _BAND_PX):
        part = np.multiply(plane[4 * top : 4 * (top + _BAND_PX)], 16, dtype=np.uint16)
        for factor in (2, 1):
            size = (factor * width, part.shape[0] // 2)
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint16)
        means[top : top + _BAND_PX] = part
    means /= np.float32(16)
    return means


def intensity_range(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, 2) float32, the dark and the bright end of each of (C, h, w) channels."""
    # A quarter of the pixels says the same.
    ends = np.quantile(planes[:, ::2, ::2], (DARK_QUANTILE, BRIGHT_QUANTILE), axis=(1, 2))
    return ends.T.astype(np.float32)


def to_range(planes: NDArray[np.float32], ends: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, h, w) float32 from 0 at a channel's dark end over 1 at its bright end to 1.22 at most.

    The square root raises thin margins of cells against bright middles and makes photon noise even. A channel
    of one value is all 0.
    """
    dark, bright = ends[:, :1, None], ends[:, 1:, None]
    span = bright - dark
    relative = np.divide(planes - dark, span, out=np.zeros_like(planes), where=span > LEAST_SPAN)
    scaled: NDArray[np.float32] = np.sqrt(np.clip(relative, 0, MOST, out=relative), out=relative)
    return scaled


def shows_nuclei_only(planes: NDArray[np.float32]) -> bool:
    """Whether (3, h, w) channels, as `network_input` gives them, hold neither microtubules nor ER."""
    return not planes[: NETWORK_CHANNELS.index(Channel.NUCLEUS)].any()


def shows_no_nuclei(planes: NDArray[np.float32]) -> bool:
    """Whether the nucleus plane of (3, h, w) channels, as `network_input` gives them, is of one value."""
    return not planes[NETWORK_CHANNELS.index(Channel.NUCLEUS)].any()


def network_input(field: Field, um_per_px: float) -> NDArray[np.float32]:
    """(3, h, w) float32: the channels of `NETWORK_CHANNELS` at `um_per_px`, as `to_range` gives them."""
    planes = rescaled_channels(field, um_per_px)
    return to_range(planes, intensity_range(planes))
