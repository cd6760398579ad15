from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from skimage.measure import regionprops

from hpa_cells.cells import measure_cells
from hpa_cells.types import Segmentation


def segmentation_of(cells: NDArray[np.int32], nuclei: NDArray[np.int32] | None = None) -> Segmentation:
    nuclei = np.zeros_like(cells) if nuclei is None else nuclei
    return Segmentation(field_id="f", cells=cells, nuclei=nuclei, pixel_size_um=0.1)


label_images = arrays(
    np.int32,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 0, 1, 2, 7, 300, 70_000, 2**31 - 1]),
)


@given(label_images)
def test_measures_are_those_of_scikit_image(cells: NDArray[np.int32]) -> None:
    nuclei = np.where(np.indices(cells.shape).sum(axis=0) % 2 == 0, cells, 0)
    measured = measure_cells(segmentation_of(cells, nuclei))

    # scikit-image takes memory in proportion to the largest id.
    ids, compact = np.unique(cells, return_inverse=True)
    compact = compact.reshape(cells.shape) + (0 if ids[0] == 0 else 1)
    expected = regionprops(compact)
    assert measured.cell_ids.tolist() == ids[ids != 0].tolist()
    for index, region in enumerate(expected):
        top, left, bottom, right = region.bbox
        assert measured.boxes_px[index].tolist() == [left, top, right - left, bottom - top]
        np.testing.assert_allclose(measured.centroids_px[index], region.centroid[::-1], rtol=1e-6)
        assert measured.areas_px[index] == region.area
        assert measured.nucleus_areas_px[index] == np.count_nonzero(nuclei == measured.cell_ids[index])
        at_border = left == 0 or top == 0 or right == cells.shape[1] or bottom == cells.shape[0]
        assert measured.touches_border[index] == at_border


def test_a_run_ends_with_its_row() -> None:
    # The last pixel of a row and the first of the next lie side by side in memory.
    cells = np.array([[0, 0, 5], [5, 0, 0]], dtype=np.int32)
    measured = measure_cells(segmentation_of(cells))
    assert measured.boxes_px.tolist() == [[0, 0, 3, 2]]
    assert measured.centroids_px.tolist() == [[1.0, 0.5]]


def test_a_field_without_cells_has_no_measures() -> None:
    measured = measure_cells(segmentation_of(np.zeros((3, 4), dtype=np.int32)))
    assert measured.boxes_px.shape == (0, 4)
    assert measured.centroids_px.shape == (0, 2)
    assert measured.areas_px.size == measured.nucleus_areas_px.size == measured.touches_border.size == 0


def test_types() -> None:
    measured = measure_cells(segmentation_of(np.ones((3, 4), dtype=np.int32)))
    assert measured.cell_ids.dtype == measured.boxes_px.dtype == np.int32
    assert measured.centroids_px.dtype == np.float32
    assert measured.areas_px.dtype == measured.nucleus_areas_px.dtype == np.int64
    assert measured.touches_border.dtype == np.bool_
