"""Protein patterns of the nucleus. Each is light of about 1 where bright, times its cell's amplitude, (N,)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.places import in_nuclei

__all__ = [
    "fibrillar_centers",
    "nuclear_bodies",
    "nuclear_membrane",
    "nuclear_speckles",
    "nucleoli",
    "nucleoplasm",
]


def nucleoplasm(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """The nucleus as a whole, finely grained, weaker in the nucleoli."""
    grain = 0.75 * np.exp(0.25 * anatomy.canvas.noise(rng, 0.4) + 0.12 * anatomy.canvas.noise(rng, 1.5))
    pattern: FloatImage = grain * (1 - 0.7 * anatomy.nucleoli) * _in_nuclei(anatomy, amplitudes)
    return pattern


def nuclear_membrane(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """A thin rim with folds, over a faint nucleus."""
    canvas = anatomy.canvas
    rim = np.exp(-(((anatomy.nucleus_depth_um - 0.25) / 0.28) ** 2)) * np.exp(0.3 * canvas.noise(rng, 0.8))
    folds = np.exp(-((canvas.noise(rng, 6.0) / 0.035) ** 2)) * (canvas.noise(rng, 5.0) > 0.6)
    inside = 0.2 * np.exp(0.25 * canvas.noise(rng, 0.5))
    pattern: FloatImage = (rim + 0.5 * folds + inside) * _in_nuclei(anatomy, amplitudes)
    return pattern


def nucleoli(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """The nucleoli, with a faint nucleoplasm."""
    grain = np.exp(0.25 * anatomy.canvas.noise(rng, 0.5))
    pattern: FloatImage = grain * (anatomy.nucleoli + 0.1) * _in_nuclei(anatomy, amplitudes)
    return pattern


def fibrillar_centers(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """A few dots within each nucleolus."""
    canvas = anatomy.canvas
    counts = rng.integers(1, 7, len(anatomy.layout.nucleoli.owners))
    chosen = np.repeat(np.arange(len(counts)), counts)
    spread = 0.55 * anatomy.layout.nucleoli.radii_um.mean(axis=1)[chosen, None]
    places = anatomy.layout.nucleoli.centers_um[chosen] + spread * rng.standard_normal((len(chosen), 2))
    owners = anatomy.layout.nucleoli.owners[chosen]
    light = 0.55 * rng.lognormal(0, 0.4, len(chosen)) * amplitudes[owners - 1]
    dots = canvas.blur(canvas.points(places.astype(np.float32), light.astype(np.float32)), 0.2)
    faint = 0.06 * np.exp(0.25 * canvas.noise(rng, 0.5)) * _in_nuclei(anatomy, amplitudes)
    pattern: FloatImage = dots + faint
    return pattern


def nuclear_speckles(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Twenty or more ragged patches outside the nucleoli."""
    canvas = anatomy.canvas
    patches = _step(canvas.noise(rng, 1.3) + 0.35 * canvas.noise(rng, 0.5) - 1.1, 0.9)
    grain = np.exp(0.2 * canvas.noise(rng, 0.4))
    deep = np.clip(anatomy.nucleus_depth_um / 0.8, 0, 1)
    pattern: FloatImage = (
        grain * (1.2 * patches * deep + 0.12) * (1 - anatomy.nucleoli) * _in_nuclei(anatomy, amplitudes)
    )
    return pattern


def nuclear_bodies(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Two to a dozen round dots anywhere in the nucleus."""
    canvas = anatomy.canvas
    counts = rng.integers(2, 13, anatomy.num_cells)
    places, owners = in_nuclei(anatomy, counts, rng)
    light = rng.lognormal(-0.2, 0.5, len(owners)) * amplitudes[owners - 1]
    dots = canvas.blur(canvas.points(places, light.astype(np.float32)), rng.uniform(0.18, 0.4))
    faint = 0.1 * np.exp(0.25 * canvas.noise(rng, 0.5)) * _in_nuclei(anatomy, amplitudes)
    pattern: FloatImage = dots + faint
    return pattern


def _in_nuclei(anatomy: Anatomy, amplitudes: NDArray[np.float32]) -> FloatImage:
    """Each cell's amplitude in its nucleus; in mitosis it spreads over the whole cell."""
    mitotic = anatomy.per_pixel(amplitudes * anatomy.plan.mitotic)
    inside = anatomy.per_pixel(amplitudes * ~anatomy.plan.mitotic) * (anatomy.nuclei > 0)
    spread: FloatImage = inside + 0.4 * mitotic
    return spread


def _step(values: FloatImage, width: float) -> FloatImage:
    """From 0 to 1 where `values` rise through 0, over about `width`."""
    stepped: FloatImage = np.clip(values / width + 0.5, 0, 1)
    return stepped
