from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import rescale, resize

from hpa_cells.segmentation.hpacellseg.resampling import rescaled, unit_range


def image_of(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.mark.parametrize("shape", [(256, 256, 3), (301, 517, 3), (64, 200), (33, 5), (6, 6)])
@pytest.mark.parametrize("scale", [0.25, 0.37, 0.5])
def test_pixels_are_those_of_scikit_image(shape: tuple[int, ...], scale: float) -> None:
    """What the published package called."""
    image = image_of(shape)
    wanted = rescale(image, scale, channel_axis=2 if len(shape) == 3 else None)
    found = rescaled(image, *wanted.shape[:2])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_sides_may_shrink_unlike() -> None:
    image = image_of((120, 90))
    np.testing.assert_allclose(rescaled(image, 30, 75), resize(image, (30, 75)), atol=1e-6)


def test_enlarging_interpolates() -> None:
    found = rescaled(image_of((20, 30)), 40, 90)
    wanted = resize(image_of((20, 30)), (40, 90), mode="edge")
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_same_size_is_the_same_image() -> None:
    image = image_of((20, 30))
    assert rescaled(image, 20, 30) is image


def test_a_real_field(real_data: Path) -> None:
    import cv2

    path = sorted((real_data / "hpa2021" / "fields").glob("*_blue.png"))[0]
    image = unit_range(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), path.name)
    np.testing.assert_allclose(rescaled(image, 512, 512), rescale(image, 0.25), atol=1e-6)


def test_white_is_one_at_any_depth() -> None:
    bytes_ = np.array([[0, 51, 255]], dtype=np.uint8)
    np.testing.assert_allclose(unit_range(bytes_, "a"), [[0, 0.2, 1]], atol=1e-7)
    np.testing.assert_allclose(unit_range(bytes_.astype(np.uint16) * 257, "a"), [[0, 0.2, 1]], atol=1e-7)
    np.testing.assert_allclose(unit_range(bytes_ / 255, "a"), [[0, 0.2, 1]], atol=1e-7)


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(TypeError, match="Field f is int64"):
        unit_range(np.zeros((2, 2), dtype=np.int64), "Field f")
    with pytest.raises(ValueError, match="Field f has pixels that are not finite"):
        unit_range(np.array([[0, np.nan]]), "Field f")


@pytest.mark.parametrize(
    ("least", "most", "found"),
    [
        (0, 200, "from 0 to 200"),
        (-0.5, 1, "from -0.5 to 1"),
        (-2e-5, 1, "from -2e-05 to 1"),
        (0, 1.001, r"from 0 to 1\.001"),
    ],
)
def test_floats_beyond_the_range_are_refused(least: float, most: float, found: str) -> None:
    with pytest.raises(ValueError, match=rf"Field f has floats {found}: divide by what white is"):
        unit_range(np.array([[0.5, least, most]]), "Field f")


def test_floats_may_be_a_rounding_beyond_the_range() -> None:
    np.testing.assert_allclose(unit_range(np.array([[-9e-6, 1 + 9e-6]]), "Field f"), [[0, 1]], atol=2e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0, 3)])
def test_images_without_a_pixel_are_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"Field f has the shape \(.*\), without a pixel"):
        unit_range(np.zeros(shape, dtype=dtype), "Field f")
