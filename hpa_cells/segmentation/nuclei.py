"""Nuclei from the nuclear stain: a threshold that is both global and local, then a cut at narrow necks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from hpa_cells.segmentation.postprocessing import disk, flood, relabel

__all__ = ["merge_wide_necks", "nucleus_mask", "split_at_necks"]

# White noise blurred as a nucleus is keeps less than a third of its spread; three spreads are then never
# reached.
_NOISE_SPREADS = 3.0
# Of the brightest value; below it, what differs is the rounding of the smoothing.
_LEAST_CONTRAST = 1e-3


def nucleus_mask(
    stain: NDArray[np.float32],
    *,
    blur_px: float,
    window_px: float,
    global_fraction: float,
    local_fraction: float,
) -> NDArray[np.bool_]:
    """Where there is nuclear stain.

    A pixel must be brighter than `global_fraction` of Otsu's threshold, which leaves room for dim nuclei
    beside bright ones, and than `local_fraction` of the mean of its surroundings, which parts crowded nuclei
    and clears the haze around bright ones.

    Parameters
    ----------
    stain
        (H, W) float32, the nuclear channel in any unit.
    blur_px, window_px
        Standard deviation of the smoothing and of the surroundings.
    global_fraction, local_fraction
        As above, about 0.6 and 0.95.

    Returns
    -------
    (H, W) bool, all False where the channel holds nothing but noise.
    """
    smooth = cv2.GaussianBlur(stain, (0, 0), blur_px)
    noise = 1.4826 * np.median(np.abs(stain - smooth))
    least = max(_NOISE_SPREADS * noise, _LEAST_CONTRAST * stain.max(initial=0))
    smooth = np.maximum(smooth - np.quantile(smooth, 0.02), 0)
    # Otsu's threshold without the few brightest specks, which would pull it above every nucleus.
    otsu = threshold_otsu(np.minimum(smooth, np.quantile(smooth, 0.999)))
    surroundings = cv2.GaussianBlur(smooth, (0, 0), window_px)
    bright = smooth > max(global_fraction * otsu, least)
    mask: NDArray[np.bool_] = bright & (smooth > local_fraction * surroundings)
    return mask


def split_at_necks(
    mask: NDArray[np.bool_], *, blur_px: float, min_distance_px: float, neck: float
) -> NDArray[np.int32]:
    """Single nuclei: each piece of `mask` is cut where it is narrow.

    Parameters
    ----------
    mask
        (H, W) bool.
    blur_px
        Standard deviation of the smoothing of the distance to the rim.
    min_distance_px
        Least distance between the middles of two nuclei.
    neck
        Two halves stay one nucleus when the neck between them is at least this fraction as wide as the
        narrower half, in [0, 1]. 0 never cuts.

    Returns
    -------
    (H, W) int32, ids from 1 without gaps.
    """
    # A frame of copied pixels: the edge of the image is not the rim of a nucleus.
    framed = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    rim_distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    depth = np.asarray(cv2.GaussianBlur(rim_distance, (0, 0), max(blur_px, 0.5)), dtype=np.float32)
    peaks = mask & (depth >= cv2.dilate(depth, disk(max(min_distance_px, 1))))
    markers = np.asarray(cv2.connectedComponents(peaks.astype(np.uint8))[1], dtype=np.int32)
    parts = flood(-depth, markers, within=mask)
    return merge_wide_necks(parts, depth, neck)


def merge_wide_necks(parts: NDArray[np.int32], depth: NDArray[np.float32], neck: float) -> NDArray[np.int32]:
    """Join touching parts whose common border is at one place deep, compared to the shallower part.

    The deepest borders are judged first, and a joined part is as deep as its deepest member.

    Parameters
    ----------
    parts
        (H, W) int32, ids from 1.
    depth
        (H, W) float32, distance to the rim.
    neck
        See `split_at_necks`.

    Returns
    -------
    (H, W) int32, ids from 1 without gaps.
    """
    peak = np.zeros(parts.max() + 1, dtype=np.float32)
    np.maximum.at(peak, parts.ravel(), depth.ravel())
    leader = list(range(len(peak)))

    def leader_of(part: int) -> int:
        while leader[part] != part:
            part = leader[part]
        return part

    for first, second, border_depth in _borders(parts, depth):
        one, other = sorted((leader_of(first), leader_of(second)), key=lambda part: peak[part])
        if one != other and border_depth >= neck * peak[one]:
            leader[one] = other
    return relabel(np.array([leader_of(part) for part in leader], dtype=np.int32)[parts])[0]


def _borders(parts: NDArray[np.int32], depth: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    """Pairs of touching parts and the largest depth on their border, the deepest first."""
    pairs, depths = [], []
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        touching = (parts[a] != parts[b]) & (parts[a] > 0) & (parts[b] > 0)
        pairs.append(np.sort(np.stack([parts[a][touching], parts[b][touching]]), axis=0))
        depths.append(np.minimum(depth[a][touching], depth[b][touching]))
    pair, border_depth = np.concatenate(pairs, axis=1), np.concatenate(depths)
    unique, index = np.unique(pair, axis=1, return_inverse=True)
    deepest = np.zeros(unique.shape[1], dtype=np.float32)
    np.maximum.at(deepest, index.ravel(), border_depth)
    order = np.argsort(-deepest, kind="stable")
    return [(int(unique[0, k]), int(unique[1, k]), float(deepest[k])) for k in order]
