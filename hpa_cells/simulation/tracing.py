"""Anatomy of a field whose cells have given outlines: nuclei are placed in them, or given too."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy, map_anatomy
from hpa_cells.simulation.blobs import Blobs, outline, rasterise
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.cell_lines import CellLine
from hpa_cells.simulation.labels import CellState, FieldPlan
from hpa_cells.simulation.layout import Layout, nucleus_middles, paired_nuclei, place_nucleoli
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE
from hpa_cells.simulation.real_layout import RealLayout, View, draw_view
from hpa_cells.simulation.shapes import Shapes, measure_shapes, seen_through

__all__ = ["blank_plan", "trace_anatomy"]

# Shapes are measured on a grid this coarse.
_COARSE_UM = 0.64
_SMALLEST_CELL_UM2 = 60.0
# A cell of this radius has a nucleus of its line's size.
_TYPICAL_RADIUS_UM = 17.0
# Real masks are often parted by a line of background where cells touch.
_GAP_UM = 0.45
_LONGEST_NUCLEUS = 2.4


def trace_anatomy(
    canvas: Canvas, given: RealLayout, line: CellLine, rng: np.random.Generator, *, binucleated_share: float
) -> Anatomy:
    """Maps of a random view of real cells, filled like cells of `line`.

    Cells of less than 60 um2 are left out, and so are those without a nucleus where nuclei are given.
    """
    given, view = draw_view(canvas, given, rng)
    ids, cell_shapes, nucleus_shapes = _measure(given, view, rng)
    cells = _trace_cells(canvas, given, view, ids)
    states = np.zeros(len(ids), dtype=np.int8)
    if given.nuclei is None or nucleus_shapes is None:
        states[rng.random(len(ids)) < binucleated_share] = CellState.BINUCLEATED
        blobs = _place_nuclei(cell_shapes, line, states, rng)
        nuclei, _ = rasterise(canvas, blobs)
    else:
        blobs = _ellipses(nucleus_shapes, rng)
        nuclei = _numbered(view.sample(given.nuclei, given.pixel_size_um, canvas.pixel_size_um), ids)
    plan = blank_plan(line, states)
    layout = Layout(
        cells=Blobs.of([]),
        nuclei=blobs,
        nucleoli=place_nucleoli(plan, blobs, rng),
        centers_um=cell_shapes.middles_um.astype(np.float32),
        nucleus_middles_um=nucleus_middles(blobs, len(ids)),
        axes=cell_shapes.axes.astype(np.float32),
        radii_um=cell_shapes.radii_um.astype(np.float32),
    )
    level = _level(canvas, layout, cells)
    return map_anatomy(canvas, plan, layout, rng, cells=cells, nuclei=nuclei, level=level)


def blank_plan(line: CellLine, states: NDArray[np.int8]) -> FieldPlan:
    """A plan of cells that show no protein."""
    cell_labels = np.zeros((len(states), len(CLASS_SET)), dtype=bool)
    cell_labels[:, NEGATIVE] = True
    field_labels = np.arange(len(CLASS_SET)) == NEGATIVE
    return FieldPlan(cell_line=line, field_labels=field_labels, cell_labels=cell_labels, states=states)


def _measure(
    given: RealLayout, view: View, rng: np.random.Generator
) -> tuple[NDArray[np.int32], Shapes, Shapes | None]:
    """(N,) ids of the cells to draw, their shapes, and those of their nuclei where these are given."""
    step = max(round(_COARSE_UM / given.pixel_size_um), 1)
    coarse_um = step * given.pixel_size_um
    cells = np.ascontiguousarray(given.cells[::step, ::step])
    drawn = np.bincount(cells.ravel()) * coarse_um**2 >= _SMALLEST_CELL_UM2
    drawn[0] = False
    nuclei = None
    if given.nuclei is not None:
        nuclei = np.ascontiguousarray(given.nuclei[::step, ::step])
        drawn &= np.isin(np.arange(len(drawn)), nuclei)
    ids = np.flatnonzero(drawn).astype(np.int32)
    cell_shapes, nucleus_shapes = (
        None
        if labels is None
        else seen_through(measure_shapes(_numbered(labels, ids), len(ids), coarse_um, rng), view)
        for labels in (cells, nuclei)
    )
    assert cell_shapes is not None
    return ids, cell_shapes, nucleus_shapes


def _trace_cells(canvas: Canvas, given: RealLayout, view: View, ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(H, W) int32 from 1 to N; cells that touch have no line of background between them."""
    cells = _numbered(view.sample(given.cells, given.pixel_size_um, canvas.pixel_size_um), ids)
    return _without_gaps(cells, reach_px=int(np.ceil(_GAP_UM / canvas.pixel_size_um)))


