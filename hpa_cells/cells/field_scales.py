"""A normalised field at the scales that its cells are cut from."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells.normalisation import intensity_tables, look_up
from hpa_cells.types import Field

__all__ = ["FieldScales", "cut_square"]

# Means of 2 x 2 px are of whole numbers as long as all are multiples of 4: with 8 bits more, four times over.
_UNIT = 256
_MOST_IN_WHOLE_NUMBERS = 16
_BAND_PX = 256
_WORTH_THE_WHOLE = 8


class FieldScales:
    """A normalised field at several scales, each made when it is first asked for."""

    def __init__(self, field: Field) -> None:
        self._image = field.image
        self._tables = intensity_tables(field)
        self._alone_px = 0
        self._known_means: dict[int, list[NDArray[Any]]] = {}
        self._shrunk: dict[int, NDArray[np.uint8]] = {}

    def cut(self, factor: int, corner: tuple[int, int], side: int) -> NDArray[np.uint8]:
        """(side, side, 4) uint8, a square of what `shrunk` gives, with its left and top there; not to be written to."""
        if factor == 1 and 1 not in self._shrunk:
            # A few cells of full size do not pay for the whole field, many do.
            self._alone_px += side**2
            if self._alone_px < self._image[0].size / _WORTH_THE_WHOLE:
                alone = cut_square(self._image.transpose(1, 2, 0), corner, side)
                return self._normalised(alone.transpose(2, 0, 1))
        return cut_square(self.shrunk(factor), corner, side)

    def shrunk(self, factor: int) -> NDArray[np.uint8]:
        """(H / factor, W / factor, 4) uint8, rounded up: means of squares of that side, beyond the field of 0.

        `factor` is a power of 2. Means are rounded as by OpenCV: halves of four pixels up, of more to even numbers.
        """
        if factor not in self._shrunk:
            self._shrunk[factor] = self._normalised(self._image) if factor == 1 else self._rounded(factor)
        return self._shrunk[factor]

    def _normalised(self, planes: NDArray[Any]) -> NDArray[np.uint8]:
        channels = [look_up(plane, table) for plane, table in zip(planes, self._tables, strict=True)]
        return cast("NDArray[np.uint8]", cv2.merge(channels))

    def _rounded(self, factor: int) -> NDArray[np.uint8]:
        upwards = 1 / 8 if factor == 2 else 0
        channels = [cv2.convertScaleAbs(each, alpha=1 / _UNIT, beta=upwards) for each in self._means(factor)]
        return cast("NDArray[np.uint8]", cv2.merge(channels))

    def _means(self, factor: int) -> list[NDArray[Any]]:
        """Of each channel, exact means times 256."""
        if factor not in self._known_means:
            if factor == 2:
                means = [
                    _normalised_and_halved(*each) for each in zip(self._image, self._tables, strict=True)
                ]
            elif factor <= _MOST_IN_WHOLE_NUMBERS:
                means = [_halved(each) for each in self._means(factor // 2)]
            else:
                means = [_halved(each.astype(np.float32)) for each in self._means(factor // 2)]
            self._known_means[factor] = means
        return self._known_means[factor]


def _normalised_and_halved(plane: NDArray[Any], table: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Means of 2 x 2 px, times 256."""
    table_in_units = np.multiply(table, _UNIT, dtype=np.uint16)
    height, width = plane.shape
    means = np.empty((-(-height // 2), -(-width // 2)), dtype=np.uint16)
    # What is between is as large as the field: a part of it at a time stays in the processor's cache.
    for top in range(0, height, _BAND_PX):
        band = look_up(plane[top : top + _BAND_PX], table_in_units)
        means[top // 2 : (top + _BAND_PX) // 2] = _halved(band)
    return means


def _halved(channel: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 px, beyond the channel of 0."""
    height, width = channel.shape
    if height % 2 or width % 2:
        channel = np.pad(channel, [(0, height % 2), (0, width % 2)])
    return cv2.resize(channel, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)


def cut_square(pixels: NDArray[Any], corner: tuple[int, int], side: int) -> NDArray[Any]:
    """A square of the (H, W, ...) pixels, beyond them of 0; where it is a part of them, not to be written to."""
    left, top = corner
    height, width = pixels.shape[:2]
    inside = np.s_[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return pixels[inside]
    found = np.zeros((side, side, *pixels.shape[2:]), dtype=pixels.dtype)
    found[inside[0].start - top : inside[0].stop - top, inside[1].start - left : inside[1].stop - left] = (
        pixels[inside]
    )
    return found
