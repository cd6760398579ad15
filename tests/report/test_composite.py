from __future__ import annotations

import numpy as np

from hpa_cells.report import composite
from hpa_cells.types import Channel, Field


def field_with(channel: Channel, dtype: type[np.uint8] | type[np.uint16] = np.uint8) -> Field:
    """A field with a bright square in one channel and nothing in the others."""
    image = np.zeros((4, 40, 60), dtype)
    image[channel, 10:30, 20:40] = np.iinfo(dtype).max
    return Field(field_id="a", image=image, pixel_size_um=0.1)


def test_channels_have_the_colours_of_the_atlas() -> None:
    colors = {channel: composite(field_with(channel))[20, 30].tolist() for channel in Channel}
    red, green, blue, yellow = (colors[channel] for channel in Channel)
    assert red[0] > 200
    assert red[1:] == [0, 0]
    assert green == [0, 255, 0]
    assert blue == [0, 0, 255]
    assert yellow[2] == 0
    assert min(yellow[:2]) > 0
    assert max(yellow[:2]) < 100, "the ER must not hide the protein"


def test_shape_and_background() -> None:
    picture = composite(field_with(Channel.PROTEIN))
    assert picture.shape == (40, 60, 3)
    assert picture.dtype == np.uint8
    assert not picture[0].any()


def test_16_bit_looks_as_8_bit() -> None:
    for channel in Channel:
        np.testing.assert_array_equal(
            composite(field_with(channel)), composite(field_with(channel, np.uint16))
        )


def test_noise_of_an_empty_channel_stays_dark() -> None:
    image = np.zeros((4, 64, 64), np.uint8)
    image[Channel.PROTEIN] = np.random.default_rng(0).integers(2, 6, (64, 64))
    assert composite(Field(field_id="a", image=image, pixel_size_um=0.1)).max() < 40
