from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import flood
from hpa_cells.segmentation.watershed_cut import watershed_cut

Pixel = tuple[int, int]


def slow_twin(
    landscape: NDArray[np.float32], markers: NDArray[np.int32], within: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Each pixel to its lowest neighbour; then Kruskal's tree over the saddles, the lowest first."""
    wet = {(int(y), int(x)) for y, x in zip(*np.nonzero(within), strict=True)}
    marker = {each: int(markers[each]) for each in wet if markers[each]}
    root: dict[object, object] = {}

    def find(each: object) -> object:
        while root.setdefault(each, each) != each:
            each = root[each]
        return each

    for y, x in wet - marker.keys():
        around = [each for each in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)) if each in wet]
        lowest = min(around, key=landscape.__getitem__, default=(y, x))
        if landscape[lowest] < landscape[y, x]:
            root[y, x] = lowest
    root |= marker
    has_marker = {cell_id: cell_id for cell_id in marker.values()}
    across = [(each, (each[0], each[1] + 1)) for each in sorted(wet)]
    down = [(each, (each[0] + 1, each[1])) for each in sorted(wet)]
    pairs = [pair for pair in across + down if pair[1] in wet]
    for one, other in sorted(pairs, key=lambda pair: max(landscape[pair[0]], landscape[pair[1]])):
        a, b = find(one), find(other)
        if a == b or (a in has_marker and b in has_marker):
            continue
        if b in has_marker:
            a, b = b, a
        root[b] = a
    found = np.zeros_like(markers)
    for each in wet:
        end = find(each)
        found[each] = has_marker.get(end, 0)  # type: ignore[call-overload]
    return found


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 5, 1000]),
    st.booleans(),
)
@settings(deadline=None, max_examples=400)
def test_agrees_with_the_slow_twin(
    shape: tuple[int, int], seed: int, num_levels: int, is_negative: bool
) -> None:
    rng = np.random.default_rng(seed)
    landscape = rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    landscape *= -0.01 if is_negative else 0.01
    markers = np.where(rng.random(shape) < 0.1, rng.integers(1, num_levels, shape), 0).astype(np.int32)
    within = rng.random(shape) < 0.8
    np.testing.assert_array_equal(
        watershed_cut(landscape, markers, within=within), slow_twin(landscape, markers, within)
    )


def smooth(side: int, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), dtype=np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_on_a_smooth_landscape_it_is_the_flood(seed: int) -> None:
    landscape, rng = smooth(200, seed), np.random.default_rng(seed)
    markers = np.zeros(landscape.shape, dtype=np.int32)
    markers[tuple(rng.integers(0, 200, (2, 40)))] = 1 + rng.permutation(40).astype(np.int32)
    within = smooth(200, seed + 100) < 0.05
    cut, flooded = watershed_cut(landscape, markers, within=within), flood(landscape, markers, within=within)
    np.testing.assert_array_equal(cut > 0, flooded > 0)
    assert (cut != flooded).mean() < 0.01


def test_a_plateau_is_shared_out_by_the_distance_to_markers() -> None:
    landscape, within = np.zeros((20, 30), dtype=np.float32), np.ones((20, 30), dtype=np.bool_)
    within[:, 20] = False
    markers = np.zeros((20, 30), dtype=np.int32)
    markers[3, 4], markers[15, 8] = 70_000, 2
    cut = watershed_cut(landscape, markers, within=within)
    assert not cut[:, 20:].any()
    y, x = np.mgrid[:20, :20]
    nearer_px = np.hypot(y - 15, x - 8) - np.hypot(y - 3, x - 4)
    assert (cut[:, :20][nearer_px > 2] == 70_000).all()
    assert (cut[:, :20][nearer_px < -2] == 2).all()


def test_markers_outside_are_not_seen_and_touching_ones_stay() -> None:
    landscape = np.array([[3, 2, 1, 2, 3]], dtype=np.float32)
    markers = np.array([[9, 0, 0, 4, 5]], dtype=np.int32)
    within = np.array([[False, True, True, True, True]])
    assert watershed_cut(landscape, markers, within=within).tolist() == [[0, 4, 4, 4, 5]]


def test_nothing_to_fill() -> None:
    landscape, markers = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int32)
    for within in (np.zeros((2, 3), np.bool_), np.ones((2, 3), np.bool_)):
        assert not watershed_cut(landscape, markers, within=within).any()
