"""Where the cells of a field are, and the outlines of cells, nuclei and nucleoli, before any pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.blobs import Blobs, outline, radius_at
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.simulation.cell_lines import CellLine
from hpa_cells.simulation.labels import CellState, FieldPlan

__all__ = ["Layout", "lay_out", "nucleus_middles", "paired_nuclei", "place_nucleoli"]

_NUM_CANDIDATES = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Outlines and landmarks of N cells with ids 1 to N.

    Attributes
    ----------
    cells, nuclei, nucleoli
        The outlines. A cell has one nucleus or two; a mitotic one has chromosomes instead, and no nucleoli.
    centers_um, nucleus_middles_um
        (N, 2) float32.
    axes
        (N,) float32, direction of each cell's length in radians from the x axis.
    radii_um
        (N,) float32, radius of the circle of the cell's area, were it free.
    """

    cells: Blobs
    nuclei: Blobs
    nucleoli: Blobs
    centers_um: NDArray[np.float32]
    nucleus_middles_um: NDArray[np.float32]
    axes: NDArray[np.float32]
    radii_um: NDArray[np.float32]


def lay_out(canvas: Canvas, plan: FieldPlan, rng: np.random.Generator) -> Layout:
    """Place the planned cells and draw their outlines."""
    line, num_cells, mitotic = plan.cell_line, len(plan.states), plan.mitotic
    centers = _place_cells(canvas, line, num_cells, rng)
    sizes = rng.lognormal(0.0, 0.2, num_cells)
    axes = rng.uniform(0, np.pi) + rng.normal(0, 0.9, num_cells)
    stretches = 1 + (line.elongation - 1) * rng.lognormal(0.0, 0.4, num_cells)
    # A cell that divides has let go of the glass and is round.
    radii = np.where(mitotic, 0.25 * line.radius_um + 5.0, line.radius_um * sizes)
    shapes = [
        outline(rng, radius_um=radius, elongation=1.08, roughness=0.03)
        if dividing
        else outline(
            rng,
            radius_um=radius,
            elongation=stretch,
            axis=axis,
            roughness=line.roughness,
            num_spikes=rng.poisson(8 * line.roughness),
        )
        for radius, stretch, axis, dividing in zip(radii, stretches, axes, mitotic, strict=True)
    ]
    nuclei = Blobs.of(
        piece
        for index in range(num_cells)
        for piece in _nucleus(plan, index, centers[index], axes[index], stretches[index], sizes[index], rng)
    )
    return Layout(
        cells=Blobs.of(zip(centers, shapes, range(1, num_cells + 1), strict=True)),
        nuclei=nuclei,
        nucleoli=place_nucleoli(plan, nuclei, rng),
        centers_um=centers.astype(np.float32),
        nucleus_middles_um=nucleus_middles(nuclei, num_cells),
        axes=axes.astype(np.float32),
        radii_um=radii.astype(np.float32),
    )


