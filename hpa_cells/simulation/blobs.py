"""Star-shaped blobs: cells, nuclei, chromosomes, nucleoli; they push each other away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.canvas import Canvas, FloatImage

__all__ = ["Blobs", "outline", "radius_at", "rasterise"]

_NUM_ANGLES = 512
_FAR = np.float32(1e6)
_ANGLES = np.linspace(0, 2 * np.pi, _NUM_ANGLES, endpoint=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Blobs:
    """B blobs.

    Attributes
    ----------
    centers_um
        (B, 2) float32.
    radii_um
        (B, _NUM_ANGLES) float32, the distance of the outline from the centre at each angle from the x axis.
    owners
        (B,) int32, the id of the cell that each is or belongs to.
    """

    centers_um: NDArray[np.float32]
    radii_um: NDArray[np.float32]
    owners: NDArray[np.int32]

    @classmethod
    def of(cls, pieces: Iterable[tuple[NDArray[np.floating], NDArray[np.float32], int]]) -> Blobs:
        """Blobs from a centre, radii and an owner each; there may be none."""
        centers, radii, owners = [], [], []
        for center, shape, owner in pieces:
            centers.append(center)
            radii.append(shape)
            owners.append(owner)
        return cls(
            centers_um=np.array(centers, dtype=np.float32).reshape(-1, 2),
            radii_um=np.array(radii, dtype=np.float32).reshape(-1, _NUM_ANGLES),
            owners=np.array(owners, dtype=np.int32),
        )

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], int]]:
        yield from zip(self.centers_um, self.radii_um, map(int, self.owners), strict=True)


def radius_at(radii_um: NDArray[np.float32], angle: float) -> float:
    """Distance of an outline from its centre in the direction `angle`, radians from the x axis."""
    return float(radii_um[int(angle / (2 * np.pi) * _NUM_ANGLES) % _NUM_ANGLES])


def outline(
    rng: np.random.Generator,
    *,
    radius_um: float,
    elongation: float = 1.0,
    axis: float = 0.0,
    roughness: float = 0.0,
    num_spikes: int = 0,
) -> NDArray[np.float32]:
    """(_NUM_ANGLES,) radii of an ellipse with low waves, and with spikes of protrusions.

    Parameters
    ----------
    radius_um
        Radius of the circle of the ellipse's area.
    elongation
        Length by width.
    axis
        Direction of the length, in radians from the x axis.
    roughness
        Deviation of the logarithm of the radius, about.
    num_spikes
        Number of protrusions, most of them lengthwise; their height grows with `roughness`.
    """
    turned = _ANGLES - axis
    radii = radius_um / np.sqrt(np.cos(turned) ** 2 / elongation + np.sin(turned) ** 2 * elongation)
    waves = np.arange(2, 9)
    heights = rng.standard_normal(len(waves)) * (2 / waves) ** 1.6
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    logarithm = roughness * (heights @ np.cos(np.outer(waves, _ANGLES) + phases[:, None]))
    for _ in range(num_spikes):
        width = rng.uniform(8, 80)
        height = roughness * rng.uniform(1.0, 3.2)
        lengthwise = axis + np.pi * rng.integers(0, 2) + rng.normal(0, 0.5)
        place = lengthwise if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
        logarithm += height * np.exp(width * (np.cos(_ANGLES - place) - 1))
    shaped: NDArray[np.float32] = (radii * np.exp(logarithm - logarithm.mean())).astype(np.float32)
    return shaped


def rasterise(
    canvas: Canvas,
    blobs: Blobs,
    *,
    margin_um: float = 0.0,
    warp_um: tuple[FloatImage, FloatImage] | None = None,
) -> tuple[NDArray[np.int32], FloatImage]:
    """Draw blobs that push each other away: where they meet, a pixel belongs to the centre it is closest to.

    Distances count in mean radii of each blob, so that a large one is not cut short by a small one.

    Parameters
    ----------
    blobs
        What to draw.
    margin_um
        By how much their outlines are moved out.
    warp_um
        Two (H, W) displacements, down and right, that make outlines uneven.

    Returns
    -------
    labels
        (H, W) int32, the owner of the blob a pixel belongs to, 0 outside.
    level
        (H, W) float32, distance from a blob's centre by its radius in that direction, 1 at the outline; of the
        blob that the pixel lies deepest in.
    """
    labels = np.zeros(canvas.shape, dtype=np.int32)
    level = np.full(canvas.shape, _FAR, dtype=np.float32)
    closest = np.full(canvas.shape, _FAR, dtype=np.float32)
    slack_um = 0.0 if warp_um is None else max(float(np.abs(each).max()) for each in warp_um)
    for center, free_radii, owner in blobs:
        radii = free_radii + np.float32(margin_um)
        window = _window(canvas, center, reach_um=1.15 * float(radii.max()) + slack_um)
        distance, angle = _polar(canvas, window, center, warp_um)
        bins = (angle * np.float32(_NUM_ANGLES / (2 * np.pi))).astype(np.int32) % _NUM_ANGLES
        depth = distance / radii[bins]
        np.minimum(level[window], depth, out=level[window])
        closeness = distance / radii.mean()
        won = (depth < 1) & (closeness < closest[window])
        closest[window][won] = closeness[won]
        labels[window][won] = owner
    return labels, level


def _window(canvas: Canvas, center: NDArray[np.float32], *, reach_um: float) -> tuple[slice, slice]:
    """The part of the grid within `reach_um` of a centre; it may be empty."""
    starts = np.floor((center - reach_um) / canvas.pixel_size_um).astype(int)
    ends = np.ceil((center + reach_um) / canvas.pixel_size_um).astype(int) + 1
    (top, left), (bottom, right) = (np.clip(each, 0, canvas.shape) for each in (starts, ends))
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _polar(
    canvas: Canvas,
    window: tuple[slice, slice],
    center: NDArray[np.float32],
    warp_um: tuple[FloatImage, FloatImage] | None,
) -> tuple[FloatImage, FloatImage]:
    """Distance in um and angle from a centre, of the pixels in a window."""
    down, across = (
        np.arange(part.start, part.stop, dtype=np.float32) * np.float32(canvas.pixel_size_um) - middle
        for part, middle in zip(window, center, strict=True)
    )
    down, across = (each.astype(np.float32) for each in np.broadcast_arrays(down[:, None], across[None, :]))
    if warp_um is not None:
        down, across = down + warp_um[0][window], across + warp_um[1][window]
    if down.size == 0:
        return down, across
    distance, angle = cv2.cartToPolar(across, down)
    return np.asarray(distance, dtype=np.float32), np.asarray(angle, dtype=np.float32)
