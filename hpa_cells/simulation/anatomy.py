"""The cells of a field as maps: to which cell and compartment each pixel belongs, and how deep it lies."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hpa_cells.simulation.blobs import radius_at, rasterise
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.labels import FieldPlan
from hpa_cells.simulation.layout import Layout, lay_out

__all__ = ["Anatomy", "build_anatomy", "map_anatomy"]

# A nucleus is stiff: where cells crowd, their edges give way to it by this much.
_NUCLEUS_MARGIN_UM = 0.7
_NUM_CENTROSOME_TRIES = 6
_CENTROSOME_ROOM_UM = 3.0
# Where cells touch: how much of the light is missing on the border, on average over a field, its spread along the
# borders, and the width. Below 0 two cells overlap, and there is more.
_SEAM_DEPTH = (0.7, 1.05)
_SEAM_SPREAD = np.float32(0.45)
_OVERLAP = -0.8
_SEAM_WIDTH_UM = (0.6, 1.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Maps of a field, (H, W) each, of N cells with ids 1 to N.

    Attributes
    ----------
    canvas
        The grid.
    plan
        What its cells show.
    layout
        Outlines and landmarks.
    cells, nuclei
        int32 ids; the nucleus of a mitotic cell is its chromosomes.
    to_border_um
        float32, inside cells: distance to the cell's edge.
    slope
        float32 from 0 to 1, how far a cell has risen from its edge: steep here, a thin lamella there; up to 2
        where two cells overlap.
    to_nucleus_um
        float32, distance to the nearest nucleus; 0 inside.
    nucleus_depth_um
        float32, inside nuclei: distance to the envelope.
    nucleoli
        float32 from 0 to 1, soft-edged.
    centrosomes_um
        (N, 2) float32, beside each cell's nucleus.
    """

    canvas: Canvas
    plan: FieldPlan
    layout: Layout
    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]
    to_border_um: FloatImage
    slope: FloatImage
    to_nucleus_um: FloatImage
    nucleus_depth_um: FloatImage
    nucleoli: FloatImage
    centrosomes_um: NDArray[np.float32]

    @property
    def num_cells(self) -> int:
        """N."""
        return len(self.plan.states)

    def per_pixel(self, values: NDArray[np.floating] | NDArray[np.bool_]) -> FloatImage:
        """(H, W) float32: the (N,) value of the cell that each pixel is in, 0 outside."""
        lookup = np.concatenate([[0], values]).astype(np.float32)
        return lookup[self.cells]


def build_anatomy(canvas: Canvas, plan: FieldPlan, rng: np.random.Generator) -> Anatomy:
    """Lay out the planned cells and map them."""
    layout = lay_out(canvas, plan, rng)
    warp_um = _warp(canvas, plan, rng)
    cells, level = rasterise(canvas, layout.cells, warp_um=warp_um)
    nuclei, _ = rasterise(canvas, layout.nuclei)
    around_nuclei, _ = rasterise(canvas, layout.nuclei, margin_um=_NUCLEUS_MARGIN_UM)
    return map_anatomy(
        canvas,
        plan,
        layout,
        rng,
        cells=_in_one_piece(np.where(around_nuclei > 0, around_nuclei, cells)),
        nuclei=nuclei,
        level=level,
    )


def map_anatomy(
    canvas: Canvas,
    plan: FieldPlan,
    layout: Layout,
    rng: np.random.Generator,
    *,
    cells: NDArray[np.int32],
    nuclei: NDArray[np.int32],
    level: FloatImage,
) -> Anatomy:
    """The maps that follow from the outlines of cells and nuclei.

    Parameters
    ----------
    cells, nuclei
        (H, W) int32 ids from 1 to N; what of a nucleus lies outside its cell, or on its edge, is cut off.
    level
        (H, W) float32, distance from the middle of a pixel's cell by the cell's radius.
    """
    to_border_um = _distance_to_border(canvas, cells)
    # Two nuclei that press on each other keep a gap.
    nuclei = np.where((nuclei == cells) & (to_border_um >= 0.25), nuclei, 0)
    _, nucleolus_level = rasterise(canvas, layout.nucleoli)
    nucleoli = np.clip((1.15 - nucleolus_level) / 0.3, 0, 1) * (nuclei > 0)
    return Anatomy(
        canvas=canvas,
        plan=plan,
        layout=layout,
        cells=cells,
        nuclei=nuclei,
        to_border_um=to_border_um,
        slope=_slope(canvas, cells, to_border_um, rng),
        to_nucleus_um=_distance_to_nucleus(canvas, plan, layout, cells, nuclei, level),
        nucleus_depth_um=_distance(canvas, nuclei > 0),
        nucleoli=nucleoli.astype(np.float32),
        centrosomes_um=_centrosomes(canvas, layout, cells, to_border_um, rng),
    )


