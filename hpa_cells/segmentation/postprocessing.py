"""Tidying of masks and label images. All sizes are in pixels; callers scale them from um."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.segmentation import watershed

__all__ = ["disk", "fill_gaps", "fill_holes", "flood", "keep_pieces", "relabel", "remove_small", "spread"]


def disk(radius_px: float) -> NDArray[np.uint8]:
    """(D, D) uint8, 1 where the distance to the middle is at most `radius_px`; a single 1 below 1 px."""
    reach = int(radius_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside: NDArray[np.uint8] = (x * x + y * y <= radius_px * radius_px).astype(np.uint8)
    return inside


def fill_holes(mask: NDArray[np.bool_], max_area_px: float) -> NDArray[np.bool_]:
    """`mask` with its holes of at most `max_area_px` pixels; a gap at the edge of the image is no hole."""
    pieces, _, is_hole = _small_holes(mask, max_area_px)
    return mask | is_hole[pieces]


def fill_gaps(labels: NDArray[np.int32], max_area_px: float) -> NDArray[np.int32]:
    """`labels` with holes in and between cells, up to `max_area_px` pixels, given to the nearest cell."""
    pieces, stats, is_hole = _small_holes(labels > 0, max_area_px)
    filled = labels.copy()
    for hole in np.flatnonzero(is_hole):
        left, top, width, height = stats[hole, :4]
        # What is nearest to a pixel of a hole lies on its rim.
        around = np.s_[top - 1 : top + height + 1, left - 1 : left + width + 1]
        inside = pieces[around] == hole
        filled[around][inside] = spread(labels[around])[0][inside]
    return filled


def flood(
    landscape: NDArray[np.float32], markers: NDArray[np.int32], *, within: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Seeded watershed: each pixel gets the id of the marker whose flood reaches it first.

    Parameters
    ----------
    landscape
        (H, W) float32; low is flooded first.
    markers
        (H, W) int32, 0 where there is none.
    within
        (H, W) bool, what may be flooded; None: everything.

    Returns
    -------
    (H, W) int32.
    """
    flooded: NDArray[np.int32] = watershed(landscape, markers, mask=within)
    return flooded.astype(np.int32, copy=False)


def remove_small(labels: NDArray[np.int32], min_area_px: float) -> NDArray[np.int32]:
    """`labels` without the ids of less than `min_area_px` pixels."""
    areas = np.bincount(labels.ravel())
    kept = np.where(areas >= min_area_px, np.arange(len(areas)), 0).astype(np.int32)
    return kept.take(labels)


def keep_pieces(labels: NDArray[np.int32], seeds: NDArray[np.int32]) -> NDArray[np.int32]:
    """`labels` without the 4-connected pieces in which no pixel has the same id in `seeds`."""
    pieces = label(labels, background=0, connectivity=1)
    kept = np.zeros(pieces.max() + 1, dtype=np.bool_)
    kept[pieces[(labels == seeds) & (labels > 0)]] = True
    return np.where(kept.take(pieces, mode="clip"), labels, 0)


def relabel(labels: NDArray[np.int32], *others: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Ids of `labels` renumbered 1 to N in ascending order, and `others` alike.

    An id that only the others have becomes 0.
    """
    top = max(int(image.max(initial=0)) for image in (labels, *others))
    present = np.bincount(labels.ravel(), minlength=top + 1) > 0
    present[0] = False
    number = np.where(present, np.cumsum(present), 0).astype(np.int32)
    return [number.take(image) for image in (labels, *others)]


def spread(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """For each pixel the nearest id and the distance to it in pixels (to within 3 %); there must be an id.

    Returns
    -------
    (H, W) int32 and (H, W) float32.
    """
    distance_px, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    id_of = np.zeros(nearest.max() + 1, dtype=np.int32)
    inside = labels > 0
    id_of[nearest[inside]] = labels[inside]
    return id_of[nearest], distance_px


def _small_holes(
    mask: NDArray[np.bool_], max_area_px: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """The 4-connected pieces of what is not in `mask`, OpenCV's statistics of each, and whether it is a small hole."""
    height, width = mask.shape
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    at_edge = (left == 0) | (top == 0) | (right == width) | (bottom == height)
    is_hole = ~at_edge & (stats[:, cv2.CC_STAT_AREA] <= max_area_px)
    is_hole[0] = False  # piece 0 is the mask itself
    return np.asarray(pieces, dtype=np.int32), np.asarray(stats, dtype=np.int32), is_hole
