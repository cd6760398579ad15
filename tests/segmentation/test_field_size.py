from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.segmentation.field_size import at_field_size
from hpa_cells.types import Field


def field_of(height: int, width: int) -> Field:
    return Field(field_id="f", image=np.zeros((4, height, width), dtype=np.uint8), pixel_size_um=0.1)


@pytest.mark.parametrize("shape", [(6, 8), (3, 4), (7, 5), (1, 1), (2, 3)])
def test_each_pixel_has_the_id_below_its_centre(shape: tuple[int, int]) -> None:
    cells = np.array([[0, 7, 70_000, 300], [5, 5, 0, 2**31 - 1], [5, 1, 1, 0]], dtype=np.int32)
    nuclei = np.where(cells == 5, cells, 0).astype(np.int32)
    found = at_field_size(field_of(*shape), cells=cells, nuclei=nuclei)
    assert found.cells.shape == found.nuclei.shape == shape
    assert found.cells.dtype == np.int32
    assert (found.field_id, found.pixel_size_um) == ("f", 0.1)
    for row in range(shape[0]):
        for column in range(shape[1]):
            below = int((row + 0.5) * 3 / shape[0]), int((column + 0.5) * 4 / shape[1])
            assert found.cells[row, column] == cells[below]
            assert found.nuclei[row, column] == nuclei[below]


def test_labels_of_the_size_of_the_field_stay_as_they_are() -> None:
    cells = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.testing.assert_array_equal(at_field_size(field_of(3, 4), cells=cells, nuclei=cells).cells, cells)
