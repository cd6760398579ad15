from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.simulation import Recipe
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.simulation.debris import draw_debris
from hpa_cells.simulation.optics import expose
from hpa_cells.types import Channel

CANVAS = Canvas(height_px=120, width_px=160, pixel_size_um=0.2)
CLEAN = {
    "bleed_through": 0.0,
    "uneven_light": 0.0,
    "haze": 0.0,
    "background": 0.0,
    "read_noise": 0.0,
    "photons": 10_000.0,
}


def flat(level: float) -> dict[Channel, np.ndarray]:
    return {channel: np.full(CANVAS.shape, level, dtype=np.float32) for channel in Channel}


def take(light: dict[Channel, np.ndarray], **settings: float) -> np.ndarray:
    return expose(CANVAS, light, Recipe(**(CLEAN | settings)), np.random.default_rng(0))


@pytest.mark.parametrize(("bit_depth", "dtype", "full"), [(8, np.uint8, 255), (16, np.uint16, 65535)])
def test_flat_light_is_a_flat_picture_of_its_bit_depth(bit_depth: int, dtype: type, full: int) -> None:
    image = take(flat(0.5), bit_depth=bit_depth)
    assert image.shape == (4, *CANVAS.shape)
    assert image.dtype == dtype
    np.testing.assert_allclose(image / full, 0.5, atol=0.05)
    assert (take(flat(3.0), bit_depth=bit_depth) == full).all()


def test_noise_is_that_of_counted_photons() -> None:
    # At 0.2 um a pixel of full light has 20 x 6.25 = 125 photons, more or less from field to field.
    noisy = take(flat(0.4), photons=20.0)[Channel.PROTEIN] / 255
    assert noisy.mean() == pytest.approx(0.4, abs=0.01)
    expected = np.sqrt(0.4 / 125)
    assert 0.5 * expected < noisy.std() < 2 * expected


def test_background_is_subtracted_and_mostly_zero() -> None:
    dark = take(flat(0.0), background=0.05, read_noise=0.02, photons=100.0)
    assert (dark == 0).mean() > 0.8
    assert dark.max() > 0


def test_a_point_is_blurred_to_the_width_of_the_microscope() -> None:
    light = flat(0.0)
    for image in light.values():
        image[60, 80] = 5.0
    sharp, soft = (take(light, blur=blur)[Channel.NUCLEUS].astype(float) for blur in (1.0, 4.0))
    assert (soft > soft.max() / 2).sum() > 2 * (sharp > sharp.max() / 2).sum()


def test_bleed_through_shows_a_channel_in_its_neighbour() -> None:
    light = flat(0.0)
    light[Channel.NUCLEUS][:, :80] = 0.9
    image = take(light, bleed_through=0.2)
    assert image[Channel.PROTEIN][:, :70].mean() > 5
    assert image[Channel.PROTEIN][:, 90:].mean() < 1
    assert image[Channel.ER].mean() < 1


def test_light_is_uneven_by_the_share_asked_for() -> None:
    image = take(flat(0.8), uneven_light=0.5)[Channel.ER].astype(float)
    assert image.min() / image.max() == pytest.approx(0.5, abs=0.1)


def test_a_channel_without_light_is_black() -> None:
    light = flat(0.8)
    del light[Channel.ER]
    image = take(light)
    assert not image[Channel.ER].any()
    assert image[Channel.NUCLEUS].all()


def test_debris_is_as_much_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert not any(light.any() for light in draw_debris(CANVAS, 0.0, rng).values())
    much, more = (
        sum(float(light.sum()) for _ in range(4) for light in draw_debris(CANVAS, pieces, rng).values())
        for pieces in (50.0, 1000.0)
    )
    assert more > 4 * much > 0
