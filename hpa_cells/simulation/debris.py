"""What lies on a slide besides cells: dirt, remains of dead cells, lint."""

from __future__ import annotations

import numpy as np

from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.types import NUM_CHANNELS

__all__ = ["draw_debris"]

_REAL_FIELD_UM2 = 164.0**2


def draw_debris(canvas: Canvas, pieces_per_field: float, rng: np.random.Generator) -> list[FloatImage]:
    """Light of dirt in each of the four channels, (H, W) each.

    Parameters
    ----------
    pieces_per_field
        Mean number of pieces on the area of a real field.
    """
    height, width = canvas.size_um
    light: list[FloatImage] = [np.zeros(canvas.shape, dtype=np.float32) for _ in range(NUM_CHANNELS)]
    for _ in range(rng.poisson(pieces_per_field * height * width / _REAL_FIELD_UM2)):
        middle = rng.uniform((0, 0), (height, width))
        grains = middle + _piece(rng)
        brightness = rng.lognormal(-0.8, 0.8)
        channels = rng.random(NUM_CHANNELS) < 0.4
        channels[rng.integers(NUM_CHANNELS)] = True
        for channel in np.flatnonzero(channels):
            weights = brightness * rng.lognormal(-1.8, 0.6, len(grains))
            light[channel] += canvas.points(grains.astype(np.float32), weights.astype(np.float32))
    return [canvas.blur(each, 0.22) for each in light]


def _piece(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Grains of one piece around its middle, (P, 2) in um: a speck, a cloud of blebs or a thread."""
    kind = rng.choice(["speck", "blebs", "thread"], p=[0.88, 0.07, 0.05])
    if kind == "speck":
        return rng.normal(0, rng.uniform(0.05, 0.5), (rng.integers(1, 8), 2))
    if kind == "thread":
        turns = np.cumsum(rng.normal(0, 0.12, 60)) + rng.uniform(0, 2 * np.pi)
        return np.cumsum(0.2 * np.stack([np.sin(turns), np.cos(turns)], axis=1), axis=0)
    blebs = rng.normal(0, 1.8, (rng.integers(3, 9), 2))
    owners = rng.integers(0, len(blebs), 30 * len(blebs))
    sizes = rng.uniform(0.2, 0.7, len(blebs))
    spread: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = blebs[owners] + sizes[
        owners, None
    ] * rng.normal(0, 1, (len(owners), 2))
    return spread
