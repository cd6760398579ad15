from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.cells.field_scales import FieldScales, cut_square
from hpa_cells.types import NUM_CHANNELS, Field


def field_of(height: int, width: int, *, seed: int, dtype: type = np.uint8) -> Field:
    """Noise on three backgrounds, of which one is beyond both ends of the scale here and there."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    image = rng.normal(rng.uniform(0, 0.7, (NUM_CHANNELS, 1, 1)), 0.2, (NUM_CHANNELS, height, width))
    return Field(field_id="f", image=(image.clip(0, 1) * top).astype(dtype), pixel_size_um=0.08)


def slow_twin(field: Field, factor: int) -> NDArray[np.uint8]:
    """Each mean from its own pixels, beyond the field of 0: halves of four go up, of more to even numbers."""
    pixels = normalise_field(field).transpose(1, 2, 0)
    height, width = (-(-side // factor) for side in pixels.shape[:2])
    found = np.zeros((height, width, NUM_CHANNELS), dtype=np.uint8)
    for y, x, channel in np.ndindex(found.shape):
        rows, columns = (slice(place * factor, (place + 1) * factor) for place in (y, x))
        total = int(pixels[rows, columns, channel].sum(dtype=np.int64))
        found[y, x, channel] = (total + 2) // 4 if factor == 2 else round(total / factor**2)
    return found


@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from([2, 4, 8, 16, 32, 64]), st.integers(0, 2**32 - 1)
)
def test_agrees_with_the_slow_twin(height: int, width: int, factor: int, seed: int) -> None:
    field = field_of(height, width, seed=seed)
    np.testing.assert_array_equal(FieldScales(field).shrunk(factor), slow_twin(field, factor))


@pytest.mark.parametrize("shape", [(512, 256), (700, 300), (301, 515)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32, 128])
def test_is_what_opencv_makes_of_the_whole_normalised_field(
    shape: tuple[int, int], dtype: type, factor: int
) -> None:
    field = field_of(*shape, seed=factor, dtype=dtype)
    height, width = (-(-side // factor) for side in shape)
    padding = ((0, height * factor - shape[0]), (0, width * factor - shape[1]))
    expected = [
        cv2.resize(np.pad(channel, padding), (width, height), interpolation=cv2.INTER_AREA)
        for channel in normalise_field(field)
    ]
    np.testing.assert_array_equal(FieldScales(field).shrunk(factor), np.dstack(expected))


def test_the_order_of_asking_changes_nothing() -> None:
    field = field_of(120, 90, seed=1)
    upwards, downwards = FieldScales(field), FieldScales(field)
    fine_first = [upwards.shrunk(factor) for factor in (1, 2, 4, 8, 32)]
    coarse_first = [downwards.shrunk(factor) for factor in (32, 8, 4, 2, 1)]
    for one, other in zip(fine_first, reversed(coarse_first), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("corner", [(3, 2), (-7, -5), (-2, 6), (20, 1), (18, 25)])
def test_a_square_is_a_part_of_the_field_and_black_beyond_it(factor: int, corner: tuple[int, int]) -> None:
    # Its darkest value is not 0, and yet there is 0 beyond it.
    field = field_of(120, 100, seed=2)
    field.image[...] = np.maximum(field.image, 40)
    scales = FieldScales(field)
    expected = cut_square(FieldScales(field).shrunk(factor), corner, 12)
    # The first ones of full size are cut alone, all others from the whole field.
    for _ in range(20):
        np.testing.assert_array_equal(scales.cut(factor, corner, 12), expected)
    if min(corner) < 0:
        assert not expected[: -min(corner[1], 0)].any()
        assert not expected[:, : -min(corner[0], 0)].any()
