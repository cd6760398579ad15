"""Patterns made of fibres. Each is light of about 1 where bright, times its cell's amplitude, (N,)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.cytoplasmic_patterns import cytosol, spots, thickness
from hpa_cells.simulation.filaments import Filaments, draw_filaments, grow_filaments
from hpa_cells.simulation.labels import CellState
from hpa_cells.simulation.places import Places, in_cytoplasm, scattered_in_cytoplasm

__all__ = [
    "Microtubules",
    "actin_filaments",
    "golgi_apparatus",
    "grow_microtubules",
    "intermediate_filaments",
    "microtubules",
    "mitochondria",
]

# Share of fields focused below the nuclei, where microtubules cross them.
_BASAL_SHARE = 0.3
_NUM_SPINDLE_FIBRES = 90
_NUM_SPINDLE_NODES = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Microtubules:
    """The microtubules of a field: the red channel and a protein that sits on them show the same ones.

    Attributes
    ----------
    network, spindles
        The fibres of cells in interphase, and in mitosis.
    far_light
        Their brightness far from the nucleus, relative to that beside it.
    light_over_nucleus
        How bright the blurred net over the nucleus is, relative to the one around it.
    """

    network: Filaments
    spindles: Filaments
    far_light: float
    light_over_nucleus: float


def grow_microtubules(anatomy: Anatomy, rng: np.random.Generator) -> Microtubules:
    """Grow a network in every cell, a quarter of it from the centrosome, and a spindle where it divides."""
    line, layout = anatomy.plan.cell_line, anatomy.layout
    living = ~anatomy.plan.mitotic
    per_cell = rng.poisson(line.num_microtubules * (layout.radii_um / line.radius_um) ** 1.8) * living
    close = np.full(anatomy.num_cells, 1.5)
    rooted = in_cytoplasm(anatomy, per_cell // 4, rng, middles_um=anatomy.centrosomes_um, reach_um=close)
    near = in_cytoplasm(
        anatomy, per_cell // 2, rng, middles_um=layout.nucleus_middles_um, reach_um=0.5 * layout.radii_um
    )
    per_um2 = 0.25 * line.num_microtubules / (np.pi * line.radius_um**2)
    anywhere = scattered_in_cytoplasm(anatomy, rng, per_um2=per_um2, cells=living)
    starts_um, owners = (np.concatenate(parts) for parts in zip(rooted, near, anywhere, strict=True))
    lengthwise = _lengthwise(anatomy, owners, rng, spread=0.5)
    angles = np.where(rng.random(len(owners)) < 0.5, _outward(anatomy, starts_um, owners, rng), lengthwise)
    angles[: len(rooted[1])] = rng.uniform(0, 2 * np.pi, len(rooted[1]))
    basal = bool(rng.random() < _BASAL_SHARE)
    network = grow_filaments(
        anatomy,
        rng,
        starts_um=starts_um,
        angles=angles,
        owners=owners,
        lengths_um=layout.radii_um[owners - 1] * rng.uniform(0.3, 1.6, len(owners)),
        step_um=0.7,
        wander=0.16,
        enters_nucleus=basal,
    )
    return Microtubules(
        network=network,
        spindles=_grow_spindles(anatomy, rng),
        far_light=rng.uniform(0.4, 1.1),
        light_over_nucleus=0.1 if basal else min(0.5 * rng.lognormal(0, 0.5), 0.8),
    )


def microtubules(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator, *, grown: Microtubules
) -> FloatImage:
    """Network and spindles as a stain shows them: in focus here and there, dense around the nucleus."""
    canvas, network, spindles = anatomy.canvas, grown.network, grown.spindles
    bright = amplitudes[network.owners - 1] * rng.uniform(0.4, 1.6, len(network.owners)).astype(np.float32)
    drawn = draw_filaments(anatomy, network, bright, rng, beading=0.5)
    focus = np.clip(0.75 + 0.4 * canvas.noise(rng, 14.0), 0, 1)
    drawn = focus * drawn + 0.7 * (1 - focus) * canvas.blur(drawn, 0.6)
    far = np.float32(grown.far_light)
    dense = far + (1 - far) * np.exp(anatomy.to_nucleus_um / np.float32(-10))
    overlap = 2 * np.maximum(anatomy.slope - 1, 0) * canvas.blur(drawn, 0.6)
    drawn = np.exp(0.4 * canvas.noise(rng, 0.3)) * dense * (drawn * np.sqrt(anatomy.slope) + overlap)
    # What lies above and below a nucleus is out of focus.
    inside = (anatomy.nuclei > 0).astype(np.float32)
    drawn = drawn - inside * (0.5 * drawn - np.float32(grown.light_over_nucleus) * canvas.blur(drawn, 2.5))
    if len(spindles.owners):
        rays = draw_filaments(anatomy, spindles, 0.5 * amplitudes[spindles.owners - 1], rng, beading=0.8)
        drawn = drawn + canvas.blur(rays, 0.15)
    soluble = np.where(anatomy.plan.mitotic, np.float32(0.15), np.float32(0.03))
    diffuse = anatomy.per_pixel(amplitudes * soluble) * thickness(anatomy)
    pattern: FloatImage = np.float32(0.07) * drawn + diffuse
    return pattern


def intermediate_filaments(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """A wavy net, densest in a cage around the nucleus; dissolved in mitosis."""
    mitotic = anatomy.plan.mitotic
    shown = (amplitudes > 0) & ~mitotic
    near = _around_nucleus(anatomy, rng.integers(200, 350, anatomy.num_cells) * shown, rng, reach=0.4)
    anywhere = scattered_in_cytoplasm(anatomy, rng, per_um2=0.08, cells=shown)
    starts = np.concatenate([near[0], anywhere[0]]), np.concatenate([near[1], anywhere[1]])
    angles = _lengthwise(anatomy, starts[1], rng, spread=0.8)
    drawn = _fibres(
        anatomy, amplitudes, rng, starts=starts, angles=angles, lengths_um=(5, 28), step_um=0.5, wander=0.45
    )
    dissolved = 0.4 * thickness(anatomy) * anatomy.per_pixel(amplitudes * mitotic)
    pattern: FloatImage = (
        0.08 * anatomy.canvas.blur(drawn, 0.12) + dissolved + 0.05 * cytosol(anatomy, amplitudes, rng)
    )
    return pattern


def actin_filaments(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Stress fibres, mostly parallel, in a mesh that is bright at the cell's edge."""
    canvas, layout = anatomy.canvas, anatomy.layout
    counts = rng.integers(40, 220, anatomy.num_cells) * ((amplitudes > 0) & ~anatomy.plan.mitotic)
    starts = in_cytoplasm(anatomy, counts, rng, middles_um=layout.centers_um, reach_um=0.8 * layout.radii_um)
    leaning = rng.normal(0, 0.25, anatomy.num_cells)[starts[1] - 1]
    drawn = _fibres(
        anatomy,
        amplitudes,
        rng,
        starts=starts,
        angles=leaning + _lengthwise(anatomy, starts[1], rng, spread=0.15),
        lengths_um=(3, 22),
        step_um=0.8,
        wander=0.03,
        enters_nucleus=True,
    )
    drawn *= np.exp(0.4 * canvas.noise(rng, 3.0))
    ruffles = np.clip(0.5 + 0.7 * canvas.noise(rng, 4.0), 0, 2.5)
    cortex = (np.exp(-anatomy.to_border_um / 0.5) + 0.25 * np.exp(-anatomy.to_border_um / 2.5)) * ruffles
    mesh = np.exp(0.35 * canvas.noise(rng, 0.4) + 0.3 * canvas.noise(rng, 6.0))
    mesh *= 1 - 0.3 * (anatomy.nuclei > 0).astype(np.float32)
    pattern: FloatImage = 0.1 * drawn + (0.55 * cortex + 0.22 * mesh) * anatomy.per_pixel(amplitudes)
    return pattern


