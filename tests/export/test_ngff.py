"""Levels of images: slow twins, and where their pixels are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.export.element_names import element_names
from hpa_cells.export.ngff import image_pyramid, label_pyramid, multiscale


@given(
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.uint8, np.uint16]), st.integers(0, 2**32 - 1)
)
def test_a_pixel_is_the_mean_of_four(height: int, width: int, dtype: type, seed: int) -> None:
    image = np.random.default_rng(seed).integers(
        0, np.iinfo(dtype).max, (2, height, width), dtype, endpoint=True
    )
    levels = image_pyramid(image, scales=2).levels
    if min(height, width) == 1:
        assert len(levels) == 1
        return
    assert levels[1].dtype == dtype
    assert levels[1].shape == (2, -(-height // 2), -(-width // 2))
    for channel, y, x in np.ndindex(levels[1].shape):
        four = [
            int(image[channel, min(2 * y + dy, height - 1), min(2 * x + dx, width - 1)])
            for dy in (0, 1)
            for dx in (0, 1)
        ]
        assert levels[1][channel, y, x] == int(sum(four) / 4 + 0.5)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 7))
def test_levels_of_images_and_labels_fit(height: int, width: int, scales: int) -> None:
    labels = np.random.default_rng(0).integers(0, 2**31 - 1, (height, width), np.int32)
    of_labels = label_pyramid(labels, scales=scales).levels
    of_image = image_pyramid(np.zeros((1, height, width), np.uint8), scales=scales).levels
    assert [each.shape for each in of_labels] == [each.shape[1:] for each in of_image]
    assert len(of_labels) <= scales
    assert min(of_labels[-1].shape) == 1 or len(of_labels) == scales
    assert set(of_labels[-1].ravel()) <= set(labels.ravel())


def test_levels_lie_over_each_other() -> None:
    """The centre of pixel i of level k, by scale and translation, is the mean of the 2 ** k centres it stands for."""
    pyramid = label_pyramid(np.zeros((16, 32), np.int32), scales=4)
    described = multiscale(pyramid, name="a", pixel_size_um=0.08)
    for level, dataset in enumerate(described["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        for pixel in range(3):
            found_um = pixel * scale["scale"][1] + translation["translation"][1]
            centres_um = [0.08 * each for each in range(pixel * 2**level, (pixel + 1) * 2**level)]
            assert found_um == pytest.approx(np.mean(centres_um))


@given(st.lists(st.text(min_size=1).filter(lambda text: text not in (".", "..")), unique=True))
def test_names_are_unique_and_allowed(field_ids: list[str]) -> None:
    names = element_names(field_ids)
    assert list(names) == field_ids
    assert len({name.casefold() for name in names.values()}) == len(field_ids)
    for name in names.values():
        assert name[0].isalnum()
        assert all(each.isalnum() or each in "_-." for each in name)


def test_a_number_that_is_taken() -> None:
    assert element_names(["a b", "a_b", "a_b-2"]) == {"a b": "a_b-3", "a_b": "a_b", "a_b-2": "a_b-2"}
    assert element_names(["A", "a"]) == {"A": "A", "a": "a-2"}
