"""The cells of a field as maps: where each cell, its nucleus and its landmarks are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.blobs import NUM_ANGLES, Blobs, outline, rasterise
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.cell_lines import CellLine
from hpa_cells.simulation.labels import CellState, FieldPlan

__all__ = ["Anatomy", "build_anatomy"]

_NUM_CANDIDATES = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Maps and landmarks of a field. N cells with ids 1 to N; maps are (H, W).

    Attributes
    ----------
    canvas
        The grid.
    plan
        What its cells show.
    cells, nuclei
        int32 ids; the nucleus of a mitotic cell is its chromosomes.
    to_border_um
        float32, inside cells: distance to the cell's edge.
    to_nucleus_um
        float32, distance to the nearest nucleus; 0 inside.
    nucleus_depth_um
        float32, inside nuclei: distance to the envelope.
    nucleoli
        float32 from 0 to 1, soft-edged.
    nucleolus_centers_um, nucleolus_radii_um, nucleolus_owners
        (M, 2) float32, (M,) float32, (M,) int32.
    centers_um, nucleus_middles_um, centrosomes_um
        (N, 2) float32.
    axes
        (N,) float32, direction of each cell's length in radians from the x axis.
    radii_um
        (N,) float32, radius of the circle of the cell's area.
    """

    canvas: Canvas
    plan: FieldPlan
    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]
    to_border_um: FloatImage
    to_nucleus_um: FloatImage
    nucleus_depth_um: FloatImage
    nucleoli: FloatImage
    nucleolus_centers_um: NDArray[np.float32]
    nucleolus_radii_um: NDArray[np.float32]
    nucleolus_owners: NDArray[np.int32]
    centers_um: NDArray[np.float32]
    nucleus_middles_um: NDArray[np.float32]
    centrosomes_um: NDArray[np.float32]
    axes: NDArray[np.float32]
    radii_um: NDArray[np.float32]

    @property
    def num_cells(self) -> int:
        """N."""
        return len(self.plan.states)

    @property
    def mitotic(self) -> NDArray[np.bool_]:
        """(N,) bool."""
        mitotic: NDArray[np.bool_] = self.plan.states >= CellState.PROMETAPHASE
        return mitotic

    def per_pixel(self, values: NDArray[np.floating] | NDArray[np.bool_]) -> FloatImage:
        """(H, W) float32: the (N,) value of the cell that each pixel is in, 0 outside."""
        lookup = np.concatenate([[0], values]).astype(np.float32)
        return lookup[self.cells]


def build_anatomy(canvas: Canvas, plan: FieldPlan, rng: np.random.Generator) -> Anatomy:
    """Place the planned cells and give each its outline, nucleus, nucleoli and centrosome."""
    line, num_cells = plan.cell_line, len(plan.states)
    ids = np.arange(1, num_cells + 1, dtype=np.int32)
    centers = _place_cells(canvas, line, num_cells, rng)
    sizes = rng.lognormal(0.0, 0.2, num_cells)
    axes = (rng.uniform(0, np.pi) + rng.normal(0, 0.9, num_cells)).astype(np.float32)
    stretch = 1 + (line.elongation - 1) * rng.lognormal(0.0, 0.4, num_cells)
    mitotic = plan.states >= CellState.PROMETAPHASE
    radii = np.where(mitotic, 0.25 * line.radius_um + 5.0, line.radius_um * sizes).astype(np.float32)
    outlines = [
        outline(rng, radius_um=radius, elongation=1.08, roughness=0.03)
        if dividing
        else outline(
            rng, radius_um=radius, elongation=stretched, axis=axis, roughness=line.roughness,
            num_spikes=rng.poisson(8 * line.roughness),
        )
        for radius, stretched, axis, dividing in zip(radii, stretch, axes, mitotic, strict=True)
    ]  # fmt: skip
    coarse, fine = ((canvas.noise(rng, scale), canvas.noise(rng, scale)) for scale in (9.0, 2.2))
    warp = tuple(0.05 * line.radius_um * wide + 0.16 * narrow for wide, narrow in zip(coarse, fine, strict=True))
    cells, _ = rasterise(
        canvas, Blobs(centers_um=centers, radii_um=np.stack(outlines), owners=ids), (warp[0], warp[1])
    )
    nucleus_blobs = _nucleus_blobs(plan, centers, axes, stretch, sizes, rng)
    nuclei, nucleus_level = rasterise(canvas, nucleus_blobs)
    to_border = _distance_to_border(canvas, cells)
    nuclei[(nuclei != cells) | (to_border < 0.6)] = 0
    nucleolus_blobs = _nucleolus_blobs(plan, nucleus_blobs, rng)
    _, level = rasterise(canvas, nucleolus_blobs)
    nucleoli = np.clip((1.15 - level) / 0.3, 0, 1) * (nuclei > 0)
    return Anatomy(
        canvas=canvas,
        plan=plan,
        cells=cells,
        nuclei=nuclei,
        to_border_um=to_border,
        to_nucleus_um=_distance(canvas, nuclei == 0),
        nucleus_depth_um=_distance(canvas, nuclei > 0),
        nucleoli=nucleoli.astype(np.float32),
        nucleolus_centers_um=nucleolus_blobs.centers_um,
        nucleolus_radii_um=nucleolus_blobs.radii_um.mean(axis=1),
        nucleolus_owners=nucleolus_blobs.owners,
        centers_um=centers,
        nucleus_middles_um=_middles(nucleus_blobs, num_cells),
        centrosomes_um=_centrosomes(line, nucleus_blobs, num_cells, rng),
        axes=axes,
        radii_um=radii,
    )