def mitochondria(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Short worms, many of them near the nucleus and pointing away from it."""
    counts = rng.integers(180, 480, anatomy.num_cells) * (amplitudes > 0)
    starts = _around_nucleus(anatomy, counts, rng, reach=rng.uniform(0.35, 0.6))
    drawn = _fibres(
        anatomy,
        amplitudes,
        rng,
        starts=starts,
        angles=_outward(anatomy, *starts, rng),
        lengths_um=(0.8, rng.uniform(2, 6)),
        step_um=0.4,
        wander=0.5,
    )
    pattern: FloatImage = 0.23 * anatomy.canvas.blur(drawn, 0.15) + 0.06 * cytosol(anatomy, amplitudes, rng)
    return pattern


def golgi_apparatus(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """Ribbons around the centrosome, beside the nucleus, and vesicles near them; only vesicles in mitosis."""
    canvas, middles = anatomy.canvas, anatomy.centrosomes_um
    counts = rng.integers(25, 60, anatomy.num_cells) * ((amplitudes > 0) & ~anatomy.plan.mitotic)
    starts = in_cytoplasm(
        anatomy, counts, rng, middles_um=middles, reach_um=rng.uniform(1.2, 3.2, anatomy.num_cells)
    )
    angles = rng.uniform(0, 2 * np.pi, len(starts[1]))
    ribbons = _fibres(
        anatomy, amplitudes, rng, starts=starts, angles=angles, lengths_um=(0.6, 3.5), step_um=0.3, wander=1.1
    )
    dots = spots(anatomy, amplitudes, rng, mean_count=14, sigma_um=0.15, middles_um=middles, reach_um=5.0)
    pattern: FloatImage = (
        0.26 * canvas.blur(ribbons, 0.13) + 0.5 * dots + 0.04 * cytosol(anatomy, amplitudes, rng)
    )
    return pattern


def _fibres(
    anatomy: Anatomy,
    amplitudes: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    starts: Places,
    angles: NDArray[np.floating],
    lengths_um: tuple[float, float],
    step_um: float,
    wander: float,
    enters_nucleus: bool = False,
) -> FloatImage:
    """Fibres of random lengths and brightness, drawn."""
    starts_um, owners = starts
    fibres = grow_filaments(
        anatomy,
        rng,
        starts_um=starts_um,
        angles=angles,
        owners=owners,
        lengths_um=rng.uniform(*lengths_um, len(owners)),
        step_um=step_um,
        wander=wander,
        enters_nucleus=enters_nucleus,
    )
    bright = (amplitudes[owners - 1] * rng.lognormal(0, 0.5, len(owners))).astype(np.float32)
    return draw_filaments(anatomy, fibres, bright, rng, beading=0.4)


def _around_nucleus(
    anatomy: Anatomy, counts: NDArray[np.integer], rng: np.random.Generator, *, reach: float
) -> Places:
    """Places at about `reach` radii of the cell from the middle of its nucleus."""
    layout = anatomy.layout
    return in_cytoplasm(
        anatomy, counts, rng, middles_um=layout.nucleus_middles_um, reach_um=reach * layout.radii_um
    )


def _outward(
    anatomy: Anatomy, places_um: NDArray[np.float32], owners: NDArray[np.int32], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Directions away from the nucleus, give or take a radian."""
    offset = places_um - anatomy.layout.nucleus_middles_um[owners - 1]
    outward: NDArray[np.float64] = np.arctan2(offset[:, 0], offset[:, 1]) + rng.normal(0, 0.9, len(owners))
    return outward


def _lengthwise(
    anatomy: Anatomy, owners: NDArray[np.int32], rng: np.random.Generator, *, spread: float
) -> NDArray[np.float64]:
    """Directions along the cell, either way, give or take `spread` radians."""
    either_way = np.pi * rng.integers(0, 2, len(owners))
    lengthwise: NDArray[np.float64] = (
        anatomy.layout.axes[owners - 1] + either_way + rng.normal(0, spread, len(owners))
    )
    return lengthwise


def _grow_spindles(anatomy: Anatomy, rng: np.random.Generator) -> Filaments:
    """Fibres from two poles towards the chromosomes between them, bowed out on the way."""
    along_path = np.linspace(0, 1, _NUM_SPINDLE_NODES)
    nodes, owners = [np.zeros((0, _NUM_SPINDLE_NODES, 2))], [np.zeros(0)]
    for index in np.flatnonzero(anatomy.plan.mitotic):
        axis, center = anatomy.layout.axes[index], anatomy.layout.centers_um[index]
        along, across = np.array([np.sin(axis), np.cos(axis)]), np.array([np.cos(axis), -np.sin(axis)])
        half_um = 6.2 if anatomy.plan.states[index] == CellState.ANAPHASE else 5.0
        for side in (-1, 1):
            reach = rng.uniform(0.5, 1.05, (_NUM_SPINDLE_FIBRES, 1))
            forward = side * half_um * (1 - along_path * reach)
            sideways = rng.normal(0, 1.7, (_NUM_SPINDLE_FIBRES, 1)) * np.sin(0.46 * np.pi * along_path)
            nodes.append(center + forward[..., None] * along + sideways[..., None] * across)
            owners.append(np.full(_NUM_SPINDLE_FIBRES, index + 1))
    nodes_um = np.concatenate(nodes).astype(np.float32)
    return Filaments(
        nodes_um=nodes_um,
        alive=np.ones(nodes_um.shape[:2], dtype=bool),
        owners=np.concatenate(owners).astype(np.int32),
    )
