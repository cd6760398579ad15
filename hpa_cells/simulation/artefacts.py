"""What spoils whole regions of a field: large bright debris, and dead cells that float out of focus."""

from __future__ import annotations

import numpy as np

from hpa_cells.simulation.blobs import Blobs, outline, rasterise
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.types import Channel

__all__ = ["draw_artefacts"]


def draw_artefacts(canvas: Canvas, rng: np.random.Generator) -> dict[Channel, FloatImage]:
    """Light of a few pieces of each, (H, W) in each channel; none of them is a cell of the truth."""
    debris = _scatter(canvas, rng, mean_number=1.5, radii_um=(1.0, 7.0), roughness=0.35)
    dead = _scatter(canvas, rng, mean_number=1.5, radii_um=(4.0, 10.0), roughness=0.08)
    cores = Blobs(centers_um=dead.centers_um, radii_um=np.float32(0.45) * dead.radii_um, owners=dead.owners)
    grain = np.exp(0.5 * canvas.noise(rng, 0.8))
    out_of_focus_um = rng.uniform(1.2, 5.0)
    light = {}
    for channel in Channel:
        sharp = _fill(canvas, debris, rng) * grain
        floating = _fill(canvas, dead, rng)
        if channel == Channel.NUCLEUS:
            # A dead nucleus is small and dense; little of the stain is in the rest of the cell.
            floating = 0.1 * floating + 1.5 * _fill(canvas, cores, rng)
        light[channel] = canvas.blur(sharp, 0.3) + canvas.blur(floating, out_of_focus_um)
    return light


def _scatter(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    mean_number: float,
    radii_um: tuple[float, float],
    roughness: float,
) -> Blobs:
    number = rng.poisson(mean_number)
    return Blobs.of(
        (
            rng.uniform((0, 0), canvas.size_um),
            outline(
                rng,
                radius_um=rng.uniform(*radii_um),
                elongation=rng.uniform(1, 1 + 6 * roughness),
                axis=rng.uniform(0, np.pi),
                roughness=roughness,
            ),
            index + 1,
        )
        for index in range(number)
    )


def _fill(canvas: Canvas, blobs: Blobs, rng: np.random.Generator) -> FloatImage:
    """Each blob as bright as it happens to be, one in three not at all."""
    shines = rng.random(len(blobs.owners)) < 2 / 3
    brightness = np.concatenate([[0], shines * rng.lognormal(-0.5, 0.7, len(blobs.owners))])
    labels, _ = rasterise(canvas, blobs)
    filled: FloatImage = brightness.astype(np.float32)[labels]
    return filled
