"""Size, place and completeness of every cell, measured on the runs of the label image.

A label image of 2048 rows has four million pixels, but only some tens of thousands of horizontal runs, and a sixteenth
of them where the cells were found at a quarter of the scale. Every measure here is a sum or an extreme over runs, so
that the pixels are read once, whatever the number of cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.label_images import CoarseLabels
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
    runs = _find_runs(segmentation.coarse, segmentation.coarse.cells)
    cell_ids, cell_of_run = np.unique(runs.ids, return_inverse=True)
    num_cells = len(cell_ids)
    areas = np.bincount(cell_of_run, weights=runs.areas, minlength=num_cells)
    sum_x = np.bincount(
        cell_of_run, weights=runs.areas * (runs.lefts + runs.rights - 1) / 2, minlength=num_cells
    )
    sum_y = np.bincount(
        cell_of_run, weights=runs.areas * (runs.tops + runs.bottoms - 1) / 2, minlength=num_cells
    )

    left, top = np.full((2, num_cells), np.iinfo(np.int32).max)
    right, bottom = np.zeros((2, num_cells), dtype=np.int64)
    np.minimum.at(left, cell_of_run, runs.lefts)
    np.minimum.at(top, cell_of_run, runs.tops)
    np.maximum.at(right, cell_of_run, runs.rights)
    np.maximum.at(bottom, cell_of_run, runs.bottoms)

    height, width = segmentation.shape
    return CellMorphology(
        cell_ids=cell_ids.astype(np.int32),
        boxes_px=np.stack([left, top, right - left, bottom - top], axis=1).astype(np.int32),
        centroids_px=np.stack([sum_x / areas, sum_y / areas], axis=1).astype(np.float32),
        areas_px=areas.astype(np.int64),
        nucleus_areas_px=_nucleus_areas(segmentation.coarse, cell_ids),
        touches_border=(left == 0) | (top == 0) | (right == width) | (bottom == height),
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """Horizontal runs of one cell as boxes of the field, right and bottom being outside, and their ids; each (R,)."""

    lefts: NDArray[np.int64]
    tops: NDArray[np.int64]
    rights: NDArray[np.int64]
    bottoms: NDArray[np.int64]
    ids: NDArray[np.int32]

    @property
    def areas(self) -> NDArray[np.int64]:
        return (self.rights - self.lefts) * (self.bottoms - self.tops)


def _find_runs(coarse: CoarseLabels, labels: NDArray[np.int32]) -> _Runs:
    """Runs of `labels`, one of the label images of `coarse`."""
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
    # Where each row and column begins in the field, and where the last one ends.
    y, x = (
        np.searchsorted(shown, np.arange(length + 1))
        for shown, length in ((coarse.rows, height), (coarse.columns, width))
    )
    return _Runs(
        x[flat_starts - rows * width], y[rows], x[flat_stops - rows * width], y[rows + 1], ids[inside]
    )


def _nucleus_areas(coarse: CoarseLabels, ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N,) int64, the number of pixels of the nuclei of the ascending `ids`; there is no other nucleus."""
    runs = _find_runs(coarse, coarse.nuclei)
    positions = np.searchsorted(ids, runs.ids)
    return np.bincount(positions, weights=runs.areas, minlength=len(ids)).astype(np.int64)
