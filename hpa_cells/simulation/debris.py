"""What lies on a slide besides cells: dirt, remains of dead cells, lint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.types import Channel

__all__ = ["draw_debris"]

_REAL_FIELD_UM2 = 164.0**2


def draw_debris(
    canvas: Canvas, pieces_per_field: float, rng: np.random.Generator
) -> dict[Channel, FloatImage]:
    """Light of dirt, (H, W) in each channel.

    Parameters
    ----------
    pieces_per_field
        Mean number of pieces on the area of a real field.
    """
    height_um, width_um = canvas.size_um
    grains: dict[Channel, list[NDArray[np.float64]]] = {channel: [np.zeros((0, 3))] for channel in Channel}
    for _ in range(rng.poisson(pieces_per_field * height_um * width_um / _REAL_FIELD_UM2)):
        places = rng.uniform((0, 0), (height_um, width_um)) + _piece(rng)
        brightness = rng.lognormal(-2.6, 0.8) * rng.lognormal(0, 0.6, (len(places), 1))
        glows = rng.random(len(Channel)) < 0.4
        glows[rng.integers(len(Channel))] = True
        for channel in Channel:
            if glows[channel]:
                grains[channel].append(np.hstack([places, brightness]))
    light = {}
    for channel, pieces in grains.items():
        together = np.concatenate(pieces).astype(np.float32)
        light[channel] = canvas.blur(canvas.points(together[:, :2], together[:, 2]), 0.22)
    return light


def _piece(rng: np.random.Generator) -> NDArray[np.float64]:
    """Grains of one piece around its middle, (P, 2) in um: a speck, a cloud of blebs or a thread."""
    kind = rng.choice(["speck", "blebs", "thread"], p=[0.88, 0.07, 0.05])
    if kind == "speck":
        return rng.normal(0, rng.uniform(0.05, 0.5), (rng.integers(1, 8), 2))
    if kind == "thread":
        angles = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, 60))
        return np.cumsum(0.2 * np.stack([np.sin(angles), np.cos(angles)], axis=1), axis=0)
    blebs = rng.normal(0, 1.8, (rng.integers(3, 9), 2))
    chosen = rng.integers(0, len(blebs), 30 * len(blebs))
    sizes_um = rng.uniform(0.2, 0.7, len(blebs))
    places: NDArray[np.float64] = blebs[chosen] + sizes_um[chosen, None] * rng.normal(0, 1, (len(chosen), 2))
    return places
