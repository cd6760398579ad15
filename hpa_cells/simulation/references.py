"""The three reference channels, which are stained in every cell: microtubules, nucleus and ER."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.filaments import Filaments, draw_filaments, grow_filaments
from hpa_cells.simulation.labels import CellState
from hpa_cells.simulation.places import in_cytoplasm, scattered_in_cytoplasm

__all__ = [
    "er_pattern",
    "grow_microtubules",
    "grow_spindles",
    "microtubule_pattern",
    "nucleus_channel",
    "thickness",
]

_NUM_SPINDLE_FIBRES = 90
# Share of fields focused below the nuclei, where microtubules cross them.
_BASAL_SHARE = 0.2


def thickness(anatomy: Anatomy) -> FloatImage:
    """(H, W) from 0 to 1: how much of the focal plane a cell fills, thin at its edge."""
    fall = 0.45 + 0.55 * np.exp(-anatomy.to_nucleus_um / 9.0)
    thick: FloatImage = (anatomy.slope * fall * (anatomy.cells > 0)).astype(np.float32)
    return thick


def grow_microtubules(anatomy: Anatomy, rng: np.random.Generator) -> Filaments:
    """Microtubules of all cells: most from the centrosome, the others from anywhere near the nucleus."""
    line = anatomy.plan.cell_line
    living = ~anatomy.plan.mitotic
    counts = np.where(
        living, rng.poisson(line.num_microtubules * (anatomy.layout.radii_um / line.radius_um) ** 1.8), 0
    )
    rooted = in_cytoplasm(
        anatomy,
        counts // 4,
        rng,
        middles_um=anatomy.layout.centrosomes_um,
        reach_um=np.full(anatomy.num_cells, 1.5),
    )
    near = in_cytoplasm(
        anatomy,
        counts // 2,
        rng,
        middles_um=anatomy.layout.nucleus_middles_um,
        reach_um=0.5 * anatomy.layout.radii_um,
    )
    anywhere = scattered_in_cytoplasm(
        anatomy, rng, per_um2=0.25 * line.num_microtubules / (np.pi * line.radius_um**2), cells=living
    )
    starts, owners = (np.concatenate(parts) for parts in zip(rooted, near, anywhere, strict=True))
    total = len(owners)
    outward = starts - anatomy.layout.nucleus_middles_um[owners - 1]
    radial = np.arctan2(outward[:, 0], outward[:, 1]) + rng.normal(0, 1.0, total)
    along = anatomy.layout.axes[owners - 1] + np.pi * rng.integers(0, 2, total) + rng.normal(0, 0.5, total)
    angles = np.where(rng.random(total) < 0.5, radial, along).astype(np.float32)
    angles[: len(rooted[1])] = rng.uniform(0, 2 * np.pi, len(rooted[1]))
    lengths = (anatomy.layout.radii_um[owners - 1] * rng.uniform(0.3, 1.6, total)).astype(np.float32)
    return grow_filaments(
        anatomy,
        rng,
        starts_um=starts,
        angles=angles,
        owners=owners,
        lengths_um=lengths,
        step_um=0.7,
        wander=0.16,
        enters_nucleus=bool(rng.random() < _BASAL_SHARE),
    )


def grow_spindles(anatomy: Anatomy, rng: np.random.Generator) -> Filaments:
    """Spindle fibres of the cells in mitosis: from two poles towards the chromosomes between them."""
    nodes, owners = [], []
    for index in np.flatnonzero(anatomy.plan.mitotic):
        axis, center = anatomy.layout.axes[index], anatomy.layout.centers_um[index]
        along = np.array([np.sin(axis), np.cos(axis)])
        across = np.array([np.cos(axis), -np.sin(axis)])
        half = 6.2 if anatomy.plan.states[index] == CellState.ANAPHASE else 5.0
        bow = np.sin(np.linspace(0, 0.92 * np.pi / 2, 14))
        for side in (-1, 1):
            offsets = rng.normal(0, 1.7, _NUM_SPINDLE_FIBRES)[:, None]
            reaches = rng.uniform(0.5, 1.05, (_NUM_SPINDLE_FIBRES, 1))
            advance = half * (1 - np.linspace(0, 1, 14) * reaches)
            paths = center + side * advance[..., None] * along + (offsets * bow)[..., None] * across
            nodes.append(paths)
            owners.append(np.full(_NUM_SPINDLE_FIBRES, index + 1))
    return Filaments(
        nodes_um=np.concatenate([np.zeros((0, 14, 2)), *nodes]).astype(np.float32),
        alive=np.ones((_NUM_SPINDLE_FIBRES * len(nodes), 14), dtype=bool),
        owners=np.concatenate([np.zeros(0), *owners]).astype(np.int32),
    )


def microtubule_pattern(
    anatomy: Anatomy,
    filaments: tuple[Filaments, Filaments],
    amplitudes: NDArray[np.float32],
    rng: np.random.Generator,
) -> FloatImage:
    """Microtubules and spindles as a stain shows them; `amplitudes` (N,) a cell."""
    interphase, spindles = filaments
    each = amplitudes.astype(np.float32)
    canvas = anatomy.canvas
    bright = each[interphase.owners - 1] * rng.uniform(0.4, 1.6, len(interphase.owners)).astype(np.float32)
    drawn = draw_filaments(anatomy, interphase, bright, rng, beading=0.5)
    focus = np.clip(0.75 + 0.4 * canvas.noise(rng, 14.0), 0, 1)
    drawn = focus * drawn + 0.7 * (1 - focus) * canvas.blur(drawn, 0.6)
    drawn *= np.exp(0.35 * canvas.noise(rng, 0.3)) * (0.45 + 0.55 * np.exp(-anatomy.to_nucleus_um / 10))
    drawn += canvas.blur(
        draw_filaments(anatomy, spindles, 0.5 * each[spindles.owners - 1], rng, beading=0.8), 0.15
    )
    diffuse = anatomy.per_pixel(each * np.where(anatomy.plan.mitotic, 0.25, 0.05)) * thickness(anatomy)
    pattern: FloatImage = 0.07 * drawn + 0.6 * diffuse
    return pattern


def er_pattern(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """The ER: a net of tubules and sheets, dense around the nucleus, thinning out towards the edge."""
    canvas = anatomy.canvas
    net = 0.3 + 0.7 * np.exp(-((canvas.noise(rng, 0.75) / 0.8) ** 2))
    grain = np.exp(0.45 * canvas.noise(rng, 0.28))
    patches = np.exp(0.35 * canvas.noise(rng, 3.0))
    fall = np.exp(-anatomy.to_nucleus_um / 7.0) + 0.22
    outside = (anatomy.nuclei == 0) + 0.18 * (anatomy.nuclei > 0)
    pattern: FloatImage = (
        anatomy.per_pixel(amplitudes) * net * grain * patches * fall * outside * anatomy.slope
    ).astype(np.float32)
    return pattern


def nucleus_channel(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """DNA: mottled in interphase and dark in the nucleoli, dense and bright in mitosis."""
    canvas = anatomy.canvas
    mottled = (
        0.72 + 0.12 * canvas.noise(rng, 1.5) + 0.08 * canvas.noise(rng, 0.6) + 0.06 * canvas.noise(rng, 5.0)
    )
    holes = anatomy.per_pixel(rng.uniform(0.25, 0.85, anatomy.num_cells))
    interphase = np.clip(mottled, 0.15, 1.3) * (1 - holes * anatomy.nucleoli)
    condensed = np.clip(1.1 + 0.3 * canvas.noise(rng, 0.8), 0.3, 2)
    mitotic = anatomy.per_pixel(anatomy.plan.mitotic) > 0
    dna = np.where(mitotic, condensed, interphase) * (anatomy.nuclei > 0)
    pattern: FloatImage = canvas.blur((anatomy.per_pixel(amplitudes) * dna).astype(np.float32), 0.1)
    return pattern
