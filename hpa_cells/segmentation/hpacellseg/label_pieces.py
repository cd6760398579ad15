"""Connected pieces of masks and label images, in OpenCV: as much as the post-processing needs, and fast."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from hpa_cells.segmentation.postprocessing import flood

__all__ = [
    "fill_small_gaps",
    "flood_from",
    "keep_large",
    "pieces",
    "pieces_of_ids",
    "spread_from",
    "whole_pieces",
]

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


def pieces(mask: Mask, *, connectivity: int = 4) -> Labels:
    """(H, W) int32, the connected pieces of a mask (H, W), from 1; 0 outside."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)[1])


def pieces_of_ids(labels: Labels) -> Labels:
    """(H, W) int32, the 8-connected pieces of each id, from 1, in the order of their first pixels."""
    return np.asarray(label(labels, background=0), dtype=np.int32)


def keep_large(labels: Labels, min_area_px: float) -> Labels:
    """Those of at least that area, renumbered from 1 in their order; (H, W) int32 as `labels`."""
    # Without the background: to count up one number a million times is slow.
    is_large = np.bincount(labels[labels > 0], minlength=1) >= min_area_px
    is_large[0] = False
    return np.where(is_large, np.cumsum(is_large), 0).astype(np.int32).take(labels)


def fill_small_gaps(mask: Mask, area_px: float) -> Mask:
    """With the 4-connected gaps smaller than that, also those at the edge of the image; (H, W) bool."""
    gaps = pieces(~mask)
    is_small = np.bincount(gaps.ravel()) < area_px
    is_small[0] = False  # gap 0 is the mask itself
    return mask | is_small.take(gaps) if is_small.any() else mask


def flood_from(seeds: Labels, landscape: NDArray[np.float32], *, within: Mask) -> Labels:
    """Seeds and what they flood.

    Parameters
    ----------
    seeds
        (H, W) int32, 0 where there is none.
    landscape
        (H, W) float32, low ground is flooded first.
    within
        (H, W) bool, where anything may be.

    Returns
    -------
    (H, W) int32, 0 outside of `within` and where no flood comes.
    """
    is_free = within & (seeds == 0)
    # Pixels deep inside a seed have nothing to flood, and to wait for their turn would take most of the time.
    shore = within & _with_neighbours(is_free)
    flooded = flood(landscape, np.where(shore, seeds, 0), within=shore)
    return np.where(is_free, flooded, np.where(within, seeds, 0))


def spread_from(seeds: Labels, *, within: Mask) -> Labels:
    """Seeds and what is nearest to them, in steps to the four neighbours on the way through `within`.

    As `flood_from` on flat ground, but faster where there is little to flood; shapes and types are the same.
    """
    # With a margin, so that each pixel has four neighbours.
    spread, is_free = np.pad(np.where(within, seeds, 0), 1), np.pad(within & (seeds == 0), 1)
    id_at, free_at = spread.ravel(), is_free.ravel()
    front = np.flatnonzero(_with_neighbours(is_free).ravel() & (id_at > 0))
    while front.size:
        reached = []
        for step in (-spread.shape[1], -1, 1, spread.shape[1]):
            ahead = front + step
            is_new = free_at[ahead]
            new = ahead[is_new]
            id_at[new], free_at[new] = id_at[front[is_new]], False
            reached.append(new)
        front = np.concatenate(reached)
    return np.ascontiguousarray(spread[1:-1, 1:-1])


def whole_pieces(labels: Labels) -> Labels:
    """The 4-connected pieces of each id, each with all that it encloses, other pieces included.

    Parameters
    ----------
    labels
        (H, W) int32, 0 is background.

    Returns
    -------
    (H, W) int32, numbered in the order of their first pixels, row by row; a number that went to a piece which
    is enclosed by another is missing.
    """
    outlines = [outline for cell_id, box in _boxes(labels) for outline in _outlines(labels, cell_id, box)]
    outlines.sort(key=lambda outline: (outline[0, 0, 1], outline[0, 0, 0]))
    whole = np.zeros(labels.shape, dtype=np.int32)
    # The widest last: of two pieces one of which encloses the other, the outer one stays.
    for index in sorted(range(len(outlines)), key=lambda index: cv2.contourArea(outlines[index])):
        # One at a time: OpenCV copies all that it is handed, which of thousands of specks would take minutes.
        cv2.drawContours(whole, [outlines[index]], 0, index + 1, cv2.FILLED)
    return whole


def _with_neighbours(mask: Mask) -> Mask:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), cross) > 0)


def _boxes(labels: Labels) -> list[tuple[int, tuple[slice, slice]]]:
    return [(index + 1, box) for index, box in enumerate(ndimage.find_objects(labels)) if box is not None]


def _outlines(labels: Labels, cell_id: int, box: tuple[slice, slice]) -> list[NDArray[np.int32]]:
    """(P, 1, 2) int32 for each piece of an id: columns and rows around it, the first pixel first."""
    num_pieces, parts = cv2.connectedComponents((labels[box] == cell_id).astype(np.uint8), connectivity=4)
    outlines = []
    for part in range(1, num_pieces):
        # Of one piece there is one outline.
        [outline], _ = cv2.findContours(
            np.asarray(parts == part, dtype=np.uint8),
            cv2.RETR_EXTERNAL,
            cv2.CHAIN_APPROX_NONE,
            offset=(box[1].start, box[0].start),
        )
        outlines.append(np.asarray(outline, dtype=np.int32))
    return outlines
