"""Cells grown from their nuclei over the signal of the cytoplasm."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import disk, fill_gaps, flood, keep_pieces, spread

__all__ = ["cytoplasm_signal", "grow_cells"]

_BACKGROUND_QUANTILE, _BRIGHT_QUANTILE = 0.005, 0.995
# A cell without cytoplasm around its nucleus (a dead one, a missing marker) must not take in the background.
_LEAST_LEVEL = 0.1


def cytoplasm_signal(markers: Sequence[NDArray[np.float32]], *, blur_px: float) -> NDArray[np.float32]:
    """Mean of the markers of the cytoplasm, each scaled to its own range, smoothed.

    The square root raises the thin margins of cells against the bright middle.

    Parameters
    ----------
    markers
        (H, W) float32 each, in any unit; an empty one (a missing channel) has no part in the mean.
    blur_px
        Standard deviation of the smoothing.

    Returns
    -------
    (H, W) float32, 0 for background, about 1 for the bright end.
    """
    used = []
    for marker in markers:
        background, bright = np.quantile(marker, [_BACKGROUND_QUANTILE, _BRIGHT_QUANTILE])
        if bright > background:
            used.append(np.sqrt(np.clip((marker - background) / (bright - background), 0, None)))
    mean = np.mean(np.stack(used), axis=0) if used else np.zeros_like(markers[0])
    return np.asarray(cv2.GaussianBlur(mean, (0, 0), blur_px), dtype=np.float32)


def grow_cells(
    nuclei: NDArray[np.int32],
    signal: NDArray[np.float32],
    *,
    fraction: float,
    distance_weight: float,
    ring_px: float,
    closing_px: float,
    max_hole_area_px: float,
) -> NDArray[np.int32]:
    """One cell around each nucleus.

    The signal is flooded from the nuclei downwards, so that cells meet in the dark valleys between them;
    where there is no valley, a slight preference for the nearer nucleus keeps the border from wandering. Each
    cell ends where the signal falls below a fraction of its own level, measured in a ring around its nucleus:
    a dim cell beside a bright one keeps its margin.

    Parameters
    ----------
    nuclei
        (H, W) int32, ids from 1 without gaps.
    signal
        (H, W) float32, from `cytoplasm_signal`.
    fraction, ring_px, closing_px, max_hole_area_px
        See `Watershed`.
    distance_weight
        Signal that a pixel of distance from the nucleus is worth.

    Returns
    -------
    (H, W) int32 with the ids of `nuclei`; each nucleus lies in its cell, each cell is in one piece with a
    nucleus.
    """
    nearest, distance_px = spread(nuclei)
    territories = flood(distance_weight * distance_px - signal, nuclei)
    ring = (distance_px > 0) & (distance_px <= ring_px) & (nearest == territories)
    background = np.quantile(signal, 0.02)
    level = _medians(signal[ring], nearest[ring], num_cells=int(nuclei.max())) - background
    level = np.maximum(level, _LEAST_LEVEL)
    bright = (signal - background > fraction * level[territories]) | (nuclei > 0)
    closed = cv2.morphologyEx(bright.astype(np.uint8), cv2.MORPH_CLOSE, disk(closing_px))
    cells = keep_pieces(np.where(closed > 0, territories, 0), nuclei)
    return fill_gaps(cells, max_hole_area_px)


def _medians(values: NDArray[np.float32], ids: NDArray[np.int32], *, num_cells: int) -> NDArray[np.float32]:
    """(num_cells + 1,) float32, the upper median of the values of each id; 0 for an id without values."""
    ordered = values[np.lexsort((values, ids))]
    counts = np.bincount(ids, minlength=num_cells + 1)
    middles = np.cumsum(counts) - counts + counts // 2
    medians = np.zeros(num_cells + 1, dtype=np.float32)
    medians[counts > 0] = ordered[middles[counts > 0]]
    return medians
