"""Images at other sizes, and which pixels these show."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_pixels", "resize"]


def nearest_pixels(length_px: int, resized_px: int) -> NDArray[np.int32]:
    """(R,) int32, which of the pixels along a side lies below the centre of each of R when it is resized.

    Examples
    --------
    >>> nearest_pixels(2, 4).tolist(), nearest_pixels(6, 2).tolist()
    ([0, 0, 1, 1], [1, 4])
    """
    pixels = np.arange(length_px, dtype=np.int32)[None]
    found = cv2.resize(pixels, (resized_px, 1), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(found[0], dtype=np.int32)


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize to (height, width), by area when it shrinks."""
    method = cv2.INTER_AREA if height < pixels.shape[0] else cv2.INTER_LINEAR
    return cast("NDArray[np.uint8]", cv2.resize(pixels, (width, height), interpolation=method))
