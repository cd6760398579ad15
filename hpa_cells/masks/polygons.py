"""Outlines of masks as polygons along the edges of their pixels, exact to the pixel.

Where pixels of a mask touch at a corner only, the outline turns around each of them: a mask has as many polygons as it
has parts that hang together by edges. Such a part can touch itself at a corner. There its ring would pass through a
point twice, which makes it invalid [1]_; it is split, and what was cut off becomes a hole that touches its shell in a
point, or two holes that touch.

Shapes: N masks, P polygons, G rings, V points.

References
----------
.. [1] OpenGIS Implementation Standard for Geographic information, Simple feature access 1, section 6.1.11.1.
.. [2] RFC 7946, The GeoJSON Format, section 3.1.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpa_cells.masks.tracing import (
    ColumnRuns,
    column_runs,
    following_pieces,
    hanging_together,
    strung_together,
)

__all__ = ["Outlines", "Polygon", "trace_masks"]

Int64Array: TypeAlias = NDArray[np.int64]
# The shell, then its holes; each (V, 2) x and y of its corners, closed: the last is the first.
Polygon: TypeAlias = list[NDArray[np.int32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlines:
    """The polygons of N masks of one image.

    Attributes
    ----------
    points
        (V, 2) int32, x and y of the corners of all rings, in px; the first pixel reaches from 0 to 1. Each ring is
        closed: its last point is its first. With y as it is written, shells turn left and holes turn right, as
        GeoJSON wants them [2]_.
    ring_stops
        (G,) int64, ascending, where in `points` each ring ends.
    ring_polygons
        (G,) int64, ascending, the polygon of each ring; the first ring of a polygon is its shell, the others are holes.
    polygon_masks
        (P,) int64, ascending, the mask of each polygon.
    num_masks
        N; a mask without pixels has no polygon.
    """

    points: NDArray[np.int32]
    ring_stops: Int64Array
    ring_polygons: Int64Array
    polygon_masks: Int64Array
    num_masks: int

    def polygons(self) -> Iterator[list[Polygon]]:
        """The polygons of each mask, N lists."""
        rings = [self.points[start:stop] for start, stop in pairwise([0, *self.ring_stops.tolist()])]
        of_polygons = np.searchsorted(self.ring_polygons, np.arange(len(self.polygon_masks) + 1))
        polygons = [rings[start:stop] for start, stop in pairwise(of_polygons.tolist())]
        of_masks = np.searchsorted(self.polygon_masks, np.arange(self.num_masks + 1))
        for start, stop in pairwise(of_masks.tolist()):
            yield polygons[start:stop]


def trace_masks(counts: Sequence[bytes], height: int, width: int) -> Outlines:
    """The outlines of N masks, which may overlap.

    Parameters
    ----------
    counts
        N compressed counts of COCO.
    height, width
        Of the image, in px.

    Returns
    -------
    A pixel is inside of a mask's polygons where it is one of the mask's, and their areas are the same. Every polygon is
    valid in the sense of OGC. Polygons of a mask touch in single points at most.

    Raises
    ------
    ValueError
        If counts cannot be read or do not fill the image; the message names the mask by its position.

    Examples
    --------
    >>> list(trace_masks([b"41"], 1, 5).polygons())[0][0][0].tolist()
    [[5, 0], [5, 1], [4, 1], [4, 0], [5, 0]]
    """
    runs = column_runs(counts, height, width)
    if runs.tops.size == 0:
        none = np.empty(0, dtype=np.int64)
        return Outlines(
            points=np.empty((0, 2), dtype=np.int32),
            ring_stops=none,
            ring_polygons=none,
            polygon_masks=none,
            num_masks=len(counts),
        )
    following = following_pieces(runs, height)
    order, firsts = strung_together(following)
    points, stops = _corners(runs, following, order, firsts)
    parts = hanging_together(runs, height)
    ring_parts = parts[order[firsts] % len(parts)]
    rings = _sorted_rings(*_split_at_repeated(points, stops, ring_parts, height))
    _, first_runs = np.unique(parts, return_index=True)
    return Outlines(**rings, polygon_masks=runs.masks[first_runs], num_masks=len(counts))


def _corners(
    runs: ColumnRuns, following: Int64Array, order: Int64Array, firsts: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """(V, 2) corners of all rings, not closed, and (G,) where the rings end."""
    heights = np.concatenate([runs.tops, runs.bottoms])
    # A piece ends at its right if it is a top, at its left if it is a bottom.
    ends_x = np.concatenate([runs.columns + 1, runs.columns])
    turns = heights[following] != heights
    pieces = order[turns[order]]
    x = np.repeat(ends_x[pieces], 2)
    y = np.stack([heights[pieces], heights[following[pieces]]], axis=1).ravel()
    num_turns = np.add.reduceat(turns[order], firsts, dtype=np.int64)
    return np.stack([x, y], axis=1), 2 * np.cumsum(num_turns)


def _split_at_repeated(
    points: Int64Array, stops: Int64Array, ring_parts: Int64Array, height: int
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """The same rings, but none passes through a point twice; those that did are the last."""
    lengths = np.diff(stops, prepend=0)
    rings = np.repeat(np.arange(len(stops)), lengths)
    keys = points[:, 0] * (height + 1) + points[:, 1]
    order = np.lexsort((keys, rings))
    is_repeated = (np.diff(keys[order]) == 0) & (np.diff(rings[order]) == 0)
    touching = np.unique(rings[order[1:][is_repeated]])
    if touching.size == 0:
        return points, stops, ring_parts
    is_whole = np.ones(len(stops), dtype=bool)
    is_whole[touching] = False
    new_points, new_lengths = [points[is_whole[rings]]], lengths[is_whole].tolist()
    new_parts = ring_parts[is_whole].tolist()
    for ring in touching.tolist():
        for loop in _simple_loops(points[stops[ring] - lengths[ring] : stops[ring]].tolist()):
            new_points.append(np.array(loop, dtype=np.int64))
            new_lengths.append(len(loop))
            new_parts.append(ring_parts[ring])
    return np.concatenate(new_points), np.cumsum(new_lengths), np.array(new_parts, dtype=np.int64)


def _simple_loops(ring: list[list[int]]) -> Iterator[list[tuple[int, int]]]:
    """The loops of a ring that passes through points twice; each has its points once."""
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for x, y in ring:
        point = (x, y)
        if point in place:
            loop = path[place[point] :]
            del path[place[point] :]
            for each in loop:
                del place[each]
            yield loop
        place[point] = len(path)
        path.append(point)
    yield path


def _sorted_rings(points: Int64Array, stops: Int64Array, ring_parts: Int64Array) -> dict[str, Any]:
    """`points`, `ring_stops` and `ring_polygons` of `Outlines`: closed, by polygon, the shell before its holes."""
    lengths = np.diff(stops, prepend=0)
    firsts = stops - lengths
    ahead = np.arange(1, len(points) + 1)
    ahead[stops - 1] = firsts
    x, y = points.T
    is_hole = np.add.reduceat(x * y[ahead] - x[ahead] * y, firsts) < 0
    order = np.lexsort((firsts, is_hole, ring_parts))
    lengths, firsts = lengths[order] + 1, firsts[order]
    ring_stops = np.cumsum(lengths)
    within = np.arange(ring_stops[-1]) - np.repeat(ring_stops - lengths, lengths)
    within[ring_stops - 1] = 0
    return {
        "points": points[np.repeat(firsts, lengths) + within].astype(np.int32),
        "ring_stops": ring_stops,
        "ring_polygons": ring_parts[order],
    }
