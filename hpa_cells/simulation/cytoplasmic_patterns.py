"""Protein patterns of the cytoplasm. Each is light of about 1 where bright, times its cell's amplitude, (N,)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.filaments import draw_filaments, grow_filaments
from hpa_cells.simulation.places import in_cytoplasm
from hpa_cells.simulation.references import thickness

__all__ = [
    "actin_filaments",
    "aggresome",
    "centrosome",
    "cytosol",
    "golgi_apparatus",
    "intermediate_filaments",
    "mitochondria",
    "plasma_membrane",
    "vesicles",
]


def cytosol(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Everywhere but in the nucleus, where little is left, with dark holes of organelles."""
    canvas = anatomy.canvas
    grain = np.exp(0.28 * canvas.noise(rng, 0.35) + 0.16 * canvas.noise(rng, 1.6))
    holes = np.clip(1.2 - 0.35 * np.maximum(canvas.noise(rng, 0.9) - 1.0, 0), 0.3, 1)
    nucleus = 1 - rng.uniform(0.55, 0.85) * (anatomy.nuclei > 0)
    pattern: FloatImage = 0.75 * grain * holes * nucleus * thickness(anatomy) * anatomy.per_pixel(amplitudes)
    return pattern


def golgi_apparatus(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Ribbons beside the nucleus, around the centrosome, and vesicles near them; scattered in mitosis."""
    canvas = anatomy.canvas
    shown = np.flatnonzero((amplitudes > 0) & ~anatomy.plan.mitotic).astype(np.int32)
    owners = np.repeat(shown + 1, rng.integers(14, 34, len(shown))).astype(np.int32)
    spread = rng.uniform(1.0, 3.0, anatomy.num_cells)[owners - 1, None]
    starts = anatomy.layout.centrosomes_um[owners - 1] + spread * rng.standard_normal((len(owners), 2))
    ribbons = grow_filaments(
        anatomy, rng, starts_um=starts.astype(np.float32), angles=rng.uniform(0, 2 * np.pi, len(owners)),
        owners=owners, lengths_um=rng.uniform(1.5, 6.0, len(owners)), step_um=0.3, wander=0.6,
    )  # fmt: skip
    drawn = canvas.blur(draw_filaments(anatomy, ribbons, amplitudes[owners - 1], rng, beading=0.8), 0.15)
    dots = _spots(
        anatomy, amplitudes, rng, mean_count=14, sigma_um=0.15, reach_um=5.0, around_centrosome=True
    )
    pattern: FloatImage = 0.3 * drawn + 0.5 * dots + 0.04 * cytosol(anatomy, amplitudes, rng)
    return pattern


def centrosome(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """One or two dots beside the nucleus, over a faint cytosol; in mitosis at both poles."""
    canvas = anatomy.canvas
    along = np.stack([np.sin(anatomy.layout.axes), np.cos(anatomy.layout.axes)], axis=1)
    apart = np.where(anatomy.plan.mitotic, 5.0, rng.uniform(0.2, 0.6, anatomy.num_cells))[:, None]
    middle = np.where(anatomy.plan.mitotic[:, None], anatomy.layout.centers_um, anatomy.layout.centrosomes_um)
    places = np.concatenate([middle - apart * along, middle + apart * along]).astype(np.float32)
    light = (np.tile(amplitudes, 2) * rng.lognormal(-0.3, 0.3, len(places))).astype(np.float32)
    dots = canvas.blur(canvas.points(places, light), 0.24)
    halo = canvas.blur(canvas.points(places, light), 0.8)
    pattern: FloatImage = dots + halo + 0.1 * cytosol(anatomy, amplitudes, rng)
    return pattern


def aggresome(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """One to three dense clumps, the largest near the centrosome."""
    canvas = anatomy.canvas
    counts = rng.integers(1, 4, anatomy.num_cells)
    owners = np.repeat(np.arange(anatomy.num_cells), counts)
    places = anatomy.layout.centrosomes_um[owners] + 0.8 * rng.standard_normal((len(owners), 2))
    grains = np.repeat(np.arange(len(owners)), rng.integers(8, 25, len(owners)))
    size = rng.uniform(0.5, 1.3, len(owners))[grains, None]
    points = (places[grains] + size * rng.standard_normal((len(grains), 2))).astype(np.float32)
    light = (0.5 * amplitudes[owners[grains]] * rng.lognormal(-0.2, 0.4, len(grains))).astype(np.float32)
    clumps = canvas.blur(canvas.points(points, light), 0.28)
    pattern: FloatImage = np.tanh(0.9 * clumps) + 0.12 * cytosol(anatomy, amplitudes, rng)
    return pattern


def intermediate_filaments(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """A wavy net, densest in a cage around the nucleus."""
    counts = np.where((amplitudes > 0) & ~anatomy.plan.mitotic, rng.integers(250, 450, anatomy.num_cells), 0)
    starts, owners = in_cytoplasm(
        anatomy,
        counts,
        rng,
        middles_um=anatomy.layout.nucleus_middles_um,
        reach_um=0.45 * anatomy.layout.radii_um,
    )
    along = (
        anatomy.layout.axes[owners - 1]
        + np.pi * rng.integers(0, 2, len(owners))
        + rng.normal(0, 0.8, len(owners))
    )
    fibres = grow_filaments(
        anatomy, rng, starts_um=starts, angles=along.astype(np.float32), owners=owners,
        lengths_um=rng.uniform(5, 28, len(owners)).astype(np.float32), step_um=0.5, wander=0.45,
    )  # fmt: skip
    bright = (amplitudes[owners - 1] * rng.lognormal(0, 0.5, len(owners))).astype(np.float32)
    drawn = anatomy.canvas.blur(draw_filaments(anatomy, fibres, bright, rng, beading=0.3), 0.12)
    diffuse = 0.4 * thickness(anatomy) * anatomy.per_pixel(amplitudes * anatomy.plan.mitotic)
    pattern: FloatImage = 0.08 * drawn + diffuse + 0.05 * cytosol(anatomy, amplitudes, rng)
    return pattern


def actin_filaments(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Stress fibres, mostly parallel, in a mesh that is bright at the cell's edge."""
    canvas = anatomy.canvas
    counts = np.where((amplitudes > 0) & ~anatomy.plan.mitotic, rng.integers(40, 220, anatomy.num_cells), 0)
    starts, owners = in_cytoplasm(
        anatomy, counts, rng, middles_um=anatomy.layout.centers_um, reach_um=0.8 * anatomy.layout.radii_um
    )
    leaning = rng.normal(0, 0.25, anatomy.num_cells)[owners - 1] + rng.normal(0, 0.15, len(owners))
    angles = anatomy.layout.axes[owners - 1] + np.pi * rng.integers(0, 2, len(owners)) + leaning
    fibres = grow_filaments(
        anatomy, rng, starts_um=starts, angles=angles.astype(np.float32), owners=owners,
        lengths_um=rng.uniform(3, 22, len(owners)).astype(np.float32), step_um=0.8, wander=0.03, enters_nucleus=True,
    )  # fmt: skip
    bright = (amplitudes[owners - 1] * rng.lognormal(-0.4, 0.8, len(owners))).astype(np.float32)
    drawn = draw_filaments(anatomy, fibres, bright, rng, beading=0.4) * np.exp(0.4 * canvas.noise(rng, 3.0))
    ruffles = np.clip(0.5 + 0.7 * canvas.noise(rng, 4.0), 0, 2.5)
    cortex = (np.exp(-anatomy.to_border_um / 0.5) + 0.25 * np.exp(-anatomy.to_border_um / 2.5)) * ruffles
    mesh = (
        0.22
        * np.exp(0.35 * canvas.noise(rng, 0.4) + 0.3 * canvas.noise(rng, 6.0))
        * (1 - 0.3 * (anatomy.nuclei > 0))
    )
    pattern: FloatImage = 0.1 * drawn + (0.55 * cortex + mesh) * anatomy.per_pixel(amplitudes)
    return pattern


def plasma_membrane(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """The cell's edge with ruffles and fine spikes, and its surface seen from above."""
    canvas = anatomy.canvas
    edge = np.exp(-anatomy.to_border_um / 0.45) + 0.3 * np.exp(-anatomy.to_border_um / 2.2)
    uneven = np.exp(0.45 * canvas.noise(rng, 0.6) + 0.4 * canvas.noise(rng, 5.0))
    surface = 0.16 * np.exp(0.5 * canvas.noise(rng, 0.5)) * (1 - 0.3 * (anatomy.nuclei > 0))
    pattern: FloatImage = (edge * uneven + surface) * anatomy.per_pixel(amplitudes)
    return pattern


def mitochondria(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Short worms along the cell, many near the nucleus."""
    counts = np.where(amplitudes > 0, rng.integers(180, 480, anatomy.num_cells), 0)
    starts, owners = in_cytoplasm(
        anatomy, counts, rng, middles_um=anatomy.layout.nucleus_middles_um,
        reach_um=rng.uniform(0.35, 0.6, anatomy.num_cells) * anatomy.layout.radii_um,
    )  # fmt: skip
    outward = starts - anatomy.layout.nucleus_middles_um[owners - 1]
    angles = np.arctan2(outward[:, 0], outward[:, 1]) + rng.normal(0, 0.8, len(owners))
    worms = grow_filaments(
        anatomy, rng, starts_um=starts.astype(np.float32), angles=angles.astype(np.float32), owners=owners,
        lengths_um=rng.uniform(0.8, 5.0, len(owners)).astype(np.float32), step_um=0.4, wander=0.5,
    )  # fmt: skip
    bright = (amplitudes[owners - 1] * rng.lognormal(-0.1, 0.4, len(owners))).astype(np.float32)
    drawn = anatomy.canvas.blur(draw_filaments(anatomy, worms, bright, rng, beading=0.5), 0.16)
    pattern: FloatImage = 0.28 * drawn + 0.06 * cytosol(anatomy, amplitudes, rng)
    return pattern


def vesicles(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Dots all over the cytoplasm: few and large or many and small, near the nucleus or spread."""
    mean_count = rng.choice([25, 60, 150, 300])
    sigma = rng.uniform(0.1, 0.3)
    reach = rng.choice([5.0, 9.0, 14.0])
    drawn = _spots(anatomy, amplitudes, rng, mean_count=mean_count, sigma_um=sigma, reach_um=reach)
    pattern: FloatImage = drawn + 0.1 * cytosol(anatomy, amplitudes, rng)
    return pattern


def _spots(
    anatomy: Anatomy,
    amplitudes: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    mean_count: int,
    sigma_um: float,
    reach_um: float,
    around_centrosome: bool = False,
) -> FloatImage:
    """Dots in the cytoplasm around the nucleus or the centrosome."""
    counts = np.where(amplitudes > 0, rng.poisson(mean_count * rng.lognormal(0, 0.35, anatomy.num_cells)), 0)
    middles = anatomy.layout.centrosomes_um if around_centrosome else anatomy.layout.nucleus_middles_um
    places, owners = in_cytoplasm(
        anatomy, counts, rng, middles_um=middles, reach_um=np.full(anatomy.num_cells, reach_um)
    )
    width = sigma_um**2 + 0.012
    light = 2 * np.pi * width * rng.lognormal(-0.2, 0.5, len(owners)) * amplitudes[owners - 1]
    return anatomy.canvas.blur(anatomy.canvas.points(places, light.astype(np.float32)), sigma_um)
