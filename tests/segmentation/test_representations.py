from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation.representations import REPRESENTATIONS, Representation
from hpa_cells.segmentation.representations.distances import _depth_px
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.types import label_ids

UM_PER_PX = 0.32
Labels = NDArray[np.int32]

every_representation = pytest.mark.parametrize(
    "representation", REPRESENTATIONS.values(), ids=REPRESENTATIONS.keys()
)


@pytest.fixture(scope="module")
def truths() -> list[tuple[Labels, Labels]]:
    """Cells and nuclei of simulated fields: crowded, with two nuclei, dividing, cut by the edge."""
    recipe = Recipe(
        height_px=288,
        width_px=352,
        pixel_size_um=UM_PER_PX,
        crowding=1.4,
        binucleated_share=0.2,
        mitotic_share=0.1,
    )
    segmentations = [simulate_field(recipe, index).segmentation for index in range(3)]
    return [(each.cells, each.nuclei) for each in segmentations]


@every_representation
def test_true_maps_give_the_cells_back(
    representation: Representation, truths: list[tuple[Labels, Labels]]
) -> None:
    cell_pairs, nucleus_pairs = [], []
    for cells, nuclei in truths:
        maps = representation.targets(cells, nuclei, um_per_px=UM_PER_PX)
        assert maps.shape == (len(representation.maps), *cells.shape)
        assert maps.dtype == np.float32
        found_cells, found_nuclei = representation.decode(maps, um_per_px=UM_PER_PX)
        cell_pairs.append((found_cells, cells))
        nucleus_pairs.append((found_nuclei, nuclei))
        assert label_ids(found_cells).tolist() == list(range(1, found_cells.max() + 1))
        assert label_ids(found_nuclei).tolist() == label_ids(found_cells).tolist()
        assert (found_cells[found_nuclei > 0] == found_nuclei[found_nuclei > 0]).all()
    # A fifth of the cells has two nuclei; where such a one is narrow, its middle is taken for a frontier.
    assert score_instances(cell_pairs, iou_thresholds=[0.8])["f1"].item() > 0.94
    assert score_instances(nucleus_pairs, iou_thresholds=[0.8])["f1"].item() > 0.94


def test_two_nuclei_of_one_cell_stay_together() -> None:
    cells, nuclei = np.zeros((2, 96, 128), dtype=np.int32)
    cells[20:76, 20:108] = 5
    nuclei[38:58, 30:50] = nuclei[38:58, 78:98] = 5
    for name, representation in REPRESENTATIONS.items():
        maps = representation.targets(cells, nuclei, um_per_px=UM_PER_PX)
        found, _ = representation.decode(maps, um_per_px=UM_PER_PX)
        assert found.max() == 1, name


@every_representation
def test_nuclei_alone(representation: Representation) -> None:
    """What the maps of cells say is of no account, and nuclei may be smaller than a cell."""
    nuclei = np.zeros((160, 200), dtype=np.int32)
    for number, (row, column, radius_px) in enumerate(
        [(40, 40, 20), (40, 78, 20), (100, 120, 25), (130, 30, 8)], 1
    ):
        cv2.circle(nuclei, (column, row), radius_px, number, -1)  # the last has 20 um2
    maps = representation.targets(nuclei, nuclei, um_per_px=UM_PER_PX)
    for index, each in enumerate(representation.maps):
        if each.part == "cells":
            maps[index] = np.random.default_rng(0).random(nuclei.shape)
    cells, found = representation.decode(maps, um_per_px=UM_PER_PX, nuclei_only=True)
    assert score_instances([(found, nuclei)], iou_thresholds=[0.8])["f1"].item() == 1
    assert ((cells > 0) & (found == 0)).mean() < 0.01


@every_representation
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_maps_without_any_structure(representation: Representation, value: float) -> None:
    """Nothing anywhere, and one thing everywhere: no cell, or one at most; whole label images in any case."""
    maps = np.full((len(representation.maps), 70, 90), value, dtype=np.float32)
    cells, nuclei = representation.decode(maps, um_per_px=UM_PER_PX)
    assert cells.shape == nuclei.shape == (70, 90)
    assert cells.dtype == nuclei.dtype == np.int32
    if value == 0:
        assert not cells.any()
        assert not nuclei.any()


@every_representation
def test_noise_is_no_error(representation: Representation) -> None:
    maps = np.random.default_rng(0).normal(0.5, 0.5, (len(representation.maps), 64, 80)).astype(np.float32)
    cells, nuclei = representation.decode(maps, um_per_px=UM_PER_PX)
    assert np.isin(nuclei, cells).all()


@every_representation
def test_an_empty_truth(representation: Representation) -> None:
    empty = np.zeros((48, 64), dtype=np.int32)
    assert not representation.targets(empty, empty, um_per_px=UM_PER_PX).any()


@every_representation
@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, lambda labels: np.rot90(labels, 2)])
def test_a_flipped_truth_gives_flipped_cells(
    representation: Representation, turn: Callable[[Labels], Labels], truths: list[tuple[Labels, Labels]]
) -> None:
    cells, nuclei = truths[0]

    def found(cells: Labels, nuclei: Labels) -> Labels:
        maps = representation.targets(cells, nuclei, um_per_px=UM_PER_PX)
        return representation.decode(maps, um_per_px=UM_PER_PX)[0]

    upright, turned = (
        found(cells, nuclei),
        found(*(np.ascontiguousarray(turn(each)) for each in (cells, nuclei))),
    )
    assert score_instances([(turned, turn(upright))], iou_thresholds=[0.9])["f1"].item() > 0.97


def test_more_cells_than_8_bits_count() -> None:
    cells, nuclei = np.zeros((2, 640, 640), dtype=np.int32)
    number = 0
    for top in range(0, 640, 32):
        for left in range(0, 640, 32):
            number += 1
            cells[top + 2 : top + 30, left + 2 : left + 30] = number
            nuclei[top + 8 : top + 24, left + 8 : left + 24] = number
    for name, representation in REPRESENTATIONS.items():
        maps = representation.targets(cells, nuclei, um_per_px=UM_PER_PX)
        assert representation.decode(maps, um_per_px=UM_PER_PX)[0].max() == 400, name


def depth_by_looking(labels: Labels) -> NDArray[np.float64]:
    """Distance of each pixel to the nearest one at the rim of its object, and 1 there: every pair, one by one."""
    framed = np.pad(labels, 1, mode="edge")
    rim = np.zeros(labels.shape, dtype=bool)
    for y, x in np.argwhere(labels > 0):
        neighbours = framed[y : y + 3, x : x + 3][[0, 1, 1, 2], [1, 0, 2, 1]]
        rim[y, x] = (neighbours != labels[y, x]).any()
    depth = np.full(labels.shape, np.inf)
    others = np.argwhere(rim | (labels == 0))
    for y, x in np.argwhere(labels > 0):
        if len(others):
            depth[y, x] = 1 + np.hypot(*(others - (y, x)).T).min()
    depth[labels == 0] = 0
    return depth


@given(st.integers(0, 2**32 - 1))
def test_depth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, (3, 4)), np.ones((6, 5))).astype(np.int32)
    slow = np.minimum(depth_by_looking(labels), 1e6 + 1)
    np.testing.assert_allclose(_depth_px(labels), slow, rtol=0.05)
