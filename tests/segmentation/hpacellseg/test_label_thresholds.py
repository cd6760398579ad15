from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from hpa_cells.segmentation.hpacellseg.label_thresholds import LabelSizes, cell_threshold


def test_sizes_are_the_published_ones_at_the_published_pixels() -> None:
    assert dataclasses.asdict(LabelSizes.at(0.08)) == {
        "min_seed_px": 500,
        "min_speck_px": 8,
        "min_nucleus_px": 2500,
        "min_cell_px": 5500,
        "max_hole_px": 1000,
        "closing_px": 6,
    }


@given(st.floats(0.005, 5))
def test_sizes_are_the_same_in_um_everywhere(um_per_px: float) -> None:
    sizes = LabelSizes.at(um_per_px)
    assert sizes.min_cell_px * um_per_px**2 == pytest.approx(35.2)
    assert sizes.closing_px * um_per_px == pytest.approx(0.48)


@pytest.mark.parametrize("um_per_px", [0.0, -0.08, math.nan, math.inf, 1e-6, 0.0049, 5.1, 100.0])
def test_a_pixel_has_a_size_that_microscopes_know(um_per_px: float) -> None:
    with pytest.raises(ValueError, match=rf"is {um_per_px} um: give one from 0.005 to 5 um"):
        LabelSizes.at(um_per_px)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)))
def test_the_threshold_is_half_of_that_of_the_probabilities(interiors: NDArray[np.uint8]) -> None:
    # Of the first two levels that part the image alike, either may be the threshold.
    threshold = cell_threshold(interiors)
    expected = max(0.22, 0.5 * threshold_otsu(interiors / 255))
    np.testing.assert_array_equal(interiors / 255 > threshold, interiors / 255 > expected)


@pytest.mark.parametrize(("value", "expected"), [(0, 0.22), (51, 0.22), (255, 0.5)])
def test_an_image_of_one_value_has_a_threshold(value: int, expected: float) -> None:
    assert cell_threshold(np.full((5, 7), value, dtype=np.uint8)) == expected
