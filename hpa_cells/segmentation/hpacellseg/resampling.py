"""Images at the scale of the networks, with the pixels that the networks were given when they were trained."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["rescaled", "unit_range"]

# Where the tails of a Gaussian are cut off, in standard deviations.
_REACH = 4.0

# Black and white may be this far beyond 0 and 1: the rounding of whoever scaled the image in 32 bits.
_ROUNDING = 1e-5


def rescaled(image: NDArray[np.float32], height_px: int, width_px: int) -> NDArray[np.float32]:
    """The image in another size, as ``skimage.transform.resize`` makes it, to 1e-6.

    A Gaussian of (factor - 1) / 2 px along each side that shrinks, then linear interpolation. A mean over areas
    would be sharper than what the networks know.

    Parameters
    ----------
    image
        (H, W) or (H, W, C) float32.
    height_px, width_px
        New size.

    Returns
    -------
    (height_px, width_px) or (height_px, width_px, C) float32.
    """
    if image.shape[:2] == (height_px, width_px):
        return image
    kernels = [_gaussian(old / new) for old, new in zip(image.shape, (height_px, width_px), strict=False)]
    smooth = cv2.sepFilter2D(image, -1, kernels[1], kernels[0], borderType=cv2.BORDER_REFLECT_101)
    resized = cv2.resize(smooth, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.float32, copy=False)


def _gaussian(factor: float) -> NDArray[np.float32]:
    sigma_px = max(0.0, (factor - 1) / 2)
    reach_px = int(_REACH * sigma_px + 0.5)
    if reach_px == 0:
        return np.ones(1, dtype=np.float32)
    at = np.arange(-reach_px, reach_px + 1)
    weights = np.exp(-0.5 * (at / sigma_px) ** 2)
    normalised: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return normalised


def unit_range(image: NDArray[Any], name: str) -> NDArray[np.float32]:
    """The image in float32, its integers divided by the largest of their type, so that white is 1.

    Raises
    ------
    TypeError
        If it is of neither 8 nor 16 bits unsigned nor of floats.
    ValueError
        If it is empty, or has floats that are not finite, or beyond 0 to 1 by more than 1e-5.

    The text of an error calls it `name`.
    """
    if image.size == 0:
        raise ValueError(f"{name} has the shape {image.shape}, without a pixel: leave it out.")
    if image.dtype in (np.uint8, np.uint16):
        of_white: NDArray[np.float32] = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
        return of_white
    if not np.issubdtype(image.dtype, np.floating):
        raise TypeError(f"{name} is {image.dtype}: give uint8, uint16, or floats from 0 to 1.")
    if not np.isfinite(image).all():
        raise ValueError(f"{name} has pixels that are not finite: replace them, e.g. by 0.")
    darkest, brightest = float(image.min()), float(image.max())
    if darkest < -_ROUNDING or brightest > 1 + _ROUNDING:
        raise ValueError(
            f"{name} has floats from {darkest:g} to {brightest:g}: divide by what white is, so that they are from "
            "0 to 1, or give uint8 or uint16."
        )
    return image.astype(np.float32)
