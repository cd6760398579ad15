"""The grid a field is drawn on, smooth noise on it, and clouds of fluorescent points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Canvas", "FloatImage"]

FloatImage = NDArray[np.float32]

# A blur wider than this is as good on a smaller image.
_WIDE_BLUR_PX = 6.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """A grid of pixels with a physical size. Positions are (y, x) in um; the first pixel's centre is (0, 0).

    Attributes
    ----------
    height_px, width_px
        Size of the grid.
    pixel_size_um
        Side of a pixel.
    """

    height_px: int
    width_px: int
    pixel_size_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height_px, self.width_px

    @property
    def size_um(self) -> tuple[float, float]:
        """Height and width."""
        return self.height_px * self.pixel_size_um, self.width_px * self.pixel_size_um

    def pixels_at(self, positions_um: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the pixels nearest to `positions_um` (..., 2), inside the grid."""
        nearest = np.rint(positions_um / self.pixel_size_um).astype(np.intp)
        rows = np.clip(nearest[..., 0], 0, self.height_px - 1)
        columns = np.clip(nearest[..., 1], 0, self.width_px - 1)
        return rows, columns

    def noise(self, rng: np.random.Generator, scale_um: float) -> FloatImage:
        """Smooth Gaussian noise of mean 0 and deviation 1 whose blobs are about `scale_um` wide.

        Drawn on a grid as coarse as the scale allows, and enlarged: wide blobs cost little.
        """
        scale_px = scale_um / self.pixel_size_um
        step_px = max(scale_px / 2.5, 1.0)
        rows, columns = (max(int(np.ceil(side / step_px)) + 2, 3) for side in self.shape)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        grid = self._blur(grid, 0.4 * scale_px / step_px)
        if step_px > 1:
            span_px = (round(columns * step_px), round(rows * step_px))
            grid = np.asarray(cv2.resize(grid, span_px, interpolation=cv2.INTER_CUBIC), dtype=np.float32)
        grid = grid[: self.height_px, : self.width_px]
        mean, deviation = (float(each.item()) for each in cv2.meanStdDev(grid))
        image: FloatImage = (grid - np.float32(mean)) / np.float32(max(deviation, 1e-6))
        return image

    def blur(self, image: FloatImage, sigma_um: float) -> FloatImage:
        """Blur by a Gaussian of this deviation; below a fifth of a pixel nothing is left to blur."""
        return self._blur(image, sigma_um / self.pixel_size_um)

    def points(self, positions_um: NDArray[np.float32], weights: NDArray[np.float32]) -> FloatImage:
        """Light of points, per um2: each spreads over the four pixels around it, those outside are lost.

        Parameters
        ----------
        positions_um
            (P, 2).
        weights
            (P,) light of each point.
        """
        place = positions_um / self.pixel_size_um
        corner = np.floor(place)
        offset = (place - corner).astype(np.float32)
        corner = corner.astype(np.intp)
        inside = (
            (corner >= 0).all(axis=1)
            & (corner[:, 0] < self.height_px - 1)
            & (corner[:, 1] < self.width_px - 1)
        )
        corner, offset, light = corner[inside], offset[inside], weights[inside]
        index = corner[:, 0] * self.width_px + corner[:, 1]
        below, right = offset[:, 0], offset[:, 1]
        above, left = 1 - below, 1 - right
        neighbours = np.concatenate([index, index + 1, index + self.width_px, index + self.width_px + 1])
        shares = np.concatenate([above * left, above * right, below * left, below * right])
        total = np.bincount(
            neighbours, weights=shares * np.tile(light, 4), minlength=self.height_px * self.width_px
        )
        image: FloatImage = (total / self.pixel_size_um**2).astype(np.float32).reshape(self.shape)
        return image

    @staticmethod
    def _blur(image: FloatImage, sigma_px: float) -> FloatImage:
        if sigma_px < 0.2:
            return image
        if sigma_px > _WIDE_BLUR_PX:
            return _blur_reduced(image, sigma_px)
        return np.asarray(
            cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT), dtype=np.float32
        )


def _blur_reduced(image: FloatImage, sigma_px: float) -> FloatImage:
    """Blur on an image so small that the blur is a few pixels wide, and enlarge it."""
    height, width = image.shape
    factor = sigma_px / 3
    small_px = (max(round(width / factor), 1), max(round(height / factor), 1))
    small = cv2.resize(image, small_px, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 3.0, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
