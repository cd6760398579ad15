"""From polygons to masks, the way back from `trace_masks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.masks.coding import counts_of_pixels

__all__ = ["fill_polygons"]

# Of all masks together, in memory: a cell as large as a field has a few for each of its columns.
_MOST_CROSSINGS = 1 << 25


def fill_polygons(
    masks: Sequence[Sequence[NDArray[np.floating[Any] | np.integer[Any]]]], height: int, width: int
) -> list[bytes]:
    """Masks of the pixels whose centres are inside of polygons.

    Parameters
    ----------
    masks
        The rings of each of N masks, (V, 2) x and y of corners in px, closed or not. A pixel is inside where an odd
        number of rings is around it, so that holes are told by their place and not by their direction.
    height, width
        Of the image, in px. What lies outside is cut off.

    Returns
    -------
    N compressed counts of COCO; empty bytes where no pixel's centre is inside. A centre on an edge is inside where the
    edge is the left or the upper one.

    Raises
    ------
    ValueError
        If a corner is not finite, or the rings cross more columns than those of cells do.

    Examples
    --------
    >>> fill_polygons([[np.array([[4, 0], [5, 0], [5, 1], [4, 1]])]], 1, 5)
    [b'41']
    """
    owners, from_xy, to_xy = _edges(masks)
    columns, owners, rows = _crossings(owners, from_xy, to_xy, height, width)
    order = np.lexsort((rows, columns, owners))
    owners, columns, rows = owners[order], columns[order], rows[order]
    # A closed ring crosses the middle of a column an even number of times.
    owners, starts = owners[::2], columns[::2] * height + rows[::2]
    stops = columns[1::2] * height + rows[1::2]
    is_filled = stops > starts
    owners, starts, stops = owners[is_filled], starts[is_filled], stops[is_filled]
    joins = np.flatnonzero((stops[:-1] == starts[1:]) & (owners[:-1] == owners[1:]))
    found, counts = counts_of_pixels(
        np.delete(owners, joins).astype(np.int32),
        np.delete(starts, joins + 1),
        np.delete(stops, joins),
        height * width,
    )
    filled = [b""] * len(masks)
    for mask, each in zip(found.tolist(), counts, strict=True):
        filled[mask] = each
    return filled


def _edges(
    masks: Sequence[Sequence[NDArray[Any]]],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Mask, beginning and end of each edge, (E,), (E, 2) and (E, 2)."""
    rings = [
        (number, np.asarray(ring, dtype=np.float64)) for number, rings in enumerate(masks) for ring in rings
    ]
    if not rings:
        return np.empty(0, dtype=np.int64), np.empty((0, 2)), np.empty((0, 2))
    owners = np.repeat([number for number, _ in rings], [len(ring) for _, ring in rings])
    begins = np.concatenate([ring for _, ring in rings])
    if not np.isfinite(begins).all():
        raise ValueError("A corner of a polygon is not finite: give x and y in px.")
    return owners, begins, np.concatenate([np.roll(ring, -1, axis=0) for _, ring in rings])


def _crossings(
    owners: NDArray[np.int64],
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
    height: int,
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Column, mask and row of each place where an edge crosses the middle of a column: the first row below it."""
    right_way = (begins[:, 0] <= ends[:, 0])[:, None]
    left_xy, right_xy = np.where(right_way, begins, ends), np.where(right_way, ends, begins)
    first, stop = (
        np.clip(np.ceil(each[:, 0] - 0.5), 0, width).astype(np.int64) for each in (left_xy, right_xy)
    )
    num_columns = stop - first
    if num_columns.sum() > _MOST_CROSSINGS:
        raise ValueError(
            f"The polygons cross {num_columns.sum():,} columns, more than {_MOST_CROSSINGS:,}: "
            "give those of fewer cells at a time."
        )
    edge = np.repeat(np.arange(len(first)), num_columns)
    before = np.cumsum(num_columns) - num_columns
    columns = np.arange(len(edge)) + (first - before)[edge]
    span = right_xy - left_xy
    with np.errstate(over="ignore", invalid="ignore"):
        # From the same end whichever way the edge runs: two cells that share it share no pixel, and leave none out.
        y = left_xy[edge, 1] + (columns + 0.5 - left_xy[edge, 0]) / span[edge, 0] * span[edge, 1]
    rows = np.clip(np.ceil(np.nan_to_num(y) - 0.5), 0, height).astype(np.int64)
    return columns, owners[edge], rows
