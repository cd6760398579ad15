"""Images and label images in Zarr as OME-NGFF has them: levels of falling size, and what is said of them.

Written with zarr alone. What spatialdata and ome-zarr-py write for the same arrays, and whether they write at all,
depends on which versions of both and of dask meet.

References
----------
.. [1] https://ngff.openmicroscopy.org/0.4/ and https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "IMAGE_AXES",
    "LABEL_AXES",
    "ZARR_MARKS",
    "Pyramid",
    "image_pyramid",
    "label_pyramid",
    "multiscale",
    "write_pyramid",
]

# What a viewer loads at once, in px a side.
_CHUNK_PX: Final = 1024
_UM: Final = "micrometer"

IMAGE_AXES: Final = ("c", "y", "x")
LABEL_AXES: Final = ("y", "x")
# A folder of Zarr has one of these.
ZARR_MARKS: Final = ("zarr.json", ".zgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pyramid:
    """An image at one scale or several.

    Attributes
    ----------
    axes
        ``c``, ``y``, ``x``, or without ``c``.
    levels
        Arrays over these axes. The first is the image; in each, a pixel stands for 2 x 2 of the one before.
    """

    axes: tuple[str, ...]
    levels: list[NDArray[Any]]


def image_pyramid(image: NDArray[Any], *, scales: int) -> Pyramid:
    """Levels of (C, H, W) unsigned integers, each pixel the rounded mean of four; a side of odd length is extended.

    There are at most `scales`, and no more once a side has one pixel.

    Examples
    --------
    >>> pyramid = image_pyramid(np.array([[[0, 1, 9], [2, 5, 9]]], dtype=np.uint8), scales=5)
    >>> [level.tolist() for level in pyramid.levels]
    [[[[0, 1, 9], [2, 5, 9]]], [[[2, 9]]]]
    """
    levels = [image]
    while len(levels) < scales and min(levels[-1].shape[1:]) > 1:
        last = levels[-1]
        even = np.pad(last, ((0, 0), (0, last.shape[1] % 2), (0, last.shape[2] % 2)), mode="edge")
        total = np.zeros((len(even), even.shape[1] // 2, even.shape[2] // 2), dtype=np.uint32)
        for row, column in np.ndindex(2, 2):
            total += even[:, row::2, column::2]
        levels.append(((total + 2) // 4).astype(image.dtype))
    return Pyramid(axes=IMAGE_AXES, levels=levels)


def label_pyramid(labels: NDArray[np.int32], *, scales: int) -> Pyramid:
    """Levels of (H, W) int32, each pixel the first of four: ids are never mixed, though a small cell may vanish."""
    levels = [labels]
    while len(levels) < scales and min(levels[-1].shape) > 1:
        levels.append(levels[-1][::2, ::2])
    return Pyramid(axes=LABEL_AXES, levels=levels)


def write_pyramid(group: Any, pyramid: Pyramid) -> None:
    """Write the levels as arrays ``0``, ``1`` and so on into a group of Zarr 2 or 3."""
    is_third = group.metadata.zarr_format == 3
    for number, level in enumerate(pyramid.levels):
        array = group.create_array(
            str(number),
            shape=level.shape,
            dtype=level.dtype,
            chunks=tuple(
                1 if axis == "c" else min(size, _CHUNK_PX)
                for axis, size in zip(pyramid.axes, level.shape, strict=True)
            ),
            fill_value=0,
            # Version 0.4 wants folders, which is not what Zarr 2 does by itself.
            chunk_key_encoding={"name": "default" if is_third else "v2", "separator": "/"},
            dimension_names=pyramid.axes if is_third else None,
        )
        array[...] = level


def multiscale(
    pyramid: Pyramid, *, name: str, pixel_size_um: float | None, further: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """What ``multiscales`` says of a pyramid.

    Parameters
    ----------
    pyramid
        The levels.
    name
        Of the image.
    pixel_size_um
        Side of a pixel of the first level, in um; None: everything in pixels.
    further
        Transformations of all levels alike.

    Returns
    -------
    dict
        An entry of ``multiscales``. The centre of the first pixel of the first level is the origin, and each level has
        its translation, so that all of them lie over each other.
    """
    unit = {} if pixel_size_um is None else {"unit": _UM}
    return {
        "name": name,
        "axes": [
            {"name": axis, "type": "channel"} if axis == "c" else {"name": axis, "type": "space"} | unit
            for axis in pyramid.axes
        ],
        "datasets": [
            {
                "path": str(number),
                "coordinateTransformations": _placement(pyramid.axes, number, pixel_size_um or 1.0),
            }
            for number in range(len(pyramid.levels))
        ],
    } | ({"coordinateTransformations": list(further)} if further else {})


def _placement(axes: tuple[str, ...], level: int, pixel_size: float) -> list[dict[str, Any]]:
    factor = 2**level
    scale = [1.0 if axis == "c" else pixel_size * factor for axis in axes]
    translation = [0.0 if axis == "c" else pixel_size * (factor - 1) / 2 for axis in axes]
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
