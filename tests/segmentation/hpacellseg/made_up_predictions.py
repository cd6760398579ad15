"""Predictions by a formula, the same on every machine: cells around jittered points of a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

# The cases whose labels are recorded from the original: with borders so faint that no sum of two overflows.
RECORDED_CASES = (
    {"height": 256, "width": 256, "spacing_px": 120.0, "phase": 0.3, "sureness": 0.49},
    {"height": 256, "width": 256, "spacing_px": 88.0, "phase": 1.7, "sureness": 0.49},
    {"height": 256, "width": 256, "spacing_px": 150.0, "phase": 4.1, "sureness": 0.49},
)


def made_up_predictions(
    height: int, width: int, *, spacing_px: float, phase: float = 0.0, sureness: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(height, width, 3) uint8 each, of nuclei and of cells: 0, borders, interiors.

    Some cells touch, others have background between them; some nuclei touch, some have a hole; borders are
    sure at some places and faint at others. `sureness` is the highest probability of a border.
    """
    across, down = (np.arange(-1, side / spacing_px + 1) + 0.5 for side in (width, height))
    x, y = (grid.ravel() for grid in np.meshgrid(across, down))
    points = np.column_stack(
        [y + 0.22 * np.sin(5.1 * x + 3.3 * y + phase), x + 0.22 * np.sin(2.7 * x - 4.9 * y + 2 * phase)]
    )
    pixels = np.moveaxis(np.indices((height, width)), 0, -1) / spacing_px
    distances, nearest = cKDTree(points).query(pixels, k=2)
    to_middle, to_border = distances[..., 0], (distances[..., 1] - distances[..., 0]) / 2
    kind = nearest[..., 0]
    strength = 0.7 + 0.3 * np.sin(4 * pixels[..., 0] + 6 * pixels[..., 1] + phase)

    cell = _step(0.68 - to_middle)
    cell_border = sureness * strength * np.exp(-((to_border / 0.06) ** 2)) * cell
    nucleus = _step(0.36 + 0.12 * np.sin(2.4 * kind) - to_middle)
    nucleus_border = sureness * np.exp(-((to_border / 0.03) ** 2)) * nucleus
    hole = 0.9 * np.exp(-((to_middle / 0.06) ** 2)) * (kind % 3 == 0)
    return _in_255ths(nucleus_border, nucleus * (1 - nucleus_border) * (1 - hole)), _in_255ths(
        cell_border, cell * (1 - cell_border)
    )


def enlarged(prediction: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """As the published code enlarges what its networks found: each pixel is repeated."""
    return prediction.repeat(factor, axis=0).repeat(factor, axis=1)


def _step(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-value / 0.02))


def _in_255ths(borders: NDArray[np.float64], interiors: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(255 * np.dstack([np.zeros_like(borders), borders, interiors])).astype(np.uint8)
