from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.cells import FieldViewSettings, normalise_field, pad_fields, view_field
from hpa_cells.types import Field, FieldView, Segmentation

SETTINGS = FieldViewSettings(um_per_px=0.5, masked=True)


def make(cells: NDArray[np.int32], pixel_size_um: float) -> tuple[Field, Segmentation]:
    image = np.random.default_rng(0).integers(1, 255, (4, *cells.shape), dtype=np.uint8)
    return Field(field_id="f", image=image, pixel_size_um=pixel_size_um), Segmentation(
        field_id="f", cells=cells, nuclei=np.zeros_like(cells), pixel_size_um=pixel_size_um
    )


def blocks(height: int, width: int) -> NDArray[np.int32]:
    cells = np.zeros((height, width), dtype=np.int32)
    cells[4:20, 4:28] = 70_001
    cells[8:30, 30:40] = 5
    return cells


def test_a_field_of_the_scale_is_as_it_is() -> None:
    field, segmentation = make(blocks(40, 56), 0.5)
    view = view_field(field, segmentation, SETTINGS)
    np.testing.assert_array_equal(view.labels, segmentation.cells)
    assert view.cell_ids.tolist() == [5, 70_001]
    assert view.areas_um2.tolist() == [22 * 10 * 0.25, 16 * 24 * 0.25]
    expected = np.where(segmentation.cells > 0, normalise_field(field), 0)
    np.testing.assert_array_equal(view.image, expected)
    unmasked = view_field(field, segmentation, replace(SETTINGS, masked=False))
    np.testing.assert_array_equal(unmasked.image, normalise_field(field))
    assert unmasked.image.dtype == np.uint8


@pytest.mark.parametrize(("pixel_size_um", "shape"), [(0.25, (20, 28)), (0.125, (10, 14)), (1.0, (80, 112))])
def test_all_fields_come_to_one_scale_with_their_ids(pixel_size_um: float, shape: tuple[int, int]) -> None:
    field, segmentation = make(blocks(40, 56), pixel_size_um)
    view = view_field(field, segmentation, replace(SETTINGS, masked=False))
    assert view.labels.shape == shape
    assert view.image.shape == (4, *shape)
    scale = pixel_size_um / 0.5
    for cell_id in (5, 70_001):
        share = (view.labels == cell_id).sum() / (segmentation.cells == cell_id).sum()
        assert share == pytest.approx(scale**2, rel=0.25)
    if scale < 1:
        expected = cv2.resize(
            normalise_field(field).transpose(1, 2, 0), shape[::-1], interpolation=cv2.INTER_AREA
        )
        np.testing.assert_array_equal(view.image, expected.transpose(2, 0, 1))


def test_cells_too_small_for_a_pixel_are_kept() -> None:
    """300 cells of one pixel each, side by side, on a view in which most would be lost."""
    cells = np.zeros((64, 64), dtype=np.int32)
    cells[:15, :20] = np.arange(1, 301).reshape(15, 20)
    cells[40:, :] = 1000
    field, segmentation = make(cells, 0.125)
    view = view_field(field, segmentation, replace(SETTINGS, um_per_px=0.4))
    assert view.labels.shape == (20, 20)
    assert view.cell_ids.tolist() == [*range(1, 301), 1000]
    assert set(np.unique(view.labels)) >= set(view.cell_ids)


def test_a_lost_cell_lies_where_it_was() -> None:
    cells = np.zeros((64, 64), dtype=np.int32)
    cells[30, 41] = 9
    view = view_field(*make(cells, 0.0625), SETTINGS)
    assert np.argwhere(view.labels == 9).tolist() == [[3, 5]]


def test_more_cells_than_pixels() -> None:
    cells = np.arange(1, 401, dtype=np.int32).reshape(20, 20)
    with pytest.raises(ValueError, match=r"Field f has 400 cells, more than its view of 5 x 5 px"):
        view_field(*make(cells, 0.125), SETTINGS)


def test_a_field_without_cells() -> None:
    view = view_field(*make(np.zeros((20, 30), dtype=np.int32), 0.5), SETTINGS)
    assert len(view.cell_ids) == 0
    assert not view.image.any()


def test_positions_count_the_ids_up() -> None:
    view = view_field(*make(blocks(40, 56), 0.5), SETTINGS)
    np.testing.assert_array_equal(view.positions == 1, view.labels == 5)
    np.testing.assert_array_equal(view.positions == 2, view.labels == 70_001)
    np.testing.assert_array_equal(view.positions == 0, view.labels == 0)


def test_two_of_different_fields() -> None:
    field, segmentation = make(blocks(40, 56), 0.5)
    with pytest.raises(ValueError, match="pass two of one field"):
        view_field(replace(field, field_id="g"), segmentation, SETTINGS)


@pytest.mark.parametrize("um_per_px", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_none(um_per_px: float) -> None:
    with pytest.raises(ValueError, match=r"view\.um_per_px is"):
        replace(SETTINGS, um_per_px=um_per_px)


def test_fields_of_different_shapes_have_black_borders() -> None:
    rng = np.random.default_rng(0)
    shapes = [(40, 20), (12, 64), (32, 33)]
    images = [rng.integers(1, 255, (4, *shape), dtype=np.uint8) for shape in shapes]
    masks = [rng.integers(1, 300, shape).astype(np.int32) for shape in shapes]
    padded, numbers = pad_fields(images, masks)
    assert padded.shape == (3, 4, 64, 64)
    assert (padded.dtype, numbers.dtype) == (np.uint8, np.int32)
    for position, (height, width) in enumerate(shapes):
        np.testing.assert_array_equal(padded[position, :, :height, :width], images[position])
        np.testing.assert_array_equal(numbers[position, :height, :width], masks[position])
        for each in (padded[position], numbers[position][None]):
            assert not each[:, height:].any()
            assert not each[:, :, width:].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell_ids": np.array([70_001, 5], np.int32)}, "not ascending"),
        (
            {
                "cell_ids": np.array([5, 6, 70_001], np.int32),
                "touches_border": np.zeros(3, bool),
                "areas_um2": np.ones(3),
            },
            r"in one: 6\)",
        ),
        ({"image": np.zeros((3, 40, 56), np.uint8)}, r"image has shape \(3, 40, 56\)"),
        ({"touches_border": np.zeros(1, bool)}, "touches_border has shape"),
        ({"areas_um2": np.zeros(1)}, "areas_um2 has shape"),
        ({"areas_um2": np.zeros(3)}, r"areas_um2 has shape \(3,\)"),
    ],
)
def test_views_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    view = view_field(*make(blocks(40, 56), 0.5), SETTINGS)
    with pytest.raises(ValueError, match=message):
        FieldView(**{name: getattr(view, name) for name in FieldView.__slots__} | changes)
