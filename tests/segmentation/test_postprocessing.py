from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from hpa_cells.segmentation.postprocessing import (
    disk,
    fill_gaps,
    fill_holes,
    flood,
    keep_pieces,
    relabel,
    remove_small,
    spread,
)

shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
masks = arrays(np.bool_, shapes)
label_images = arrays(np.int32, shapes, elements=st.sampled_from([0, 0, 1, 2, 5, 300]))


@given(masks)
def test_all_holes_filled_is_what_scipy_fills(mask: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(fill_holes(mask, mask.size), ndimage.binary_fill_holes(mask))


@given(masks)
def test_no_hole_is_smaller_than_a_pixel(mask: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(fill_holes(mask, 0.5), mask)


def test_only_small_holes_are_filled() -> None:
    mask = np.ones((10, 20), dtype=np.bool_)
    mask[2:4, 2:4] = mask[2:6, 10:16] = False
    filled = fill_holes(mask, 4)
    assert filled[2:4, 2:4].all()
    assert not filled[2:6, 10:16].any()


def test_gaps_go_to_the_nearest_cell() -> None:
    labels = np.full((7, 12), 3, dtype=np.int32)
    labels[:, 6:] = 70_000
    labels[3, 4:8] = 0
    np.testing.assert_array_equal(fill_gaps(labels, 4)[3], [3] * 6 + [70_000] * 6)
    np.testing.assert_array_equal(fill_gaps(labels, 3), labels)


@given(arrays(np.int32, shapes, elements=st.sampled_from([0, 1, 1, 2, 2, 300])), st.integers(1, 60))
def test_each_gap_is_filled_as_if_all_were_at_once(labels: NDArray[np.int32], max_area_px: int) -> None:
    is_gap = fill_holes(labels > 0, max_area_px) & (labels == 0)
    expected = np.where(is_gap, spread(labels)[0], labels) if is_gap.any() else labels
    np.testing.assert_array_equal(fill_gaps(labels, max_area_px), expected)


@given(label_images, st.integers(0, 10))
def test_small_cells_are_those_of_few_pixels(labels: NDArray[np.int32], min_area_px: int) -> None:
    expected = labels.copy()
    for cell_id in np.unique(labels):
        if np.count_nonzero(labels == cell_id) < min_area_px:
            expected[labels == cell_id] = 0
    np.testing.assert_array_equal(remove_small(labels, min_area_px), expected)


@given(label_images, st.randoms(use_true_random=False))
def test_pieces_with_a_seed_are_kept(labels: NDArray[np.int32], random: object) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    seeds = np.where(rng.random(labels.shape) < 0.2, labels, 0).astype(np.int32)
    expected = np.zeros_like(labels)
    for cell_id in np.unique(labels[labels > 0]):
        pieces, num_pieces = ndimage.label(labels == cell_id)
        for piece in range(1, num_pieces + 1):
            if (seeds[pieces == piece] == cell_id).any():
                expected[pieces == piece] = cell_id
    np.testing.assert_array_equal(keep_pieces(labels, seeds), expected)


@given(label_images, label_images)
def test_relabelling_keeps_the_order_of_ids(labels: NDArray[np.int32], other: NDArray[np.int32]) -> None:
    numbered, other_numbered = relabel(labels, other)
    ids = sorted(set(labels.ravel()) - {0})
    for number, cell_id in enumerate(ids, start=1):
        np.testing.assert_array_equal(numbered == number, labels == cell_id)
        np.testing.assert_array_equal(other_numbered == number, other == cell_id)
    assert numbered.max(initial=0) == len(ids)
    assert other_numbered.max(initial=0) <= len(ids)


@given(label_images)
def test_the_nearest_id_is_as_near_as_any(labels: NDArray[np.int32]) -> None:
    if not labels.any():
        labels[0, 0] = 9
    nearest, distance_px = spread(labels)
    exact = ndimage.distance_transform_edt(labels == 0)
    np.testing.assert_allclose(distance_px, exact, rtol=0.03)
    for row, column in np.ndindex(labels.shape):
        at = np.argwhere(labels == nearest[row, column])
        assert np.hypot(*(at - (row, column)).T).min() <= 1.03 * exact[row, column]


def test_a_flood_meets_on_the_ridge() -> None:
    landscape = np.array([[0, 1, 2, 3, 2, 1, 0]] * 3, dtype=np.float32)
    markers = np.zeros((3, 7), dtype=np.int32)
    markers[1, 0], markers[1, 6] = 4, 2
    flooded = flood(landscape, markers)
    assert (flooded[:, :3] == 4).all()
    assert (flooded[:, 4:] == 2).all()
    within = np.ones((3, 7), dtype=np.bool_)
    within[:, 3] = False
    assert not flood(landscape, markers, within=within)[:, 3].any()


@pytest.mark.parametrize("radius_px", [0.0, 0.7, 1.0, 2.5, 6.0])
def test_a_disk_is_round(radius_px: float) -> None:
    y, x = np.nonzero(disk(radius_px))
    middle = disk(radius_px).shape[0] // 2
    assert np.hypot(y - middle, x - middle).max() <= radius_px
    assert len(y) == sum(np.hypot(i, j) <= radius_px for i in range(-9, 10) for j in range(-9, 10))
