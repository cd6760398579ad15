from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.segmentation.network_input import (
    NETWORK_CHANNELS,
    intensity_range,
    network_input,
    rescaled_channels,
    scaled_shape,
    shows_no_nuclei,
    to_range,
)
from hpa_cells.types import Channel, Field


def noisy_field(shape: tuple[int, int] = (96, 160), pixel_size_um: float = 0.16) -> Field:
    image = np.random.default_rng(0).gamma(2, 15, (4, *shape)).clip(0, 255).astype(np.uint8)
    return Field(field_id="f", image=image, pixel_size_um=pixel_size_um)


def test_the_channels_that_show_cells_in_their_order() -> None:
    field = noisy_field()
    for position, channel in enumerate(NETWORK_CHANNELS):
        planes = rescaled_channels(field, 0.16)
        np.testing.assert_array_equal(planes[position], field.image[channel])
    assert Channel.PROTEIN not in NETWORK_CHANNELS


def test_shrinking_takes_means() -> None:
    field = noisy_field()
    means = field.image[Channel.NUCLEUS].reshape(48, 2, 80, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(rescaled_channels(field, 0.32)[2], means, atol=1e-4)


@pytest.mark.parametrize("pixel_size_um", [0.08, 0.32, 0.65])
def test_any_pixel_size_comes_to_the_same_scale(pixel_size_um: float) -> None:
    shape = network_input(noisy_field((100, 150), pixel_size_um), 0.32).shape
    assert shape == (3, round(100 * pixel_size_um / 0.32), round(150 * pixel_size_um / 0.32))


def test_a_16_bit_copy_looks_the_same() -> None:
    field = noisy_field()
    copy = Field(field_id="f", image=field.image.astype(np.uint16) * 257, pixel_size_um=field.pixel_size_um)
    np.testing.assert_allclose(network_input(field, 0.32), network_input(copy, 0.32), atol=1e-4)


def test_gain_and_offset_change_nothing() -> None:
    planes = np.random.default_rng(0).gamma(2, 15, (3, 64, 64)).astype(np.float32)
    other = planes * np.array([3, 0.1, 1], dtype=np.float32)[:, None, None] + 12
    np.testing.assert_allclose(
        to_range(planes, intensity_range(planes)), to_range(other, intensity_range(other)), atol=1e-3
    )


@pytest.mark.parametrize("pixel_size_um", [0.08, 0.1, 0.3, 0.65])
def test_a_flat_channel_is_zero(pixel_size_um: float) -> None:
    """Also where resizing it leaves differences in the last digit."""
    for value, kind in ((255, np.uint8), (7, np.uint8), (65535, np.uint16)):
        image = np.full((4, 100, 130), value, dtype=kind)
        field = Field(field_id="flat", image=image, pixel_size_um=pixel_size_um)
        assert not network_input(field, 0.32).any()


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_nucleus_channel_of_one_value_shows_no_nuclei(value: int) -> None:
    field = noisy_field()
    assert not shows_no_nuclei(network_input(field, 0.32))
    field.image[Channel.NUCLEUS] = value
    assert shows_no_nuclei(network_input(field, 0.32))


def blank(height_px: int, width_px: int, pixel_size_um: float) -> Field:
    # One byte, seen at every pixel.
    image = np.broadcast_to(np.uint8(0), (4, height_px, width_px))
    return Field(field_id="f", image=image, pixel_size_um=pixel_size_um)


@pytest.mark.parametrize(
    ("side_px", "pixel_size_um", "wanted_px"),
    [(10_000, 0.08, 2500), (2048, 1.3, 8320), (20_480, 0.65, 41_600), (64, 2.0, 400), (2048, 80e-6, 1)],
)
def test_shapes_at_the_networks_scale(side_px: int, pixel_size_um: float, wanted_px: int) -> None:
    assert scaled_shape(blank(side_px, side_px, pixel_size_um), 0.32) == (wanted_px, wanted_px)


def test_coarse_pixels_of_a_coarse_network_are_not_enlarged() -> None:
    assert scaled_shape(blank(300, 200, 4.0), 5.0) == (240, 160)


@pytest.mark.parametrize(
    ("side_px", "pixel_size_um", "larger_px"),
    [(2048, 80, 512_000), (1, 2.1, 7), (4000, 1.9, 23_750)],
)
def test_a_wrong_pixel_size_is_refused(side_px: int, pixel_size_um: float, larger_px: int) -> None:
    message = f"Field f: a pixel size of {pixel_size_um} um would enlarge .* to {larger_px} x .*: is it in nm"
    with pytest.raises(ValueError, match=message):
        network_input(blank(side_px, side_px, pixel_size_um), 0.32)
