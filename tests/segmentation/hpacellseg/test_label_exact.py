from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import closing, disk
from skimage.segmentation import find_boundaries, watershed

from hpa_cells.segmentation.hpacellseg.label_exact import exact_cells, exact_nuclei
from hpa_cells.segmentation.hpacellseg.label_thresholds import LabelSizes

FOLDER = Path(__file__).parent
MADE_UP = run_path(str(FOLDER / "made_up_predictions.py"))
PUBLISHED = LabelSizes.at(0.08)

Labels = NDArray[np.int32]


@pytest.mark.parametrize("case", range(3))
def test_labels_are_those_of_the_original(case: int) -> None:
    recorded = cv2.imread(str(FOLDER / "recorded_labels.png"), cv2.IMREAD_UNCHANGED)
    nuclei, cells, nuclei_alone = np.hsplit(np.vsplit(recorded, 3)[case], 3)
    nuclei_pred, cell_pred = MADE_UP["made_up_predictions"](**MADE_UP["RECORDED_CASES"][case])
    our_nuclei, our_cells = exact_cells(nuclei_pred, cell_pred, PUBLISHED)
    np.testing.assert_array_equal(our_cells, cells)
    np.testing.assert_array_equal(our_nuclei, nuclei)
    np.testing.assert_array_equal(exact_nuclei(nuclei_pred, PUBLISHED, unit=1), nuclei_alone)
    assert len(np.unique(cells)) > 4


@pytest.mark.parametrize("seed", range(6))
def test_labels_are_those_of_the_plain_method(seed: int) -> None:
    nuclei_pred, cell_pred = noisy_predictions(seed)
    sizes = LabelSizes.at(0.4)
    nuclei, cells = exact_cells(nuclei_pred, cell_pred, sizes)
    plain_nuclei, plain_cells = plainly_labelled_cells(nuclei_pred, cell_pred, sizes)
    np.testing.assert_array_equal(cells, plain_cells)
    np.testing.assert_array_equal(nuclei, plain_nuclei)
    assert cells.max() > 3
    for unit in (1, 255):
        expected = plainly_labelled_nuclei(nuclei_pred, sizes, unit)
        np.testing.assert_array_equal(exact_nuclei(nuclei_pred, sizes, unit=unit), expected)


def noisy_predictions(seed: int) -> Any:
    """Nuclei and cells, of every third seed clear, else under smooth noise as no network would give it."""
    rng = np.random.default_rng(seed)
    predictions = MADE_UP["made_up_predictions"](120, 170, spacing_px=24.0 + 3 * seed, phase=float(seed))
    for prediction in predictions:
        noise = ndimage.gaussian_filter(rng.standard_normal(prediction.shape), (2, 2, 0))
        yield np.clip(prediction + 100 * noise / noise.std() * (seed % 3) / 2, 0, 255).astype(np.uint8)


def plainly_labelled_cells(nuclei_pred: Any, cell_pred: Any, sizes: LabelSizes) -> tuple[Labels, Labels]:
    nucleus, nucleus_border = nuclei_pred[..., 2] / 255, nuclei_pred[..., 1] / 255
    cell, cell_border = cell_pred[..., 2] / 255, cell_pred[..., 1] / 255

    seeds = (nucleus > 0.15) & (nucleus_border + cell_border < 0.95)
    markers, _ = ndimage.label(large_only(seeds, sizes.min_seed_px))
    mask = ~large_only(~(nucleus > 0.4), sizes.max_hole_px)
    mask = large_only(mask, sizes.min_speck_px)
    nuclei = watershed(mask, markers, mask=mask, watershed_line=True)
    nuclei = label(without_small_ids(nuclei, sizes.min_nucleus_px))

    threshold = max(0.22, threshold_otsu(cell) / 2)
    cells = without_small_ids(watershed(-cell, nuclei, mask=cell > threshold), sizes.min_cell_px)
    cells = without_rims(closing(cells, disk(int(sizes.closing_px))))
    cells = without_rims(watershed(-cell, cells, mask=(cells > 0) | (cell_border > 0.05)))
    cells = label(without_small_ids(label(cells > 0), sizes.min_cell_px))

    inside = without_small_ids(label((cells > 0) & (nuclei > 0)), sizes.min_nucleus_px)
    return cells * (inside > 0), cells


def plainly_labelled_nuclei(nuclei_pred: Any, sizes: LabelSizes, unit: int) -> Labels:
    border, nucleus = nuclei_pred[..., 1] / unit, nuclei_pred[..., 2] / unit
    markers = label(ndimage.binary_erosion((nucleus > 0.15) & (border <= 0.05), border_value=1))
    mask = ~large_only(~(nucleus > 0.4), sizes.max_hole_px)
    parted = watershed(mask, markers, mask=mask, watershed_line=True)
    labelled: Labels = label(without_small_ids(parted, sizes.min_nucleus_px))
    return labelled


def without_rims(cells: Labels) -> Labels:
    """Each cell without its outermost pixels, and filled."""
    cores: Labels = ndimage.label(ndimage.binary_fill_holes((cells > 0) & ~find_boundaries(cells)))[0]
    return cores


def large_only(mask: NDArray[np.bool_], min_area_px: float) -> NDArray[np.bool_]:
    kept = np.zeros_like(mask)
    parts, num_parts = ndimage.label(mask)
    for part in range(1, num_parts + 1):
        if np.count_nonzero(parts == part) >= min_area_px:
            kept |= parts == part
    return kept


def without_small_ids(labels: Labels, min_area_px: float) -> Labels:
    kept = labels.copy()
    for cell_id in np.unique(labels):
        if np.count_nonzero(labels == cell_id) < min_area_px:
            kept[labels == cell_id] = 0
    return kept