def _place_cells(
    canvas: Canvas, line: CellLine, num_cells: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(N, 2) centres in the field and a margin around it: each the best of a few candidates, far from the others."""
    margin = 0.5 * line.spacing_um
    height, width = canvas.size_um
    waves = rng.uniform(0.02, 0.05, (4, 2)) * rng.choice([-1, 1], (4, 2))
    phases = rng.uniform(0, 2 * np.pi, 4)
    placed = np.zeros((0, 2))
    for _ in range(num_cells):
        candidates = rng.uniform((-margin, -margin), (height + margin, width + margin), (_NUM_CANDIDATES, 2))
        crowd = np.cos(candidates @ waves.T + phases).mean(axis=1)
        score = 0.8 * line.clumping * crowd
        if len(placed):
            gaps = np.linalg.norm(candidates[:, None] - placed[None], axis=2).min(axis=1)
            score += np.minimum(gaps / (0.85 * line.spacing_um), 1.0)
            score -= 5 * np.maximum(1 - gaps / (2.3 * line.nucleus_radius_um), 0)
        placed = np.vstack([placed, candidates[score.argmax()]])
    return placed.astype(np.float32)


def _nucleus_blobs(
    plan: FieldPlan,
    centers: NDArray[np.float32],
    axes: NDArray[np.float32],
    stretch: NDArray[np.float64],
    sizes: NDArray[np.float64],
    rng: np.random.Generator,
) -> Blobs:
    line = plan.cell_line
    pieces: list[tuple[NDArray[np.float64], NDArray[np.float32], int]] = []
    for index, state in enumerate(plan.states):
        axis, radius = float(axes[index]), line.nucleus_radius_um * sizes[index] ** 0.6 * rng.lognormal(0, 0.07)
        along = np.array([np.sin(axis), np.cos(axis)])
        center = centers[index] + rng.normal(0, 0.09 * line.radius_um, 2)
        if state == CellState.INTERPHASE:
            lobed = line.nucleus_roughness * rng.lognormal(0, 0.5)
            shape = outline(
                rng, radius_um=radius, elongation=1 + 0.35 * (stretch[index] - 1) + abs(rng.normal(0, 0.15)),
                axis=axis, roughness=lobed,
            )  # fmt: skip
            pieces.append((center, shape, index + 1))
        elif state == CellState.BINUCLEATED:
            for side in (-1, 1):
                shape = outline(
                    rng, radius_um=0.74 * radius, elongation=1.15, axis=rng.uniform(0, np.pi), roughness=0.04
                )
                pieces.append((center + side * 0.82 * radius * along, shape, index + 1))
        else:
            pieces.extend((where, shape, index + 1) for where, shape in _chromosomes(state, centers[index], axis, rng))
    return Blobs(
        centers_um=np.array([center for center, _, _ in pieces], dtype=np.float32),
        radii_um=np.array([shape for _, shape, _ in pieces], dtype=np.float32),
        owners=np.array([owner for _, _, owner in pieces], dtype=np.int32),
    )


def _chromosomes(
    state: int, center: NDArray[np.float32], axis: float, rng: np.random.Generator
) -> list[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Condensed chromosomes: a ragged ball, a plate across the spindle's axis, or two plates apart."""
    along = np.array([np.sin(axis), np.cos(axis)])
    if state == CellState.PROMETAPHASE:
        return [(center.astype(float), outline(rng, radius_um=4.2, elongation=1.2, axis=axis, roughness=0.22))]
    shape = {"radius_um": 3.0, "elongation": 3.4, "axis": axis + np.pi / 2, "roughness": 0.12}
    offsets = (0.0,) if state == CellState.METAPHASE else (-3.6, 3.6)
    return [(center + offset * along, outline(rng, **shape)) for offset in offsets]


def _nucleolus_blobs(plan: FieldPlan, nuclei: Blobs, rng: np.random.Generator) -> Blobs:
    """One to five nucleoli in every nucleus that is not in mitosis."""
    centers, shapes, owners = [], [], []
    for center, radii, owner in zip(nuclei.centers_um, nuclei.radii_um, nuclei.owners, strict=True):
        if CellState(plan.states[owner - 1]).is_mitotic:
            continue
        nucleus_radius = float(radii.mean())
        for _ in range(rng.integers(1, 5)):
            angle = rng.uniform(0, 2 * np.pi)
            reach = radii[int(angle / (2 * np.pi) * NUM_ANGLES) % NUM_ANGLES] * 0.68 * np.sqrt(rng.random())
            centers.append(center + reach * np.array([np.sin(angle), np.cos(angle)]))
            size = nucleus_radius * rng.uniform(0.09, 0.2)
            shapes.append(
                outline(rng, radius_um=size, elongation=rng.uniform(1, 1.6), axis=rng.uniform(0, np.pi), roughness=0.1)
            )
            owners.append(owner)
    return Blobs(
        centers_um=np.array(centers, dtype=np.float32).reshape(-1, 2),
        radii_um=np.array(shapes, dtype=np.float32).reshape(-1, NUM_ANGLES),
        owners=np.array(owners, dtype=np.int32),
    )


def _middles(nuclei: Blobs, num_cells: int) -> NDArray[np.float32]:
    """(N, 2): the middle of each cell's nucleus or nuclei."""
    pieces = np.bincount(nuclei.owners, minlength=num_cells + 1)[1:]
    sums = [np.bincount(nuclei.owners, weights=nuclei.centers_um[:, axis], minlength=num_cells + 1)[1:] for axis in (0, 1)]
    middles: NDArray[np.float32] = (np.stack(sums, axis=1) / pieces[:, None]).astype(np.float32)
    return middles


def _centrosomes(
    line: CellLine, nuclei: Blobs, num_cells: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(N, 2): just outside the nucleus, on the side of the cell's middle if the nucleus leaves it."""
    places = np.zeros((num_cells, 2), dtype=np.float32)
    for center, radii, owner in zip(nuclei.centers_um, nuclei.radii_um, nuclei.owners, strict=True):
        angle = rng.uniform(0, 2 * np.pi)
        reach = radii[int(angle / (2 * np.pi) * NUM_ANGLES) % NUM_ANGLES] + rng.uniform(0.4, 0.1 * line.radius_um + 1)
        places[owner - 1] = center + reach * np.array([np.sin(angle), np.cos(angle)])
    return places


def _distance_to_border(canvas: Canvas, cells: NDArray[np.int32]) -> FloatImage:
    """Distance to where the id changes: also between cells that touch, but not at the field's edge."""
    inside = cells > 0
    inside[1:] &= cells[1:] == cells[:-1]
    inside[:, 1:] &= cells[:, 1:] == cells[:, :-1]
    return _distance(canvas, inside)


def _distance(canvas: Canvas, mask: NDArray[np.bool_]) -> FloatImage:
    """Inside `mask`, the distance to its nearest outside."""
    far = float(np.hypot(*canvas.size_um))
    distance: FloatImage = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.minimum(distance * canvas.pixel_size_um, np.float32(far))
