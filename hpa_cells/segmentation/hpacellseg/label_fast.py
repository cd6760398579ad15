"""The published post-processing at the resolution of the networks, where it takes a fiftieth of the time.

The steps are those of `label_exact`, with sizes to scale. What the original does to single pixels at four times
the resolution has no room here, only its consequences have: pieces that touch at a corner are two, since it
peels a pixel off each; but cells and nuclei keep that pixel, and touch without a line between them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.hpacellseg.label_pieces import (
    fill_small_gaps,
    flood_from,
    keep_large,
    pieces,
    pieces_of_ids,
    spread_from,
    whole_pieces,
)
from hpa_cells.segmentation.hpacellseg.label_thresholds import (
    CELL_BORDER,
    NUCLEUS,
    NUCLEUS_BORDER,
    SEED,
    SEED_BORDER,
    LabelSizes,
    cell_threshold,
)
from hpa_cells.segmentation.postprocessing import disk

__all__ = ["fast_cells", "fast_nuclei"]

Plane = NDArray[np.uint8]
Labels = NDArray[np.int32]


def fast_cells(nuclei_pred: Plane, cell_pred: Plane, sizes: LabelSizes) -> tuple[Labels, Labels]:
    """Nuclei and cells; parameters and result as of `label_exact.exact_cells`."""
    nuclei = _nuclei_with_cells(nuclei_pred, cell_pred, sizes)
    borders, interiors = _planes(cell_pred)
    landscape = -interiors.astype(np.float32)
    cells = flood_from(nuclei, landscape, within=interiors > 255 * cell_threshold(interiors))
    cells = keep_large(cells, sizes.min_cell_px)
    closed = cv2.morphologyEx(cells.astype(np.float32), cv2.MORPH_CLOSE, disk(sizes.closing_px))
    cells = whole_pieces(closed.astype(np.int32))
    cells = flood_from(cells, landscape, within=(cells > 0) | (borders > 255 * CELL_BORDER))
    cells = keep_large(whole_pieces(cells), sizes.min_cell_px)
    inside = pieces((cells > 0) & (nuclei > 0), connectivity=8)
    return np.where(keep_large(inside, sizes.min_nucleus_px) > 0, cells, 0), cells


def fast_nuclei(nuclei_pred: Plane, sizes: LabelSizes, *, unit: int) -> Labels:
    """Nuclei alone; parameters and result as of `label_exact.exact_nuclei`."""
    borders, interiors = _planes(nuclei_pred)
    seeds = pieces((interiors > SEED * unit) & (borders <= NUCLEUS_BORDER * unit))
    mask = fill_small_gaps(interiors > NUCLEUS * unit, sizes.max_hole_px)
    return pieces_of_ids(keep_large(spread_from(seeds, within=mask), sizes.min_nucleus_px))


def _nuclei_with_cells(nuclei_pred: Plane, cell_pred: Plane, sizes: LabelSizes) -> Labels:
    """The nuclei that cells grow from; a border between cells parts them as one between nuclei does."""
    borders, interiors = _planes(nuclei_pred)
    borders_of_both = borders.astype(np.uint16) + cell_pred[..., 1]
    seeds = pieces((interiors > 255 * SEED) & (borders_of_both < 255 * SEED_BORDER))
    mask = fill_small_gaps(interiors > 255 * NUCLEUS, sizes.max_hole_px)
    nuclei = spread_from(keep_large(seeds, sizes.min_seed_px), within=mask)
    return pieces_of_ids(keep_large(nuclei, sizes.min_nucleus_px))


def _planes(prediction: Plane) -> tuple[Plane, Plane]:
    """Borders and interiors, each on its own in memory: every use is then faster."""
    return np.ascontiguousarray(prediction[..., 1]), np.ascontiguousarray(prediction[..., 2])
