"""Patterns of the nucleus. Each is light of about 1 where bright, times its cell's amplitude, (N,)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.places import in_nuclei

__all__ = [
    "dna",
    "fibrillar_centers",
    "nuclear_bodies",
    "nuclear_membrane",
    "nuclear_speckles",
    "nucleoli",
    "nucleoplasm",
]


def dna(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Mottled in interphase and dark in the nucleoli; dense and bright in mitosis."""
    canvas = anatomy.canvas
    mottled = 0.72 + 0.12 * canvas.noise(rng, 1.5) + 0.08 * canvas.noise(rng, 0.6)
    mottled += 0.06 * canvas.noise(rng, 5.0)
    dark = anatomy.per_pixel(rng.uniform(0.25, 0.85, anatomy.num_cells)) * anatomy.nucleoli
    condensed = np.clip(1.1 + 0.3 * canvas.noise(rng, 0.8), 0.3, 2)
    mitotic = anatomy.per_pixel(anatomy.plan.mitotic) > 0
    density = np.where(mitotic, condensed, np.clip(mottled, 0.15, 1.3) * (1 - dark))
    return canvas.blur(density * (anatomy.nuclei > 0) * anatomy.per_pixel(amplitudes), 0.1)


def nucleoplasm(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """The nucleus as a whole, finely grained, weaker in the nucleoli."""
    grain = 0.75 * np.exp(0.25 * anatomy.canvas.noise(rng, 0.4) + 0.12 * anatomy.canvas.noise(rng, 1.5))
    pattern: FloatImage = grain * (1 - 0.7 * anatomy.nucleoli) * _in_nuclei(anatomy, amplitudes)
    return pattern


def nuclear_membrane(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """A thin rim, and folds of it here and there, over a faint nucleus."""
    canvas = anatomy.canvas
    rim = np.exp(-(((anatomy.nucleus_depth_um - 0.25) / 0.28) ** 2)) * np.exp(0.3 * canvas.noise(rng, 0.8))
    folds = np.exp(-((canvas.noise(rng, 6.0) / 0.035) ** 2)) * (canvas.noise(rng, 5.0) > 0.6)
    pattern: FloatImage = (rim + 0.5 * folds + 0.2 * _grain(anatomy, rng)) * _in_nuclei(anatomy, amplitudes)
    return pattern


def nucleoli(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """The nucleoli, with a faint nucleoplasm."""
    return _grain(anatomy, rng) * (anatomy.nucleoli + 0.1) * _in_nuclei(anatomy, amplitudes)


def fibrillar_centers(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """A few dots within each nucleolus."""
    canvas, outlines = anatomy.canvas, anatomy.layout.nucleoli
    chosen = np.repeat(np.arange(len(outlines.owners)), rng.integers(1, 7, len(outlines.owners)))
    spread_um = 0.55 * outlines.radii_um.mean(axis=1)[chosen, None]
    places = outlines.centers_um[chosen] + spread_um * rng.standard_normal((len(chosen), 2))
    light = 0.55 * rng.lognormal(0, 0.4, len(chosen)) * amplitudes[outlines.owners[chosen] - 1]
    dots = canvas.points(places.astype(np.float32), light.astype(np.float32))
    return canvas.blur(dots, 0.2) + 0.06 * _grain(anatomy, rng) * _in_nuclei(anatomy, amplitudes)


def nuclear_speckles(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Twenty or more ragged patches outside the nucleoli."""
    canvas = anatomy.canvas
    height = canvas.noise(rng, 1.3) + 0.35 * canvas.noise(rng, 0.5) - 1.1
    patches = np.clip(height / 0.9 + 0.5, 0, 1) * np.clip(anatomy.nucleus_depth_um / 0.8, 0, 1)
    outside_nucleoli = (1 - anatomy.nucleoli) * _in_nuclei(anatomy, amplitudes)
    pattern: FloatImage = _grain(anatomy, rng) * (1.2 * patches + 0.12) * outside_nucleoli
    return pattern


def nuclear_bodies(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Two to a dozen round dots anywhere in the nucleus."""
    canvas = anatomy.canvas
    places, owners = in_nuclei(anatomy, rng.integers(2, 13, anatomy.num_cells), rng)
    light = rng.lognormal(-0.2, 0.5, len(owners)) * amplitudes[owners - 1]
    dots = canvas.blur(canvas.points(places, light.astype(np.float32)), rng.uniform(0.18, 0.4))
    return dots + 0.1 * _grain(anatomy, rng) * _in_nuclei(anatomy, amplitudes)


def _grain(anatomy: Anatomy, rng: np.random.Generator) -> FloatImage:
    """Fine unevenness of a stain, around 1."""
    grain: FloatImage = np.exp(0.25 * anatomy.canvas.noise(rng, 0.45))
    return grain


def _in_nuclei(anatomy: Anatomy, amplitudes: NDArray[np.float32]) -> FloatImage:
    """Each cell's amplitude in its nucleus; in mitosis it is spread over the whole cell."""
    mitotic = anatomy.plan.mitotic
    inside = anatomy.per_pixel(amplitudes * ~mitotic) * (anatomy.nuclei > 0)
    spread: FloatImage = inside + np.float32(0.4) * anatomy.per_pixel(amplitudes * mitotic)
    return spread
