from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.types import Channel, Field


def field_of(image: NDArray[np.uint8] | NDArray[np.uint16]) -> Field:
    return Field(field_id="f", image=image, pixel_size_um=0.1)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """(4, 90, 140) uint8: a gradient, a spotted channel, noise, a constant."""
    rng = np.random.default_rng(0)
    planes = np.zeros((4, 90, 140), dtype=np.uint8)
    planes[0] = np.linspace(3, 250, 140)
    planes[1, 30:50, 30:50] = 180
    planes[2] = rng.poisson(3, planes[2].shape)
    planes[3] = 77
    return planes


def slow_twin(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    ordered = np.sort(plane, axis=None).astype(int)
    background = ordered[int(np.ceil(0.01 * plane.size)) - 1]
    bright = ordered[int(np.ceil(0.999 * plane.size)) - 1]
    span = max(bright - background, 32)
    return np.array(
        [
            [round(min(max(255 * (value - background) / span, 0), 255)) for value in row]
            for row in plane.astype(int)
        ]
    )


def test_agrees_with_the_slow_twin(image: NDArray[np.uint8]) -> None:
    normalised = normalise_field(field_of(image))
    for plane, expected in zip(normalised, image, strict=True):
        np.testing.assert_array_equal(plane, slow_twin(expected))


def test_a_16_bit_copy_gives_the_same(image: NDArray[np.uint8]) -> None:
    copy = image.astype(np.uint16) * 257
    np.testing.assert_array_equal(normalise_field(field_of(image)), normalise_field(field_of(copy)))


def test_an_empty_channel_with_noise_stays_dark(image: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(1)
    image[Channel.PROTEIN] = rng.poisson(2, image.shape[1:])
    dark = normalise_field(field_of(image))[Channel.PROTEIN]
    assert dark.mean() < 20
    assert np.quantile(dark, 0.99) < 64


def test_a_constant_channel_is_zero(image: NDArray[np.uint8]) -> None:
    assert not normalise_field(field_of(image))[3].any()


def test_brightness_does_not_matter_above_the_floor(image: NDArray[np.uint8]) -> None:
    plane = image[0].astype(float)
    dimmer = image.copy()
    dimmer[0] = np.rint(plane / 2)
    difference = normalise_field(field_of(image))[0].astype(int) - normalise_field(field_of(dimmer))[0]
    assert np.abs(difference).max() <= 3


def test_a_large_field_is_scaled_by_a_sample_of_its_pixels() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 200, (4, 1300, 1100)).astype(np.uint8)
    normalised = normalise_field(field_of(image))
    expected = np.clip(255 * (image.astype(float) - 2) / (199 - 2), 0, 255)
    assert np.abs(normalised - expected).max() <= 3
