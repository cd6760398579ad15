"""Place, size and direction of the labels in a label image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hpa_cells.simulation.real_layout import View

__all__ = ["Shapes", "measure_shapes", "seen_through"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """What is known of N cells or nuclei. Positions are (y, x) in um.

    Attributes
    ----------
    middles_um
        (N, 2) float64, a place deep inside each, not always its centre.
    depths_um
        (N,) float64, distance of that place from the edge.
    radii_um
        (N,) float64, of the circle of the same area.
    axes
        (N,) float64, direction of the length in radians from the x axis.
    elongations
        (N,) float64, length by width of the ellipse with the same second moments.
    """

    middles_um: NDArray[np.float64]
    depths_um: NDArray[np.float64]
    radii_um: NDArray[np.float64]
    axes: NDArray[np.float64]
    elongations: NDArray[np.float64]


def measure_shapes(
    labels: NDArray[np.int32], num_labels: int, pixel_size_um: float, rng: np.random.Generator
) -> Shapes:
    """The shapes of labels 1 to `num_labels`, each of which has a pixel or more."""
    windows = ndimage.find_objects(labels, num_labels)
    rows = [
        _measure(labels[window] == number, (window[0].start, window[1].start), rng)
        for number, window in enumerate(windows, start=1)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Shapes(
        middles_um=table[:, :2] * pixel_size_um,
        depths_um=table[:, 2] * pixel_size_um,
        radii_um=table[:, 3] * pixel_size_um,
        axes=table[:, 4],
        elongations=table[:, 5],
    )


def seen_through(shapes: Shapes, view: View) -> Shapes:
    """The shapes as a view of their layout shows them."""
    lengthwise = view.directions_to_canvas(np.stack([np.sin(shapes.axes), np.cos(shapes.axes)], axis=1))
    return Shapes(
        middles_um=view.to_canvas(shapes.middles_um),
        depths_um=view.scale * shapes.depths_um,
        radii_um=view.scale * shapes.radii_um,
        axes=np.arctan2(lengthwise[:, 0], lengthwise[:, 1]),
        elongations=shapes.elongations,
    )


def _measure(
    mask: NDArray[np.bool_], corner: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float, float, float, float, float]:
    """Middle (two numbers), depth, radius, axis and elongation; lengths in px."""
    framed = np.pad(mask, 1).astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3))[1:-1, 1:-1]
    deep = np.argwhere(depth >= 0.8 * depth.max())
    row, column = deep[rng.integers(len(deep))]
    moments = cv2.moments(framed, binaryImage=True)
    # A pixel is as wide as it is long: its own moment keeps lines of one pixel finite.
    spread = np.array([[moments["mu02"], moments["mu11"]], [moments["mu11"], moments["mu20"]]])
    widths, directions = np.linalg.eigh(spread / moments["m00"] + np.eye(2) / 12)
    return (
        corner[0] + float(row),
        corner[1] + float(column),
        float(depth[row, column]),
        float(np.sqrt(moments["m00"] / np.pi)),
        float(np.arctan2(directions[0, 1], directions[1, 1])),
        float(np.sqrt(widths[1] / widths[0])),
    )
