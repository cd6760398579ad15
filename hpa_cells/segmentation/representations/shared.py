"""What the representations share: the first two maps, regions, and tidying."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import fill_gaps, keep_pieces, relabel, remove_small
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap

__all__ = ["REGIONS", "connected", "merge_weak_frontiers", "nuclei_for_cells", "regions", "tidy"]

REGIONS: Final = (
    OutputMap(name="nucleus", part="nuclei", is_probability=True),
    OutputMap(name="cell", part="cells", is_probability=True),
)

# Sizes below which nothing is a nucleus or a cell; those of the official segmenter are 16 and 35 um2.
_MIN_NUCLEUS_UM2, _MIN_CELL_UM2 = 12.0, 35.0
_MAX_HOLE_UM2 = 80.0


def regions(cells: LabelImage, nuclei: LabelImage) -> list[NDArray[np.float32]]:
    """The first two target maps, (h, w) float32 of 0 and 1."""
    return [(nuclei > 0).astype(np.float32), (cells > 0).astype(np.float32)]


def connected(mask: NDArray[np.bool_]) -> LabelImage:
    """(h, w) int32, the 4-connected pieces of a mask."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1], dtype=np.int32)


def merge_weak_frontiers(labels: LabelImage, strength: NDArray[np.float32], *, least: float) -> LabelImage:
    """Join touching regions whose common frontier is weaker, in the mean, than `least`.

    Parameters
    ----------
    labels
        (h, w) int32.
    strength
        (h, w) float32, how much a pixel looks like a frontier.

    Returns
    -------
    (h, w) int32; a joined region has the smallest of its ids.
    """
    top = int(labels.max(initial=0))
    pairs, values = [], []
    for first, second, near, far in (
        (labels[:, :-1], labels[:, 1:], strength[:, :-1], strength[:, 1:]),
        (labels[:-1], labels[1:], strength[:-1], strength[1:]),
    ):
        touch = (first != second) & (first > 0) & (second > 0)
        low, high = np.minimum(first[touch], second[touch]), np.maximum(first[touch], second[touch])
        pairs.append(low.astype(np.int64) * (top + 1) + high)
        values.append(np.maximum(near[touch], far[touch]))
    keys, index, lengths = np.unique(np.concatenate(pairs), return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=np.concatenate(values)) / np.maximum(lengths, 1)
    owner = np.arange(top + 1, dtype=np.int32)
    for key in keys[np.flatnonzero(means < least)]:
        low, high = (_root(owner, int(each)) for each in divmod(int(key), top + 1))
        owner[max(low, high)] = min(low, high)
    for each in range(top + 1):
        owner[each] = _root(owner, each)
    return owner[labels]


def nuclei_for_cells(named: tuple[OutputMap, ...], maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, h, w) `maps`, with those of cells replaced by those of nuclei that are called alike."""
    names = [each.name for each in named]
    return maps[[names.index(name.replace("cell", "nucleus")) for name in names]]


def tidy(
    cells: LabelImage, nuclei: LabelImage, *, um_per_px: float, nuclei_only: bool
) -> tuple[LabelImage, LabelImage]:
    """Whole cells, each with its nucleus; specks, holes and pieces without a nucleus are gone.

    Parameters
    ----------
    cells, nuclei
        (h, w) int32 with ids in common.
    nuclei_only
        Whether cells are their nuclei: they may then be as small.

    Returns
    -------
    cells, nuclei
        (h, w) int32, ids from 1 without gaps.
    """
    um2 = um_per_px**2
    nuclei = remove_small(nuclei, _MIN_NUCLEUS_UM2 / um2)
    cells = np.where(nuclei > 0, nuclei, cells)
    cells = keep_pieces(cells, nuclei)
    cells = fill_gaps(cells, _MAX_HOLE_UM2 / um2)
    min_cell_um2 = _MIN_NUCLEUS_UM2 if nuclei_only else _MIN_CELL_UM2
    cells, nuclei = relabel(remove_small(cells, min_cell_um2 / um2), nuclei)
    return cells, nuclei


def _root(owner: NDArray[np.int32], each: int) -> int:
    while owner[each] != each:
        each = int(owner[each])
    return each