def _place_cells(
    canvas: Canvas, line: CellLine, num_cells: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(N, 2) centres in the field and its margin: each the best of a few candidates, far from the others."""
    margin = line.margin_um
    height, width = canvas.size_um
    waves = rng.uniform(0.02, 0.05, (4, 2)) * rng.choice([-1, 1], (4, 2))
    phases = rng.uniform(0, 2 * np.pi, 4)
    placed = np.zeros((0, 2))
    for _ in range(num_cells):
        candidates = rng.uniform((-margin, -margin), (height + margin, width + margin), (_NUM_CANDIDATES, 2))
        score = 0.8 * line.clumping * np.cos(candidates @ waves.T + phases).mean(axis=1)
        if len(placed):
            gaps = np.linalg.norm(candidates[:, None] - placed[None], axis=2).min(axis=1)
            score += np.minimum(gaps / (0.85 * line.spacing_um), 1.0)
            # Nuclei do not overlap where there is any other room.
            score -= 5 * np.maximum(1 - gaps / (2.8 * line.nucleus_radius_um), 0)
        placed = np.vstack([placed, candidates[score.argmax()]])
    return placed


_Piece = tuple[NDArray[np.float64], NDArray[np.float32], int]


def _nucleus(
    plan: FieldPlan,
    index: int,
    center: NDArray[np.float64],
    axis: float,
    stretch: float,
    size: float,
    rng: np.random.Generator,
) -> list[_Piece]:
    """The pieces of a cell's nucleus: one, two, or its chromosomes."""
    line, state, owner = plan.cell_line, plan.states[index], index + 1
    if plan.mitotic[index]:
        return [(where, shape, owner) for where, shape in _chromosomes(state, center, axis, rng)]
    radius = line.nucleus_radius_um * size**0.6 * rng.lognormal(0, 0.07)
    middle = center + rng.normal(0, 0.06 * line.radius_um, 2)
    if state == CellState.BINUCLEATED:
        return [(where, shape, owner) for where, shape in paired_nuclei(middle, radius, axis, rng)]
    shape = outline(
        rng,
        radius_um=radius,
        elongation=1 + 0.35 * (stretch - 1) + abs(rng.normal(0, 0.15)),
        axis=axis,
        roughness=line.nucleus_roughness * rng.lognormal(0, 0.5),
    )
    return [(middle, shape, owner)]


def paired_nuclei(
    middle_um: NDArray[np.floating], radius_um: float, axis: float, rng: np.random.Generator
) -> list[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Centre and radii of two nuclei side by side, together a little larger than one of `radius_um`."""
    along = np.array([np.sin(axis), np.cos(axis)])
    shapes = [
        outline(rng, radius_um=0.74 * radius_um, elongation=1.15, axis=rng.uniform(0, np.pi), roughness=0.04)
        for _ in range(2)
    ]
    return [
        (middle_um + side * 0.82 * radius_um * along, shape)
        for side, shape in zip((-1, 1), shapes, strict=True)
    ]


def _chromosomes(
    state: int, center: NDArray[np.float64], axis: float, rng: np.random.Generator
) -> list[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Condensed chromosomes: a ragged ball, a plate across the spindle's axis, or two plates apart."""
    if state == CellState.PROMETAPHASE:
        return [(center, outline(rng, radius_um=4.2, elongation=1.3, axis=axis, roughness=0.12))]
    along = np.array([np.sin(axis), np.cos(axis)])
    offsets = (0.0,) if state == CellState.METAPHASE else (-3.6, 3.6)
    across = axis + np.pi / 2
    return [
        (
            center + offset * along,
            outline(rng, radius_um=3.0, elongation=3.4, axis=across, roughness=0.12),
        )
        for offset in offsets
    ]


def place_nucleoli(plan: FieldPlan, nuclei: Blobs, rng: np.random.Generator) -> Blobs:
    """One to four nucleoli in every nucleus that is not in mitosis."""
    pieces = []
    for center, radii, owner in nuclei:
        if plan.mitotic[owner - 1]:
            continue
        for _ in range(rng.integers(1, 5)):
            angle = rng.uniform(0, 2 * np.pi)
            reach = 0.68 * radius_at(radii, angle) * np.sqrt(rng.random())
            shape = outline(
                rng,
                radius_um=float(radii.mean()) * rng.uniform(0.09, 0.2),
                elongation=rng.uniform(1, 1.6),
                axis=rng.uniform(0, np.pi),
                roughness=0.1,
            )
            pieces.append((center + reach * np.array([np.sin(angle), np.cos(angle)]), shape, owner))
    return Blobs.of(pieces)


def nucleus_middles(nuclei: Blobs, num_cells: int) -> NDArray[np.float32]:
    """(N, 2): the middle of each cell's nucleus or nuclei."""
    pieces = np.bincount(nuclei.owners, minlength=num_cells + 1)[1:]
    sums = [
        np.bincount(nuclei.owners, weights=nuclei.centers_um[:, side], minlength=num_cells + 1)[1:]
        for side in (0, 1)
    ]
    middles: NDArray[np.float32] = (np.stack(sums, axis=1) / pieces[:, None]).astype(np.float32)
    return middles
