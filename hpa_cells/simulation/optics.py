"""From light in the sample to the numbers in the files: microscope, detector and scaling.

References
----------
.. [1] Anscombe, Biometrika 35:246 (1948); with read noise: Murtagh, Starck and Bijaoui, Astronomy and
   Astrophysics Supplement 112:179 (1995).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.recipe import Recipe
from hpa_cells.types import NUM_CHANNELS, Channel

__all__ = ["detect", "expose"]

# Deviation of the point spread function in um: 0.21 wavelengths / NA 1.4, and a third more for real samples.
_SPREAD_UM = {Channel.MICROTUBULES: 0.12, Channel.PROTEIN: 0.11, Channel.NUCLEUS: 0.1, Channel.ER: 0.12}
# Where a channel's light also shows: the dyes next to it in the spectrum.
_LEAKS = (
    (Channel.NUCLEUS, Channel.PROTEIN),
    (Channel.PROTEIN, Channel.MICROTUBULES),
    (Channel.ER, Channel.MICROTUBULES),
)
# Width of what is out of focus.
_HAZE_UM = 2.5
_REFERENCE_PIXEL_UM = 0.08


def expose(
    canvas: Canvas, light: dict[Channel, FloatImage], recipe: Recipe, rng: np.random.Generator
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Take the picture.

    Parameters
    ----------
    light
        (H, W) light of each channel, about 1 where bright; a channel that is not in it stays black.

    Returns
    -------
    (4, H, W) uint8 or uint16, clipped at both ends like the real fields.
    """
    pixel_type = np.uint8 if recipe.bit_depth == 8 else np.uint16
    image = np.zeros((NUM_CHANNELS, *canvas.shape), dtype=pixel_type)
    for channel, detected in detect(canvas, light, recipe, rng).items():
        image[channel] = np.rint(np.clip(detected, 0, 1) * np.iinfo(pixel_type).max)
    return image


def detect(
    canvas: Canvas, light: dict[Channel, FloatImage], recipe: Recipe, rng: np.random.Generator
) -> dict[Channel, FloatImage]:
    """What the detector counts in each channel, (H, W) float32: 1 is full scale, but nothing is clipped yet."""
    leaked = dict(light)
    for source, target in _LEAKS:
        share = np.float32(recipe.bleed_through * rng.uniform(0.3, 1.7))
        if source in light and target in light:
            leaked[target] = leaked[target] + share * light[source]
    lamp = _lamp(canvas, recipe.uneven_light, rng)
    detected = {}
    for channel in sorted(light):
        sharp = canvas.blur(leaked[channel], _SPREAD_UM[channel] * recipe.blur)
        haze = canvas.blur(sharp, _HAZE_UM)
        seen = np.float32(1 - recipe.haze) * sharp + np.float32(recipe.haze) * haze
        detected[channel] = _count(seen * lamp, recipe, rng, canvas.pixel_size_um)
    return detected


def _lamp(canvas: Canvas, unevenness: float, rng: np.random.Generator) -> FloatImage:
    """(H, W) from 1 - unevenness to 1: brightest somewhere near the middle."""
    down, across = rng.uniform(-0.4, 0.4, 2)
    rows = np.linspace(-1 - down, 1 - down, canvas.height_px, dtype=np.float32)[:, None]
    columns = np.linspace(-1 - across, 1 - across, canvas.width_px, dtype=np.float32)[None, :]
    distance = rows**2 + columns**2
    lamp: FloatImage = 1 - np.float32(unevenness) * distance / distance.max()
    return lamp


def _count(image: FloatImage, recipe: Recipe, rng: np.random.Generator, pixel_size_um: float) -> FloatImage:
    """Photon and read noise, less the offset that the microscope subtracts."""
    photons = np.float32(recipe.photons * rng.lognormal(0, 0.4) * (pixel_size_um / _REFERENCE_PIXEL_UM) ** 2)
    # A Gaussian added to the square root is Poisson noise and that of reading, to a few percent [1]_.
    steady = np.float32(0.375) + (photons * np.float32(recipe.read_noise)) ** 2
    counted = rng.standard_normal(image.shape, dtype=np.float32)
    # In place: this is most of what taking a picture costs.
    counted *= np.float32(0.5)
    counted += np.sqrt(photons * image + (photons * np.float32(recipe.background) + steady))
    counted *= counted
    counted -= steady + photons * np.float32(1.5 * (recipe.background + recipe.read_noise))
    counted /= photons
    return counted
