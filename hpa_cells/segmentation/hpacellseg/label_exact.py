"""The published post-processing step by step, at the resolution of the predictions.

The method is that of ``hpacellseg/utils.py`` of CellProfiling/HPA-Cell-Segmentation, told in our own words.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from hpa_cells.segmentation.hpacellseg.label_pieces import pieces_of_ids
from hpa_cells.segmentation.hpacellseg.label_thresholds import (
    CELL_BORDER,
    NUCLEUS,
    NUCLEUS_BORDER,
    SEED,
    SEED_BORDER,
    LabelSizes,
    cell_threshold,
)
from hpa_cells.segmentation.postprocessing import disk, flood, remove_small

__all__ = ["exact_cells", "exact_nuclei"]

Plane = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


def exact_cells(nuclei_pred: Plane, cell_pred: Plane, sizes: LabelSizes) -> tuple[Labels, Labels]:
    """Nuclei and cells.

    Parameters
    ----------
    nuclei_pred, cell_pred
        (H, W, 3) uint8 each: unused, borders and interiors, in 255ths.
    sizes
        In pixels of the predictions.

    Returns
    -------
    (H, W) int32 each; a nucleus has the id of its cell.
    """
    nuclei = _nuclei_with_cells(nuclei_pred, cell_pred, sizes)
    interiors, borders = cell_pred[..., 2], cell_pred[..., 1]
    landscape = -interiors.astype(np.float32)
    cells = flood(landscape, nuclei, within=interiors > 255 * cell_threshold(interiors))
    cells = remove_small(cells, sizes.min_cell_px)
    # The closing is one of numbers: where two cells meet in a nook, the pixels go to one by the order of ids.
    closed = cv2.morphologyEx(cells.astype(np.float32), cv2.MORPH_CLOSE, disk(sizes.closing_px))
    cores = _cores(closed.astype(np.int32))
    cells = flood(landscape, cores, within=(cores > 0) | (borders > 255 * CELL_BORDER))
    cells = _pieces(_cores(cells) > 0)
    cells = _pieces(remove_small(cells, sizes.min_cell_px) > 0)
    inside = _pieces((cells > 0) & (nuclei > 0))
    return np.where(remove_small(inside, sizes.min_nucleus_px) > 0, cells, 0), cells


def exact_nuclei(nuclei_pred: Plane, sizes: LabelSizes, *, unit: int) -> Labels:
    """Nuclei alone.

    Parameters
    ----------
    nuclei_pred
        (H, W, 3) uint8: unused, borders and interiors, in 255ths.
    sizes
        In pixels of the prediction.
    unit
        What the thresholds are in: 255 if they are probabilities; 1 if they are 255ths themselves, so that
        anything above 0 exceeds them.

    Returns
    -------
    (H, W) int32.
    """
    borders, interiors = nuclei_pred[..., 1], nuclei_pred[..., 2]
    free = (interiors > SEED * unit) & (borders <= NUCLEUS_BORDER * unit)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    seeds = _pieces(cv2.erode(free.astype(np.uint8), cross) > 0)
    mask = _filled(interiors > NUCLEUS * unit, sizes.max_hole_px)
    nuclei = _parted(seeds, mask)
    return pieces_of_ids(remove_small(nuclei, sizes.min_nucleus_px))


def _nuclei_with_cells(nuclei_pred: Plane, cell_pred: Plane, sizes: LabelSizes) -> Labels:
    """The nuclei that cells grow from; a border between cells parts them as one between nuclei does."""
    borders = nuclei_pred[..., 1].astype(np.int32) + cell_pred[..., 1]
    interiors = nuclei_pred[..., 2]
    free = (interiors > 255 * SEED) & (borders < 255 * SEED_BORDER)
    seeds = ndimage.label(_large(free, sizes.min_seed_px))[0]
    mask = _large(_filled(interiors > 255 * NUCLEUS, sizes.max_hole_px), sizes.min_speck_px)
    return pieces_of_ids(remove_small(_parted(seeds, mask), sizes.min_nucleus_px))


def _parted(seeds: Labels, mask: Mask) -> Labels:
    """`mask` by the nearest of `seeds` on a way through it, with a line of 0 where two meet."""
    parted: Labels = watershed(mask.astype(np.uint8), seeds, mask=mask, watershed_line=True)
    return parted


def _cores(labels: Labels) -> Labels:
    """Pieces without their outermost pixels, holes and all that they enclose filled."""
    rim = np.zeros(labels.shape, dtype=np.bool_)
    for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = labels[here] != labels[there]
        rim[here] |= differ
        rim[there] |= differ
    cores: Labels = ndimage.label(ndimage.binary_fill_holes((labels > 0) & ~rim))[0]
    return cores


def _pieces(mask: Mask) -> Labels:
    """The 8-connected pieces of a mask, numbered from the top."""
    return pieces_of_ids(mask.astype(np.int32))


def _large(mask: Mask, min_area_px: float) -> Mask:
    """Its 4-connected pieces of at least that area."""
    return remove_small(ndimage.label(mask)[0], min_area_px) > 0


def _filled(mask: Mask, max_hole_px: float) -> Mask:
    """With the gaps smaller than that, also those at the edge of the image."""
    return ~_large(~mask, max_hole_px)
