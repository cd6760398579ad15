"""Outlines of masks: exact, valid, and the way back."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw

from hpa_cells.masks import (
    Polygon,
    decode_counts,
    encode_labels,
    fill_polygons,
    pairwise_iou,
    simplified,
    trace_masks,
)

Mask: TypeAlias = NDArray[np.bool_]

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
LABELS = SHAPES.flatmap(lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2)))
PINCHED = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.int32)


def outlines(labels: NDArray[np.int32]) -> dict[int, list[Polygon]]:
    ids, counts = encode_labels(labels)
    polygons = trace_masks(counts, *labels.shape).polygons()
    return dict(zip(ids.tolist(), polygons, strict=True))


def as_shapely(polygons: list[Polygon]) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([(polygon[0], polygon[1:]) for polygon in polygons])


def of_pixels(mask: Mask) -> shapely.Geometry:
    """The slow, obvious way: a square a pixel, all joined."""
    return shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(mask)])


def all_rings(polygons: list[Polygon]) -> list[NDArray[np.int32]]:
    return [ring for polygon in polygons for ring in polygon]


def check(labels: NDArray[np.int32]) -> None:
    for cell_id, polygons in outlines(labels).items():
        mask, found = labels == cell_id, as_shapely(polygons)
        assert found.is_valid, shapely.is_valid_reason(found)
        assert found.area == mask.sum()
        assert found.equals(of_pixels(mask))
        # A polygon each part that hangs together by edges; shells turn left and holes right, as RFC 7946 has it.
        assert len(polygons) == ndimage.label(mask)[1]
        for polygon in found.geoms:
            assert polygon.exterior.is_ccw
            assert not any(hole.is_ccw for hole in polygon.interiors)
        for ring in all_rings(polygons):
            assert ring.dtype == np.int32
            assert ring[0].tolist() == ring[-1].tolist()
            # Only corners: each edge is along the other axis than the one before.
            steps = np.diff(ring, axis=0) != 0
            assert (steps.sum(axis=1) == 1).all()
            assert (steps[1:, 0] != steps[:-1, 0]).all()


@given(LABELS)
def test_outlines_are_the_joined_squares_of_the_pixels(labels: NDArray[np.int32]) -> None:
    check(labels)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(
    "rows",
    [
        ["1"],
        ["11", "11"],
        ["10", "01"],
        ["01", "10"],
        ["111", "101", "111"],
        ["111", "101", "110"],
        ["11110", "10101", "11111"],
        ["11111", "10101", "11011", "10101", "11111"],
        ["1111111", "1000001", "1011101", "1010101", "1011101", "1000001", "1111111"],
        ["0110", "1001", "1001", "0110"],
    ],
)
def test_shapes_that_touch_themselves(rows: list[str], turns: int) -> None:
    check(np.rot90(np.array([list(row) for row in rows]).astype(np.int32), turns))


def test_a_part_that_touches_itself_has_a_hole() -> None:
    """Without the split its ring would pass through (2, 2) twice."""
    [polygon] = outlines(PINCHED)[1]
    assert [len(ring) for ring in polygon] == [7, 5]
    assert sum([2, 2] in ring.tolist() for ring in polygon) == 2


def test_a_mask_over_the_whole_field_and_one_without_pixels() -> None:
    whole, none = b"0" + encode_labels(np.ones((3, 4), np.int32))[1][0][1:], b"<"
    assert decode_counts(none, 3, 4).sum() == 0
    found = trace_masks([none, whole, none], 3, 4)
    assert [len(each) for each in found.polygons()] == [0, 1, 0]
    assert found.polygon_masks.tolist() == [1]
    assert sorted(map(tuple, found.points[:-1].tolist())) == [(0, 0), (0, 3), (4, 0), (4, 3)]
    assert list(trace_masks([], 3, 4).polygons()) == []
    assert list(trace_masks([none], 3, 4).polygons()) == [[]]


def test_masks_may_overlap() -> None:
    first, second = np.zeros((2, 6, 7), np.int32)
    first[1:4, 1:5], second[2:6, 3:7] = 1, 1
    counts = [encode_labels(each)[1][0] for each in (first, second)]
    areas = [as_shapely(each).area for each in trace_masks(counts, 6, 7).polygons()]
    assert areas == [12, 16]


def test_counts_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="Mask 0 covers 12 px"):
        trace_masks([b"<"], 3, 5)


@given(LABELS)
def test_filling_is_the_way_back(labels: NDArray[np.int32]) -> None:
    counts = encode_labels(labels)[1]
    rings = [all_rings(each) for each in outlines(labels).values()]
    assert fill_polygons(rings, *labels.shape) == counts
    # Open rings, and turned the other way, are the same to it.
    assert fill_polygons([[ring[:0:-1] for ring in each] for each in rings], *labels.shape) == counts


def slow_fill(polygons: list[NDArray[np.float64]], height: int, width: int) -> Mask:
    """Each centre asked of shapely; a ring in a ring is a hole."""
    filled = np.zeros((height, width), dtype=np.bool_)
    for ring in polygons:
        polygon = shapely.Polygon(ring)
        y, x = np.indices((height, width)) + 0.5
        filled ^= shapely.contains_xy(polygon, x, y)
    return filled


@given(st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), min_size=3, max_size=3))
def test_filling_triangles_as_shapely_does(corners: list[tuple[float, float]]) -> None:
    ring = np.array(corners)
    centres = shapely.points(*(np.indices((9, 8))[::-1].reshape(2, -1) + 0.5))
    # What a centre on an edge is, and a triangle without an area, is said elsewhere.
    if shapely.Polygon(ring).area < 1e-3 or shapely.distance(shapely.LinearRing(ring), centres).min() < 1e-6:
        return
    [counts] = fill_polygons([[ring]], 9, 8)
    filled = decode_counts(counts, 9, 8) if counts else np.zeros((9, 8), dtype=np.bool_)
    np.testing.assert_array_equal(filled, slow_fill([ring], 9, 8))


def test_neighbours_with_a_common_edge_share_no_pixel_and_leave_none_out() -> None:
    corners = np.array([[0, 0], [8, 0], [8, 8], [0, 8]])
    middle = np.array([3.5, 4.5])
    wedges = [[np.array([a, b, middle])] for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    masks = [decode_counts(each, 8, 8) for each in fill_polygons(wedges, 8, 8)]
    np.testing.assert_array_equal(np.sum(masks, axis=0), np.ones((8, 8)))


def test_filling_cuts_off_what_is_outside() -> None:
    far = np.array([[-5, -5], [100, -5], [100, 100], [-5, 100]])
    away = far + 200
    assert fill_polygons([[far], [away], []], 3, 4) == [b"0<", b"", b""]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_corners_that_are_no_places(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        fill_polygons([[np.array([[0, 0], [value, 0], [1, 1]])]], 3, 4)


def test_polygons_made_to_fill_the_memory() -> None:
    zigzag = np.tile([[0, 0], [32768, 1]], (2000, 1))
    with pytest.raises(ValueError, match="cross 131,072,000 columns"):
        fill_polygons([[zigzag]], 32768, 32768)


def test_opencv_and_skimage_fill_them_alike() -> None:
    """Both take pixels on the outline for inside: moved to the centres of the outermost pixels, they agree."""
    labels = cells(60, 90, 7, seed=1)
    for cell_id, polygons in outlines(labels).items():
        mask = labels == cell_id
        if len(all_rings(polygons)) > 1:
            continue
        ring = polygons[0][0][:-1]
        by_skimage = draw.polygon2mask(labels.shape, ring[:, ::-1] - 0.5)
        on_edge = mask ^ by_skimage
        assert on_edge.sum() <= 0.01 * mask.sum()
        # In sixteenths of a pixel, with pixel centres at whole numbers, a little inside of the edges.
        middle = ring.mean(axis=0)
        inner = np.round(16 * (ring - 0.5) + np.sign(middle - ring)).astype(np.int32)
        filled = cv2.fillPoly(np.zeros(labels.shape, np.uint8), [inner], 1, shift=4)
        assert (filled.astype(bool) & mask).sum() >= 0.99 * mask.sum()


def cells(height: int, width: int, number: int, seed: int) -> NDArray[np.int32]:
    """Round cells that touch, with ids that have gaps and go beyond 8 and 16 bit."""
    rng = np.random.default_rng(seed)
    middles = rng.uniform(0, 1, (number, 2)) * (height, width)
    y, x = np.indices((height, width))
    distances = np.stack([np.hypot(y - row, x - column) for row, column in middles])
    nearest = distances.argmin(axis=0)
    ids = np.where(nearest < number // 2, nearest + 3, 70_000 + 9 * nearest)
    return np.where(distances.min(axis=0) < 0.7 * np.sqrt(height * width / number), ids, 0).astype(np.int32)


@pytest.mark.parametrize("tolerance_px", [0.5, 1.0, 3.0])
def test_simplified_outlines_are_valid_and_near(tolerance_px: float) -> None:
    labels = cells(200, 300, 12, seed=2)
    counts = encode_labels(labels)[1]
    exact = list(outlines(labels).values())
    fewer = [simplified(each, tolerance_px) for each in exact]
    for before, after in zip(exact, fewer, strict=True):
        found = as_shapely(after)
        assert found.is_valid
        assert found.hausdorff_distance(as_shapely(before)) <= 1.1 * tolerance_px
    filled = fill_polygons([all_rings(each) for each in fewer], *labels.shape)
    iou = np.diag(pairwise_iou(counts, filled, *labels.shape))
    assert iou.min() > 1 - 0.1 * tolerance_px
    num_points = [sum(map(len, all_rings(each))) for polygons in (exact, fewer) for each in polygons]
    assert sum(num_points[len(exact) :]) < sum(num_points[: len(exact)])


@given(LABELS, st.sampled_from([0.5, 1.0, 2.0]))
def test_simplified_noise_is_valid(labels: NDArray[np.int32], tolerance_px: float) -> None:
    for polygons in outlines(labels).values():
        found = as_shapely(simplified(polygons, tolerance_px))
        assert found.is_valid
        assert len(found.geoms) == len(polygons)
        assert all(each.exterior.is_ccw and not any(h.is_ccw for h in each.interiors) for each in found.geoms)


def test_no_tolerance_leaves_outlines_as_they_are() -> None:
    [polygons] = outlines(PINCHED).values()
    assert simplified(polygons, 0.0) is polygons


def test_three_hundred_cells_and_real_ids() -> None:
    labels = cells(210, 150, 300, seed=3)
    found = outlines(labels)
    assert len(found) == len(np.unique(labels)) - 1 > 255
    assert max(found) > 65_535
    for cell_id, polygons in found.items():
        assert as_shapely(polygons).area == (labels == cell_id).sum()
