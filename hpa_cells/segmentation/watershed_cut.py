"""Seeded watershed by steepest descent.

Water runs from each pixel to the lowest of its neighbours, on to a marker or to a minimum where it gathers. There it
rises until it runs over the lowest saddle into the next basin, and so on to a marker. These are trees of a minimum
spanning forest [1]_, grown by all basins at once [2]_, so that no pixel waits for another as in a queue.

References
----------
.. [1] Cousty, Bertrand, Najman, Couprie: Watershed cuts: minimum spanning forests and the drop of water principle. IEEE
   PAMI 31:1362, 2009.
.. [2] Boruvka: O jistem problemu minimalnim, 1926.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["watershed_cut"]

# A level holds a height in 19 bits, a distance in half pixels in 10, and the direction of a neighbour in 2.
_NUM_STEPS, _FARTHEST_PX = 2**19 - 2, 511.5
_DIRECTION: Final = np.int32(3)
_OUTSIDE: Final = np.iinfo(np.int32).max & ~3

Int32Array = NDArray[np.int32]
Indices = NDArray[np.integer[Any]]


def watershed_cut(
    landscape: NDArray[np.float32], markers: Int32Array, *, within: NDArray[np.bool_]
) -> Int32Array:
    """Each pixel gets the id of the marker that its water runs to.

    On a landscape without plateaus, such as a network's map, this is `flood` but for single pixels where two floods
    meet, in a third of its time. A plateau goes down towards the markers, as the crow flies.

    Parameters
    ----------
    landscape
        (H, W) float32.
    markers
        (H, W) int32, 0 where there is none.
    within
        (H, W) bool, where water is.

    Returns
    -------
    (H, W) int32, 0 outside, and where no marker can be reached.
    """
    stride = landscape.shape[1] + 1
    markers = np.where(within, markers, 0)
    ids, levels = _framed(markers, 0), _framed(_levels(landscape, markers, within), _OUTSIDE)
    num_markers = int(ids.max(initial=0))

    pixels = np.flatnonzero((ids == 0) & (levels != _OUTSIDE))
    ends = _ends(levels, ids, pixels, stride)
    minima = np.flatnonzero(ends[: len(pixels)] == np.arange(len(pixels)))
    # Basins are numbered on from the markers.
    number = np.empty(len(ends), dtype=np.int32)
    number[len(pixels) :] = np.arange(num_markers + 1)
    number[minima] = np.arange(len(minima)) + num_markers + 1
    basins = ids
    basins[pixels] = number.take(ends[: len(pixels)])

    owner = _owners(*_saddles(levels, basins, stride, num_markers), num_markers, len(minima))
    return np.ascontiguousarray(owner.take(basins).reshape(-1, stride)[1:-1, :-1])


def _framed(image: Int32Array, value: int) -> Int32Array:
    """Flat, with a row above and below and a column to the right, which is also that to the left of the next row."""
    framed = cv2.copyMakeBorder(image, 1, 1, 0, 1, cv2.BORDER_CONSTANT, value=value)
    return np.asarray(framed, dtype=np.int32).ravel()


def _levels(landscape: NDArray[np.float32], markers: Int32Array, within: NDArray[np.bool_]) -> Int32Array:
    """(H, W) int32, multiples of 4 in the order of the heights; on a plateau, in that of the distances to markers."""
    lowest, highest, _, _ = cv2.minMaxLoc(landscape, within.view(np.uint8))
    scale = _NUM_STEPS / (highest - lowest) if highest > lowest else 0.0
    steps = (landscape - np.float32(lowest)) * np.float32(scale)
    levels = np.clip(steps, 0, _NUM_STEPS, out=steps).astype(np.int32)
    distance_px = cv2.distanceTransform((markers == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    half_px = (2 * np.minimum(distance_px, _FARTHEST_PX)).astype(np.int32)
    levels <<= 10
    levels += half_px
    levels <<= 2
    levels[~within] = _OUTSIDE
    return levels


def _ends(levels: Int32Array, ids: Int32Array, pixels: Indices, stride: int) -> Indices:
    """Where the water of each of the P pixels ends: at one of them, or at marker i, which is number P + i."""
    steps = np.array([-stride, -1, 1, stride])
    lowest = levels.take(pixels - stride, mode="clip")
    for direction, step in enumerate(steps[1:], start=1):
        neighbour = levels.take(pixels + step, mode="clip")
        np.minimum(lowest, neighbour | np.int32(direction), out=lowest)
    way = steps.take(lowest & _DIRECTION, mode="clip")
    way *= (lowest & ~_DIRECTION) < levels.take(pixels, mode="clip")
    place = ids + np.intp(len(pixels))
    place[pixels] = np.arange(len(pixels))
    next_places = place.take(pixels + way, mode="clip")
    return _followed(np.append(next_places, np.arange(len(pixels), place.max(initial=0) + 1)))


def _followed(to: Indices) -> Indices:
    """The last place of each one's way, where each step is twice as long as the one before."""
    while not np.array_equal(further := to.take(to, mode="clip"), to):
        to = further
    return to


def _saddles(
    levels: Int32Array, basins: Int32Array, stride: int, num_markers: int
) -> tuple[Int32Array, Int32Array, NDArray[np.int64]]:
    """The two basins at each pair of pixels where one without a marker touches another, and heights, all different."""
    found = []
    for step in (1, stride):
        first = np.flatnonzero(basins[:-step] != basins[step:])
        pair = basins.take(first), basins.take(first + step)
        counts = (np.minimum(*pair) > 0) & (np.maximum(*pair) > num_markers)
        height = np.maximum(levels.take(first), levels.take(first + step))
        found.append([each[counts] for each in (*pair, height)])
    one, other, height = map(np.concatenate, zip(*found, strict=True))
    return one, other, (height.astype(np.int64) << 32) + np.arange(len(height))


def _owners(
    one: Indices, other: Indices, height: NDArray[np.int64], num_markers: int, num_minima: int
) -> Int32Array:
    """(1 + markers + minima,) int32, the marker that each basin runs to over its saddles; 0 where there is none."""
    basins = np.arange(1 + num_markers + num_minima)
    owner: Indices = basins
    while len(height):
        lowest = np.full(len(basins), np.iinfo(np.int64).max)
        np.minimum.at(lowest, one, height)
        np.minimum.at(lowest, other, height)
        to: Indices = basins.copy()
        for near, far in ((one, other), (other, one)):
            is_lowest = lowest[near] == height
            to[near[is_lowest]] = far[is_lowest]
        to[: num_markers + 1] = basins[: num_markers + 1]
        # Two that run over into each other are one from now on.
        to = np.where((to[to] == basins) & (basins < to), basins, to)
        to = _followed(to)
        owner, one, other = to[owner], to[one], to[other]
        counts = (one != other) & (np.maximum(one, other) > num_markers)
        one, other, height = one[counts], other[counts], height[counts]
    return np.where(owner > num_markers, 0, owner).astype(np.int32)