def _without_gaps(cells: NDArray[np.int32], *, reach_px: int) -> NDArray[np.int32]:
    """The cells grown into gaps of up to twice `reach_px`, and nowhere else."""
    step = np.ones((3, 3), dtype=np.uint8)
    inside = (cells > 0).astype(np.uint8)
    gaps = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, step, iterations=reach_px) > inside
    # Exact in float32, and a type that OpenCV dilates.
    grown = cells.astype(np.float32)
    for _ in range(reach_px):
        grown = np.where(gaps & (grown == 0), cv2.dilate(grown, step), grown)
    return grown.astype(np.int32)


def _numbered(labels: NDArray[np.int32], ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """The label image with `ids[i]` as `i + 1`, and all else as 0."""
    lookup = np.zeros(max(int(labels.max(initial=0)), int(ids.max(initial=0))) + 1, dtype=np.int32)
    lookup[ids] = np.arange(1, len(ids) + 1)
    return lookup[labels]


def _place_nuclei(cells: Shapes, line: CellLine, states: NDArray[np.int8], rng: np.random.Generator) -> Blobs:
    """A nucleus, or two, deep inside each cell and along it."""
    # Large cells have larger nuclei, but not in proportion.
    wanted_um = line.nucleus_radius_um * (cells.radii_um / _TYPICAL_RADIUS_UM) ** 0.45
    wanted_um = wanted_um * rng.lognormal(0, 0.1, len(states))
    room_um = np.maximum(cells.depths_um - 0.8, 1.5)
    pieces = []
    for index, (middle, wanted, room) in enumerate(zip(cells.middles_um, wanted_um, room_um, strict=True)):
        axis = cells.axes[index] + rng.normal(0, 0.25)
        if states[index] == CellState.BINUCLEATED:
            pair = paired_nuclei(middle, min(wanted, room / 0.8), axis, rng)
            pieces += [(where, radii, index + 1) for where, radii in pair]
            continue
        free = 1 + 0.3 * (min(cells.elongations[index], 4) - 1) + abs(rng.normal(0, 0.12))
        # A narrow cell has a long nucleus, and a very narrow one a small one.
        elongation = float(np.clip((wanted / room) ** 2, free, max(free, _LONGEST_NUCLEUS)))
        radii = outline(
            rng,
            radius_um=min(wanted, room * elongation**0.5),
            elongation=elongation,
            axis=axis,
            roughness=line.nucleus_roughness * rng.lognormal(0, 0.5),
        )
        pieces.append((middle, radii, index + 1))
    return Blobs.of(pieces)


def _ellipses(shapes: Shapes, rng: np.random.Generator) -> Blobs:
    """What stands for given nuclei where nucleoli and centrosomes are placed."""
    rows = zip(shapes.middles_um, shapes.radii_um, shapes.elongations, shapes.axes, strict=True)
    return Blobs.of(
        (middle, outline(rng, radius_um=radius, elongation=elongation, axis=axis), number)
        for number, (middle, radius, elongation, axis) in enumerate(rows, start=1)
    )


def _level(canvas: Canvas, layout: Layout, cells: NDArray[np.int32]) -> FloatImage:
    """(H, W) distance from the middle of a pixel's cell by the cell's radius."""
    middles = np.vstack([np.zeros((1, 2), dtype=np.float32), layout.centers_um])
    radii = np.concatenate([[1], layout.radii_um]).astype(np.float32)
    rows, columns = (
        np.arange(side, dtype=np.float32) * np.float32(canvas.pixel_size_um) for side in canvas.shape
    )
    down, right = rows[:, None] - middles[:, 0][cells], columns[None, :] - middles[:, 1][cells]
    level: FloatImage = np.hypot(down, right) / radii[cells]
    return level
