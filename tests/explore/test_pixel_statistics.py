from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpa_cells.explore import channel_statistics, field_statistics
from hpa_cells.explore.pixel_statistics import HISTOGRAM_LEVELS, QUANTILES, fingerprint, histogram
from hpa_cells.types import Channel, Field


def field_of(image: NDArray[Any], missing: frozenset[Channel] = frozenset()) -> Field:
    return Field(field_id="f", image=image, pixel_size_um=0.1, missing=missing)


def smooth_field(seed: int, side_px: int = 128) -> Field:
    noise = np.random.default_rng(seed).random((4, side_px, side_px)).astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), side_px / 16) for plane in noise])
    low, high = blurred.min(axis=(1, 2), keepdims=True), blurred.max(axis=(1, 2), keepdims=True)
    return field_of(((blurred - low) / (high - low) * 200).astype(np.uint8))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), is_16_bit=st.booleans(), seed=st.integers(0, 99))
def test_intensities_are_those_numpy_finds(height: int, width: int, is_16_bit: bool, seed: int) -> None:
    dtype = np.uint16 if is_16_bit else np.uint8
    top = int(np.iinfo(dtype).max)
    image = np.random.default_rng(seed).integers(0, top + 1, (4, height, width)).astype(dtype)
    image[1, : height // 2] = top
    row = channel_statistics(field_of(image), Channel.PROTEIN)
    pixels = image[1]
    for name, share in QUANTILES.items():
        assert row[name] == pytest.approx(np.quantile(pixels, share, method="inverted_cdf") / top)
    assert row["mean"] == pytest.approx(pixels.mean() / top)
    assert row["max"] == pytest.approx(pixels.max() / top)
    assert row["saturated_share"] == pytest.approx((pixels == top).mean())
    assert (row["height_px"], row["width_px"], row["num_bits"]) == (height, width, 8 * pixels.itemsize)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_histogram_counts_pixels_up_to_each_level(dtype: type) -> None:
    top = int(np.iinfo(dtype).max)
    image = (np.random.default_rng(0).random((4, 30, 40)) ** 4 * top).astype(dtype)
    shares = histogram(field_of(image, frozenset({Channel.ER})))
    for channel in range(3):
        expected = [(image[channel] / top <= level + 1e-9).mean() for level in HISTOGRAM_LEVELS]
        np.testing.assert_allclose(shares[channel], expected, atol=1e-6)
    assert (shares[:3, -1] == 1).all()
    assert np.isnan(shares[3]).all()


def test_a_histogram_is_the_same_in_other_bits() -> None:
    field = smooth_field(0)
    wider = field_of(field.image.astype(np.uint16) * 257)
    np.testing.assert_array_equal(histogram(wider), histogram(field))


def test_a_missing_channel_has_no_intensities() -> None:
    image = np.zeros((4, 3, 5), np.uint8)
    row = channel_statistics(field_of(image, frozenset({Channel.ER})), Channel.ER)
    assert row["is_missing"]
    assert np.isnan([row["mean"], row["q50"], row["max"], row["saturated_share"]]).all()


def test_the_digest_tells_equal_pixels_only() -> None:
    first = smooth_field(0)
    assert field_statistics(first).digest == field_statistics(smooth_field(0)).digest
    changed = first.image.copy()
    changed[3, 5, 7] ^= 1
    assert field_statistics(field_of(changed)).digest != field_statistics(first).digest
    reshaped = first.image.reshape(4, 64, 256)
    assert field_statistics(field_of(reshaped)).digest != field_statistics(first).digest


@pytest.mark.parametrize("seed", range(3))
def test_the_fingerprint_of_a_changed_copy_stays_nearly_the_same(seed: int) -> None:
    field = smooth_field(seed)
    own = fingerprint(field)
    small = np.stack([cv2.resize(plane, (100, 100), interpolation=cv2.INTER_AREA) for plane in field.image])
    dim = (field.image * 0.6).astype(np.uint8)
    in_16_bits = field.image.astype(np.uint16) * 257
    for copy in (small, dim, in_16_bits):
        assert np.bitwise_count(fingerprint(field_of(copy)) ^ own).sum() <= 12
    others = [fingerprint(smooth_field(other)) for other in range(10, 20)]
    assert min(int(np.bitwise_count(other ^ own).sum()) for other in others) > 50


def test_the_fingerprint_of_one_value_is_zero() -> None:
    assert not fingerprint(field_of(np.full((4, 30, 40), 9, np.uint8))).any()


def test_the_fingerprint_of_a_dark_background_is_not_its_noise() -> None:
    image = np.random.default_rng(0).integers(0, 3, (4, 128, 128), dtype=np.uint8)
    image[:, :30, :30] = 200
    assert np.bitwise_count(fingerprint(field_of(image))).sum() <= 16
