from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa_cells.simulation import CELL_LINES, RealLayout, Recipe, Variety, simulate_field, vary
from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.simulation.tracing import trace_anatomy

CANVAS = Canvas(height_px=220, width_px=260, pixel_size_um=0.4)


@pytest.fixture(scope="module")
def masks() -> tuple[np.ndarray, np.ndarray]:
    """Simulated masks that play the real ones: ids with gaps, lines of background between cells that touch."""
    recipe = Recipe(height_px=500, width_px=400, pixel_size_um=0.2, cell_lines=["A-431"], crowding=1.6)
    segmentation = simulate_field(recipe, 1).segmentation
    cells, nuclei = 300 * segmentation.cells, 300 * segmentation.nuclei
    lowest = cv2.erode(cells.astype(np.float32), np.ones((3, 3)))
    cells[(lowest != cells) & (lowest > 0)] = 0
    return cells.astype(np.int32), np.where(cells > 0, nuclei, 0).astype(np.int32)


def trace(
    masks: tuple[np.ndarray, np.ndarray], seed: int, *, paired: bool, binucleated: float = 0.0
) -> Anatomy:
    given = RealLayout(cells=masks[0], nuclei=masks[1] if paired else None, pixel_size_um=0.2)
    rng = np.random.default_rng(seed)
    return trace_anatomy(CANVAS, given, CELL_LINES["A-431"], rng, binucleated_share=binucleated)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_cells_are_the_given_ones_and_nuclei_are_inside(
    masks: tuple[np.ndarray, np.ndarray], seed: int, paired: bool
) -> None:
    anatomy = trace(masks, seed, paired=paired)
    assert anatomy.cells.shape == anatomy.nuclei.shape == CANVAS.shape
    inside = anatomy.nuclei > 0
    np.testing.assert_array_equal(anatomy.nuclei[inside], anatomy.cells[inside])
    assert anatomy.cells.max() <= anatomy.num_cells == len(anatomy.layout.radii_um)
    largest_um2 = np.bincount(anatomy.cells.ravel())[1:].max() * CANVAS.pixel_size_um**2
    given_um2 = np.bincount(masks[0].ravel())[1:].max() * 0.2**2
    assert 0.4 * given_um2 < largest_um2 < 1.8 * given_um2
    share = (anatomy.cells > 0).mean()
    assert share == pytest.approx((masks[0] > 0).mean(), abs=0.2)


def test_every_cell_in_full_view_has_a_nucleus_of_a_plausible_size(
    masks: tuple[np.ndarray, np.ndarray],
) -> None:
    anatomy = trace(masks, 0, paired=False)
    edge = np.ones(CANVAS.shape, dtype=bool)
    edge[1:-1, 1:-1] = False
    whole = np.setdiff1d(np.unique(anatomy.cells), np.append(anatomy.cells[edge], 0))
    assert len(whole) > 5
    for cell in whole:
        share = (anatomy.nuclei == cell).sum() / (anatomy.cells == cell).sum()
        assert 0.05 < share < 0.75, cell


def test_cells_that_touch_have_no_line_of_background_between_them(
    masks: tuple[np.ndarray, np.ndarray],
) -> None:
    cells = trace(masks, 3, paired=False).cells
    touching = (cells[:, 1:] != cells[:, :-1]) & (cells[:, 1:] > 0) & (cells[:, :-1] > 0)
    single = (cells[:, 1:-1] == 0) & (cells[:, :-2] > 0) & (cells[:, 2:] > 0)
    assert touching.sum() > 20 * max(int(single.sum()), 1)


def test_two_nuclei_are_in_as_many_cells_as_asked_for(masks: tuple[np.ndarray, np.ndarray]) -> None:
    owners = trace(masks, 0, paired=False, binucleated=1.0).layout.nuclei.owners
    np.testing.assert_array_equal(np.bincount(owners)[1:], 2)


def test_a_layout_without_cells_is_an_empty_field() -> None:
    given = RealLayout(cells=np.zeros((90, 70), dtype=np.int32), nuclei=None, pixel_size_um=1.0)
    anatomy = trace_anatomy(CANVAS, given, CELL_LINES["BJ"], np.random.default_rng(0), binucleated_share=0.1)
    assert anatomy.num_cells == 0
    assert not anatomy.cells.any()


def test_real_masks_become_fields(real_data: Path) -> None:
    paths = sorted((real_data / "cell_labels" / "masks").glob("*.png"))[:3]
    layouts = [
        RealLayout(
            cells=cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32),
            nuclei=None,
            pixel_size_um=0.08,
        )
        for path in paths
    ]
    variety = Variety(side_px=256, layout_share=1.0, empty_share=0.0, debris_only_share=0.0)
    for index in range(4):
        segmentation = vary(variety, index, layouts).segmentation
        assert 1 <= len(segmentation.cell_ids) < 40
        assert (segmentation.nuclei[segmentation.nuclei > 0] > 0).any()
