from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from hpa_cells.segmentation.hpacellseg.label_pieces import (
    fill_small_gaps,
    flood_from,
    keep_large,
    pieces,
    pieces_of_ids,
    spread_from,
    whole_pieces,
)
from hpa_cells.segmentation.postprocessing import flood

shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
masks = arrays(np.bool_, shapes)
label_images = arrays(np.int32, shapes, elements=st.sampled_from([0, 0, 1, 2, 5, 300]))
SQUARE = np.ones((3, 3))


def same_parts(labels: NDArray[np.int32], others: NDArray[np.int32]) -> bool:
    """Whether two label images differ in their ids at most."""
    pairs = set(zip(labels.ravel().tolist(), others.ravel().tolist(), strict=True))
    ones, twos = zip(*pairs, strict=True)
    return len(pairs) == len(set(ones)) == len(set(twos)) and all((a == 0) == (b == 0) for a, b in pairs)


@given(masks, st.sampled_from([4, 8]))
def test_pieces_are_those_of_scipy(mask: NDArray[np.bool_], connectivity: int) -> None:
    expected, _ = ndimage.label(mask, structure=SQUARE if connectivity == 8 else None)
    assert same_parts(pieces(mask, connectivity=connectivity), expected)


@given(label_images)
def test_pieces_of_ids_are_found_id_by_id(labels: NDArray[np.int32]) -> None:
    expected, num_pieces = np.zeros_like(labels), 0
    for cell_id in set(labels.ravel().tolist()) - {0}:
        parts, num_parts = ndimage.label(labels == cell_id, structure=SQUARE)
        expected[parts > 0] = parts[parts > 0] + num_pieces
        num_pieces += num_parts
    assert same_parts(pieces_of_ids(labels), expected)


@given(label_images, st.floats(0.1, 10))
def test_large_ones_are_counted_one_by_one(labels: NDArray[np.int32], min_area_px: float) -> None:
    expected = np.zeros_like(labels)
    number = 0
    for cell_id in sorted(set(labels.ravel().tolist()) - {0}):
        if np.count_nonzero(labels == cell_id) >= min_area_px:
            number += 1
            expected[labels == cell_id] = number
    np.testing.assert_array_equal(keep_large(labels, min_area_px), expected)


@given(masks, st.floats(0, 10))
def test_gaps_are_filled_one_by_one(mask: NDArray[np.bool_], area_px: float) -> None:
    expected = mask.copy()
    gaps, num_gaps = ndimage.label(~mask)
    for gap in range(1, num_gaps + 1):
        if np.count_nonzero(gaps == gap) < area_px:
            expected[gaps == gap] = True
    np.testing.assert_array_equal(fill_small_gaps(mask, area_px), expected)


@given(label_images, st.randoms(use_true_random=False))
def test_a_flood_from_the_shore_is_that_of_all(labels: NDArray[np.int32], random: object) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    within = rng.random(labels.shape) < 0.7
    # All heights differ: where floods meet at one time, either may win.
    landscape = rng.permutation(labels.size).reshape(labels.shape).astype(np.float32)
    expected = flood(landscape, labels, within=within)
    np.testing.assert_array_equal(flood_from(labels, landscape, within=within), expected)


@given(label_images, st.randoms(use_true_random=False))
def test_what_spreads_goes_to_a_nearest_seed(labels: NDArray[np.int32], random: object) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    within = rng.random(labels.shape) < 0.7
    spread = spread_from(labels, within=within)
    steps_to = {
        cell_id: steps_through(within, (labels == cell_id) & within)
        for cell_id in set(labels.ravel().tolist()) - {0}
    }
    fewest = np.min([np.full(labels.shape, np.inf), *steps_to.values()], axis=0)
    np.testing.assert_array_equal(spread > 0, np.isfinite(fewest))
    for cell_id, steps in steps_to.items():
        assert (steps == fewest)[spread == cell_id].all()
    np.testing.assert_array_equal(spread[within & (labels > 0)], labels[within & (labels > 0)])


def steps_through(within: NDArray[np.bool_], start: NDArray[np.bool_]) -> NDArray[np.float64]:
    steps = np.where(start, 0.0, np.inf)
    for step in range(1, within.size):
        reached = ndimage.binary_dilation(steps < step) & within
        steps[reached & np.isinf(steps)] = step
    return steps


def test_what_spreads_goes_around_corners() -> None:
    within = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1]], dtype=np.bool_)
    seeds = np.zeros((3, 3), dtype=np.int32)
    seeds[0, 0] = 300
    np.testing.assert_array_equal(spread_from(seeds, within=within), np.where(within, 300, 0))


@given(label_images)
def test_whole_pieces_are_filled_one_by_one(labels: NDArray[np.int32]) -> None:
    filled = []
    for cell_id in set(labels.ravel().tolist()) - {0}:
        parts, num_parts = ndimage.label(labels == cell_id)
        filled += [ndimage.binary_fill_holes(np.asarray(parts == part)) for part in range(1, num_parts + 1)]
    expected = np.zeros_like(labels)
    for number, whole in enumerate(sorted(filled, key=np.count_nonzero), start=1):
        expected[whole] = number
    assert same_parts(whole_pieces(labels), expected)


@given(label_images)
def test_whole_pieces_are_numbered_from_the_top(labels: NDArray[np.int32]) -> None:
    numbers = whole_pieces(labels).ravel()
    _, first = np.unique(numbers[numbers > 0], return_index=True)
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize("num_cells", [255, 256, 257, 70_000])
def test_many_pieces_stay_apart(num_cells: int) -> None:
    labels = np.zeros((530, 530), dtype=np.int32)
    row, column = np.divmod(np.arange(num_cells), 265)
    labels[2 * row, 2 * column] = np.arange(1, num_cells + 1)
    assert keep_large(labels, 1).max() == num_cells
    assert pieces(labels > 0).max() == num_cells


def test_pieces_are_drawn_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of OpenCV copies all outlines that it is handed: the time would grow with their square."""
    num_handed: list[int] = []
    draw = cv2.drawContours

    def counted(image: NDArray[np.int32], outlines: list[NDArray[np.int32]], *others: int) -> None:
        num_handed.append(len(outlines))
        draw(image, outlines, *others)

    monkeypatch.setattr(cv2, "drawContours", counted)
    labels = np.zeros((40, 60), dtype=np.int32)
    labels[::2, ::2] = np.arange(1, 601).reshape(20, 30)
    np.testing.assert_array_equal(whole_pieces(labels), labels)
    assert num_handed == [1] * 600
