"""What is measured on cells of a coarser scale is, to the byte, what is measured on them enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpa_cells.cells import CropSettings, FieldViewSettings, crop_cells, mask_rows, measure_cells, view_field
from hpa_cells.cells.resizing import nearest_pixels
from hpa_cells.label_images import CoarseLabels
from hpa_cells.types import Field, Segmentation


def both(cells: Any, nuclei: Any, height: int, width: int) -> tuple[Segmentation, Segmentation]:
    """Of a coarser scale, and the same at the field's size."""
    coarse = CoarseLabels(
        cells=cells,
        nuclei=nuclei,
        rows=nearest_pixels(len(cells), height),
        columns=nearest_pixels(cells.shape[1], width),
    )
    enlarged = Segmentation.enlarged(coarse, field_id="f", pixel_size_um=0.1)
    plain = Segmentation(
        field_id="f", cells=enlarged.cells, nuclei=enlarged.nuclei, pixel_size_um=enlarged.pixel_size_um
    )
    return Segmentation.enlarged(coarse, field_id="f", pixel_size_um=0.1), plain


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Segmentation, Segmentation]:
    ids = st.sampled_from([0, 0, 1, 2, 7, 300, 70_000, 2**31 - 1])
    cells = draw(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=10), elements=ids))
    nuclei = np.where(draw(hnp.arrays(np.bool_, cells.shape)), cells, 0)
    height, width = (draw(st.integers(side, 5 * side)) for side in cells.shape)
    return both(cells, nuclei, height, width)


@given(pairs())
@settings(deadline=None)
def test_measures_and_rows(pair: tuple[Segmentation, Segmentation]) -> None:
    coarse, plain = (measure_cells(each) for each in pair)
    for name in coarse.__slots__:
        np.testing.assert_array_equal(getattr(coarse, name), getattr(plain, name), strict=True)
    of_coarse, of_plain = (mask_rows(each) for each in pair)
    assert of_coarse.field == of_plain.field
    for name, values in of_plain.cells.items():
        np.testing.assert_array_equal(of_coarse.cells[name], values, strict=True)


@given(pairs(), st.sampled_from([None, 0.05, 0.1, 0.23]))
@settings(deadline=None)
def test_crops_and_views(pair: tuple[Segmentation, Segmentation], um_per_px: float | None) -> None:
    image = np.random.default_rng(0).integers(0, 255, (4, *pair[0].shape)).astype(np.uint8)
    field = Field(field_id="f", image=image, pixel_size_um=0.1)
    coarse, plain = (crop_cells(field, each, CropSettings(size_px=8, um_per_px=um_per_px)) for each in pair)
    np.testing.assert_array_equal(coarse.images, plain.images)
    view = FieldViewSettings(um_per_px=0.05, masked=True)
    of_coarse, of_plain = (view_field(field, each, view) for each in pair)
    np.testing.assert_array_equal(of_coarse.labels, of_plain.labels)
    np.testing.assert_array_equal(of_coarse.image, of_plain.image)


@pytest.mark.parametrize("num_cells", [300, 70_000])
def test_many_cells(num_cells: int) -> None:
    side = int(np.ceil(np.sqrt(num_cells)))
    cells = np.arange(1, side * (side + 3) + 1, dtype=np.int32).reshape(side, side + 3)
    coarse, plain = (mask_rows(each) for each in both(cells, cells, 2 * side + 1, 3 * side))
    for name, values in plain.cells.items():
        np.testing.assert_array_equal(coarse.cells[name], values, strict=True)
