"""What the representations share: the first two maps, regions, and tidying."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import fill_gaps, keep_pieces, relabel, remove_small
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap

__all__ = ["REGIONS", "connected", "nuclei_for_cells", "regions", "tidy"]

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
