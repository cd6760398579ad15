"""A made-up field whose cells are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.types import Channel, Field

HEIGHT, WIDTH, PIXEL_SIZE_UM = 480, 720, 0.16
# x, y, radius of nucleus and cell in um, brightness; the last two touch each other.
CELLS = [
    (18, 20, 6, 13, 1.0),
    (60, 25, 7, 15, 0.4),
    (100, 18, 5, 11, 0.8),
    (35, 55, 6, 13, 0.7),
    (58, 58, 6, 12, 1.0),
]


def disc(labels: NDArray[np.int32], x_um: float, y_um: float, radius_um: float) -> NDArray[np.bool_]:
    y, x = np.indices(labels.shape) * PIXEL_SIZE_UM
    return (x - x_um) ** 2 + (y - y_um) ** 2 <= radius_um**2


@pytest.fixture(scope="session")
def true_cells() -> NDArray[np.int32]:
    """(480, 720) int32: five round cells."""
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    for index, (x, y, _, radius, _) in enumerate(CELLS, start=1):
        labels[disc(labels, x, y, radius)] = index
    return labels


@pytest.fixture(scope="session")
def field() -> Field:
    """(4, 480, 720) uint8 with noise: round nuclei and cells of unequal brightness, five in all."""
    rng = np.random.default_rng(0)
    image = np.zeros((4, HEIGHT, WIDTH))
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    for x, y, nucleus_radius, radius, brightness in CELLS:
        distance = np.hypot(*(np.indices(labels.shape) * PIXEL_SIZE_UM - np.array([[[y]], [[x]]]))) / radius
        for channel in (Channel.MICROTUBULES, Channel.ER):
            image[channel] = np.maximum(image[channel], 200 * brightness * (1.1 - distance) * (distance <= 1))
        nucleus = disc(labels, x, y, nucleus_radius)
        image[Channel.NUCLEUS][nucleus] = 180 * brightness
    image = cv2.GaussianBlur(image.transpose(1, 2, 0), (0, 0), 1.5).transpose(2, 0, 1)
    noisy = rng.poisson(image + 3).clip(0, 255).astype(np.uint8)
    return Field(field_id="made-up", image=noisy, pixel_size_um=PIXEL_SIZE_UM)
