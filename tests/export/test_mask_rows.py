"""Measures of cells from their masks alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from hpa_cells.export import FieldSize
from hpa_cells.export.mask_rows import mask_rows
from hpa_cells.masks import encode_labels
from hpa_cells.table import Column

MASKS = st_numpy.arrays(
    np.bool_, st_numpy.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.booleans()
).filter(lambda masks: masks.any(axis=(1, 2)).all())


def counts_of(mask: NDArray[np.bool_]) -> bytes:
    return encode_labels(mask.astype(np.int32))[1][0]


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_measures_are_those_of_the_pixels(masks: NDArray[np.bool_]) -> None:
    _, height, width = masks.shape
    rows = mask_rows([counts_of(mask) for mask in masks], FieldSize(width, height), 0.5)
    for index, mask in enumerate(masks):
        y, x = np.nonzero(mask)
        assert rows[Column.AREA_PX][index] == len(x)
        assert rows[Column.AREA_UM2][index] == len(x) * 0.25
        assert rows[Column.CENTROID_X_PX][index] == pytest.approx(x.mean())
        assert rows[Column.CENTROID_Y_PX][index] == pytest.approx(y.mean())
        assert rows[Column.BBOX_X_PX][index] == x.min()
        assert rows[Column.BBOX_Y_PX][index] == y.min()
        assert rows[Column.BBOX_WIDTH_PX][index] == np.ptp(x) + 1
        assert rows[Column.BBOX_HEIGHT_PX][index] == np.ptp(y) + 1
        edge = x.min() == 0 or y.min() == 0 or x.max() == width - 1 or y.max() == height - 1
        assert rows[Column.TOUCHES_BORDER][index] == edge
