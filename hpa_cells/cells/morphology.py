"""Size, place and completeness of every cell, measured on the runs of the label image.

A label image of 2048 rows has four million pixels, but only some tens of thousands of horizontal runs. Every
measure here is a sum or an extreme over runs, so that the pixels are read once, whatever the number of cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.types import Segmentation

__all__ = ["CellMorphology", "measure_cells"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellMorphology:
    """Measures of the N cells of a field, in pixels of the field.

    Attributes
    ----------
    cell_ids
        (N,) int32, ascending.
    boxes_px
        (N, 4) int32: left, top, width and height of the smallest upright box around the cell.
    centroids_px
        (N, 2) float32: x and y of the mean pixel centre; the top left pixel's centre is (0, 0).
    areas_px
        (N,) int64, at least 1.
    nucleus_areas_px
        (N,) int64, 0 for a cell without nucleus.
    touches_border
        (N,) bool, whether a pixel of the cell lies in the first or last row or column.
    """

    cell_ids: NDArray[np.int32]
    boxes_px: NDArray[np.int32]
    centroids_px: NDArray[np.float32]
    areas_px: NDArray[np.int64]
    nucleus_areas_px: NDArray[np.int64]
    touches_border: NDArray[np.bool_]


def measure_cells(segmentation: Segmentation) -> CellMorphology:
    """Measures of all cells of a field; a cell in several pieces is measured as one.

    Examples
    --------
    >>> cells = np.zeros((4, 5), dtype=np.int32)
    >>> cells[1:3, 1:4] = 9
    >>> field = Segmentation(field_id="a", cells=cells, nuclei=np.zeros_like(cells), pixel_size_um=0.08)
    >>> measured = measure_cells(field)
    >>> measured.boxes_px.tolist(), measured.centroids_px.tolist(), measured.areas_px.tolist()
    ([[1, 1, 3, 2]], [[2.0, 1.5]], [6])
    """
    runs = _find_runs(segmentation.cells)
    cell_ids, cell_of_run = np.unique(runs.ids, return_inverse=True)
    num_cells = len(cell_ids)
    lengths = runs.stops - runs.starts
    areas = np.bincount(cell_of_run, weights=lengths, minlength=num_cells)
    sum_x = np.bincount(
        cell_of_run, weights=lengths * (runs.starts + runs.stops - 1) / 2, minlength=num_cells
    )
    sum_y = np.bincount(cell_of_run, weights=lengths * runs.rows, minlength=num_cells)

    left, top = np.full((2, num_cells), np.iinfo(np.int32).max)
    right, bottom = np.zeros((2, num_cells), dtype=np.int64)
    np.minimum.at(left, cell_of_run, runs.starts)
    np.minimum.at(top, cell_of_run, runs.rows)
    np.maximum.at(right, cell_of_run, runs.stops)
    np.maximum.at(bottom, cell_of_run, runs.rows + 1)

    height, width = segmentation.cells.shape
    return CellMorphology(
        cell_ids=cell_ids.astype(np.int32),
        boxes_px=np.stack([left, top, right - left, bottom - top], axis=1).astype(np.int32),
        centroids_px=np.stack([sum_x / areas, sum_y / areas], axis=1).astype(np.float32),
        areas_px=areas.astype(np.int64),
        nucleus_areas_px=_areas_of(segmentation.nuclei, cell_ids),
        touches_border=(left == 0) | (top == 0) | (right == width) | (bottom == height),
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """Horizontal runs of one cell: row, first column, column after the last, id; each (R,)."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    ids: NDArray[np.int32]


def _find_runs(labels: NDArray[np.int32]) -> _Runs:
    height, width = labels.shape
    is_start = np.empty((height, width), dtype=np.bool_)
    is_start[:, :1] = True
    np.not_equal(labels[:, 1:], labels[:, :-1], out=is_start[:, 1:])
    flat_starts = np.flatnonzero(is_start)
    flat_stops = np.append(flat_starts[1:], labels.size)
    ids = labels.ravel()[flat_starts]
    inside = ids != 0
    flat_starts, flat_stops = flat_starts[inside], flat_stops[inside]
    rows = flat_starts // max(width, 1)
    return _Runs(rows, flat_starts - rows * width, flat_stops - rows * width, ids[inside])


def _areas_of(labels: NDArray[np.int32], ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N,) int64, the number of pixels of each of the ascending `ids`; `labels` holds no other id."""
    runs = _find_runs(labels)
    positions = np.searchsorted(ids, runs.ids)
    return np.bincount(positions, weights=runs.stops - runs.starts, minlength=len(ids)).astype(np.int64)
