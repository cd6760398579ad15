from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.simulation.canvas import Canvas


def slow_points(canvas: Canvas, positions_um: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each point on its own, shared among four pixels by bilinear weights."""
    image = np.zeros(canvas.shape)
    for (y, x), weight in zip(positions_um / canvas.pixel_size_um, weights, strict=True):
        top, left = int(np.floor(y)), int(np.floor(x))
        if not (0 <= top < canvas.height_px - 1 and 0 <= left < canvas.width_px - 1):
            continue
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            image[row, column] += weight * (1 - abs(y - row)) * (1 - abs(x - column))
    return image / canvas.pixel_size_um**2


@given(
    height_px=st.integers(2, 20),
    width_px=st.integers(2, 20),
    pixel_size_um=st.floats(0.05, 2),
    num_points=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_points_are_those_of_the_slow_way(
    height_px: int, width_px: int, pixel_size_um: float, num_points: int, seed: int
) -> None:
    canvas = Canvas(height_px=height_px, width_px=width_px, pixel_size_um=pixel_size_um)
    rng = np.random.default_rng(seed)
    size = np.array(canvas.size_um)
    positions = rng.uniform(-0.3 * size, 1.3 * size, (num_points, 2)).astype(np.float32)
    weights = rng.random(num_points, dtype=np.float32)
    drawn = canvas.points(positions, weights)
    assert drawn.dtype == np.float32
    expected = slow_points(canvas, positions, weights)
    np.testing.assert_allclose(drawn, expected, atol=2e-5 / pixel_size_um**2)


def test_points_and_blur_keep_the_light_at_any_pixel_size() -> None:
    for pixel_size_um in (0.1, 0.25, 1.0):
        side = round(60 / pixel_size_um)
        canvas = Canvas(height_px=side, width_px=side, pixel_size_um=pixel_size_um)
        places = np.random.default_rng(0).uniform(25, 35, (50, 2)).astype(np.float32)
        image = canvas.blur(canvas.points(places, np.ones(50, dtype=np.float32)), 2.0)
        assert image.sum() * pixel_size_um**2 == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize("scale_um", [0.1, 0.7, 4.0, 30.0])
@pytest.mark.parametrize("shape", [(64, 90), (5, 3)])
def test_noise_has_mean_zero_and_deviation_one(scale_um: float, shape: tuple[int, int]) -> None:
    canvas = Canvas(height_px=shape[0], width_px=shape[1], pixel_size_um=0.2)
    noise = canvas.noise(np.random.default_rng(1), scale_um)
    assert noise.shape == shape
    assert noise.dtype == np.float32
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-3)


def test_noise_blobs_are_as_wide_at_any_pixel_size() -> None:
    widths_um = []
    for pixel_size_um in (0.1, 0.2, 0.4):
        side = round(80 / pixel_size_um)
        canvas = Canvas(height_px=side, width_px=side, pixel_size_um=pixel_size_um)
        noise = canvas.noise(np.random.default_rng(2), 3.0)
        # By how much the noise must be moved to lose half of its correlation.
        correlations = [float((noise[:, :-lag] * noise[:, lag:]).mean()) for lag in range(1, side // 4)]
        widths_um.append(pixel_size_um * (1 + np.argmax(np.array(correlations) < 0.5)))
    np.testing.assert_allclose(widths_um, np.mean(widths_um), rtol=0.25)


def test_a_wide_blur_is_that_of_the_full_image() -> None:
    canvas = Canvas(height_px=150, width_px=200, pixel_size_um=0.2)
    image = canvas.noise(np.random.default_rng(3), 1.0) + 3
    wide = canvas.blur(image, 2.5)
    steps = image
    # Variances of blurs add up: 7 blurs of 2.5 / sqrt(7) um, each on the full image.
    for _ in range(7):
        steps = canvas.blur(steps, 2.5 / np.sqrt(7))
    np.testing.assert_allclose(wide[40:-40, 40:-40], steps[40:-40, 40:-40], atol=0.05)


def test_pixels_at_stay_on_the_grid() -> None:
    canvas = Canvas(height_px=10, width_px=20, pixel_size_um=0.5)
    rows, columns = canvas.pixels_at(np.array([[-9, 3], [1.2, 99], [4.5, 9.5]], dtype=np.float32))
    np.testing.assert_array_equal(rows, [0, 2, 9])
    np.testing.assert_array_equal(columns, [6, 19, 19])
