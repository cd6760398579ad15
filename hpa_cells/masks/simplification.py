"""Outlines with fewer corners, which are still valid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.masks.polygons import Polygon

__all__ = ["simplified"]

# Corners of pixels are a pixel apart: what moves by less is as good as exact.
_LEAST_TOLERANCE_PX = 0.5
# All edges are compared with all.
_MOST_EDGES = 2000


def simplified(polygons: list[Polygon], tolerance_px: float) -> list[Polygon]:
    """The polygons of a mask without the corners that matter least.

    Each ring is simplified by the algorithm of Ramer, Douglas and Peucker [1]_. That may let rings cross, or
    themselves, or turn a hole out of its shell. Then half of the tolerance is tried, and so on; at last the polygons
    stay as they are.

    Parameters
    ----------
    polygons
        Of one mask, as `Outlines.polygons` gives them.
    tolerance_px
        How far, about, the outline may move from a corner left out, in px; 0: nothing is left out.

    Returns
    -------
    As many polygons, valid in the sense of OGC, their shells and holes as before. Holes that are thinner than the
    tolerance may be filled. Neighbouring masks, which had an edge in common, may overlap and leave gaps.

    References
    ----------
    .. [1] Douglas and Peucker, Cartographica 10:112 (1973), doi 10.3138/FM57-6770-U75U-7727.
    """
    while tolerance_px >= _LEAST_TOLERANCE_PX:
        fewer = [_simplified_polygon(polygon, tolerance_px) for polygon in polygons]
        if _is_valid(fewer):
            return fewer
        tolerance_px /= 2
    return polygons


def _simplified_polygon(polygon: Polygon, tolerance_px: float) -> Polygon:
    rings = [_simplified_ring(ring, tolerance_px) for ring in polygon]
    return [rings[0], *(ring for ring in rings[1:] if len(ring) > 3)]


def _simplified_ring(ring: NDArray[np.int32], tolerance_px: float) -> NDArray[np.int32]:
    corners = cv2.approxPolyDP(np.ascontiguousarray(ring[:-1])[:, None], tolerance_px, True)[:, 0]
    return np.concatenate([corners, corners[:1]]).astype(np.int32)


def _is_valid(polygons: list[Polygon]) -> bool:
    """Whether no two edges meet but neighbours in a ring, and holes alone are inside of an odd number of rings.

    Stricter than OGC: rings that touch in a point, as some exact ones do, are not taken.
    """
    rings = [ring for polygon in polygons for ring in polygon]
    if min(map(len, rings)) < 4 or sum(map(len, rings)) > _MOST_EDGES or _edges_meet(rings):
        return False
    is_hole = [number > 0 for polygon in polygons for number in range(len(polygon))]
    for hole, ring in zip(is_hole, rings, strict=True):
        around = sum(
            cv2.pointPolygonTest(other[:-1, None], ring[0].astype(float), False) > 0
            for other in rings
            if other is not ring
        )
        if around % 2 != hole:
            return False
    # As before, shells turn left and holes right.
    areas = [cv2.contourArea(ring[:-1, None], oriented=True) for ring in rings]
    return all((area < 0) == hole and area != 0 for area, hole in zip(areas, is_hole, strict=True))


def _edges_meet(rings: list[NDArray[np.int32]]) -> bool:
    a, b = (np.concatenate([ring[cut] for ring in rings]).astype(np.int64) for cut in (np.s_[:-1], np.s_[1:]))
    lengths = [len(ring) - 1 for ring in rings]
    following = np.concatenate([np.roll(np.arange(n), -1) for n in lengths]) + np.repeat(
        np.cumsum(lengths) - lengths, lengths
    )
    # Neighbours have a corner in common; they may not turn back on each other.
    along, onward = b - a, (b - a)[following]
    turns_back = (_cross(along, onward) == 0) & ((along * onward).sum(axis=1) < 0)
    if turns_back.any():
        return True
    low, high = np.minimum(a, b), np.maximum(a, b)
    near = ((low[:, None] <= high[None]) & (high[:, None] >= low[None])).all(axis=2)
    numbers = np.arange(len(a))
    near &= numbers[:, None] < numbers
    near[numbers, following] = near[following, numbers] = False
    first, second = np.nonzero(near)
    sides = [
        np.sign(_cross(along[one], point[other] - a[one]))
        for one, other, point in (
            (first, second, a),
            (first, second, b),
            (second, first, a),
            (second, first, b),
        )
    ]
    return bool(((sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)).any())


def _cross(u: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.int64]:
    product: NDArray[np.int64] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return product