def _warp(canvas: Canvas, plan: FieldPlan, rng: np.random.Generator) -> tuple[FloatImage, FloatImage]:
    """Displacements that bend cells, and ruffle their edges."""
    bend = np.float32(0.05 * plan.cell_line.radius_um)
    down, across = (bend * canvas.noise(rng, 9.0) + np.float32(0.16) * canvas.noise(rng, 2.2) for _ in "yx")
    return down, across


def _in_one_piece(cells: NDArray[np.int32]) -> NDArray[np.int32]:
    """Cells without the parts that others have cut off from the largest one."""
    whole = cells.copy()
    for index, window in enumerate(ndimage.find_objects(cells)):
        if window is None:
            continue
        mask = cells[window] == index + 1
        num_parts, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
        if num_parts > 2:
            largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
            whole[window][mask & (parts != largest)] = 0
    return whole


def _distance_to_border(canvas: Canvas, cells: NDArray[np.int32]) -> FloatImage:
    """Distance to where the id changes: also between cells that touch, but not at the field's edge."""
    inside = cells > 0
    inside[1:] &= cells[1:] == cells[:-1]
    inside[:, 1:] &= cells[:, 1:] == cells[:, :-1]
    return _distance(canvas, inside)


def _distance_to_nucleus(
    canvas: Canvas,
    plan: FieldPlan,
    layout: Layout,
    cells: NDArray[np.int32],
    nuclei: NDArray[np.int32],
    level: FloatImage,
) -> FloatImage:
    """Distance to the nearest nucleus; in cells whose nucleus is out of sight, a guess of 2 um or more."""
    out_of_field = np.bincount(nuclei.ravel(), minlength=len(plan.states) + 1) == 0
    reach_um = np.concatenate([[0], layout.radii_um]).astype(np.float32)[cells]
    guess = np.maximum(level * reach_um - np.float32(plan.cell_line.nucleus_radius_um), np.float32(2))
    distance: FloatImage = np.where(out_of_field[cells], guess, _distance(canvas, nuclei == 0))
    return distance


def _centrosomes(
    canvas: Canvas,
    layout: Layout,
    cells: NDArray[np.int32],
    to_border_um: FloatImage,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(N, 2): just outside the nucleus, on a side where its cell has room."""
    places = np.zeros_like(layout.centers_um)
    for center, radii, owner in layout.nuclei:
        angles = rng.uniform(0, 2 * np.pi, _NUM_CENTROSOME_TRIES)
        reach = np.array([radius_at(radii, angle) for angle in angles]) + rng.uniform(0.5, 2.5)
        candidates = center + reach[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1)
        pixels = canvas.pixels_at(candidates.astype(np.float32))
        room_um = np.where(cells[pixels] == owner, to_border_um[pixels], 0)
        # The first side that has enough, else the one that has most.
        places[owner - 1] = candidates[np.minimum(room_um, _CENTROSOME_ROOM_UM).argmax()]
    return places


def _slope(
    canvas: Canvas, cells: NDArray[np.int32], to_border_um: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """Gentle where a cell ends freely; where it leans on a neighbour a seam, dark here and bright there."""
    lamella_um = np.float32(1.1) * np.exp(np.float32(0.45) * canvas.noise(rng, 12.0))
    free = 1 - np.exp(-((_distance(canvas, cells > 0) / lamella_um) ** 2))
    depth = np.clip(rng.uniform(*_SEAM_DEPTH) + _SEAM_SPREAD * canvas.noise(rng, 8.0), _OVERLAP, 1)
    seam = np.exp(-to_border_um / np.float32(rng.uniform(*_SEAM_WIDTH_UM)))
    slope: FloatImage = (free * (1 - depth * seam)).astype(np.float32)
    return slope


def _distance(canvas: Canvas, mask: NDArray[np.bool_]) -> FloatImage:
    """Inside `mask`, the distance to its nearest outside; where there is none, the field's diagonal."""
    distance_px = np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3), dtype=np.float32)
    distance_um: FloatImage = np.minimum(distance_px, np.float32(np.hypot(*mask.shape))) * np.float32(
        canvas.pixel_size_um
    )
    return distance_um
