from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.segmentation.hpacellseg.inference import chosen_device, predict
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet

SHAPES = [(64, 96), (40, 70), (64, 96), (96, 64), (50, 90), (5, 33)]


@pytest.fixture
def network(another_narrow: Callable[[str], DPNUNet]) -> DPNUNet:
    return another_narrow("a")


def images_of(shapes: list[tuple[int, int]]) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.random((*shape, 3), dtype=np.float32) for shape in shapes]


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_images_do_not_change_one_another(network: DPNUNet, margin: bool, batch_size: int) -> None:
    images = images_of(SHAPES)
    found = predict(network, images, margin=margin, batch_size=batch_size, half=False)
    for image, each in zip(images, found, strict=True):
        [alone] = predict(network, [image], margin=margin, batch_size=1, half=False)
        assert each.shape == image.shape
        np.testing.assert_allclose(each, alone, atol=1e-5)
        np.testing.assert_allclose(each.sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 96), (40, 70)])
def test_the_margin_is_that_of_the_published_code(network: DPNUNet, shape: tuple[int, int]) -> None:
    [image] = images_of([shape])
    height, width = shape
    padded = cv2.copyMakeBorder(image, 32, 32 - height % 32, 32, 32 - width % 32, cv2.BORDER_REFLECT)
    mean, deviation = np.array([124, 117, 104]) / 255, 1 / (0.0167 * 255)
    planes = torch.tensor((padded - mean) / deviation).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        wanted = network(planes).softmax(1)[0].permute(1, 2, 0)[32 : 32 + height, 32 : 32 + width]
    [found] = predict(network, [image], margin=True, batch_size=1, half=False)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_batches_are_of_one_shape_and_bounded() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))
            self.shapes: list[tuple[int, ...]] = []

        def forward(self, planes: Tensor) -> Tensor:
            self.shapes.append(tuple(planes.shape))
            return planes * self.factor

    network = Counts()
    predict(network, images_of([(64, 64)] * 5 + [(40, 70)]), margin=False, batch_size=2, half=False)
    assert network.shapes == [(2, 3, 64, 64), (2, 3, 64, 64), (1, 3, 64, 64), (1, 3, 64, 96)]


def test_no_images(network: DPNUNet) -> None:
    assert predict(network, [], margin=True, batch_size=1, half=False) == []


def test_half_precision_changes_nothing_on_a_cpu(network: DPNUNet) -> None:
    [image] = images_of([(32, 32)])
    [whole], [half] = (
        predict(network, [image], margin=False, batch_size=1, half=each) for each in (False, True)
    )
    np.testing.assert_array_equal(whole, half)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_finds_the_same(network: DPNUNet) -> None:
    [image] = images_of([(64, 96)])
    [wanted] = predict(network, [image], margin=True, batch_size=1, half=False)
    [found] = predict(network.to("cuda"), [image], margin=True, batch_size=1, half=False)
    [half] = predict(network, [image], margin=True, batch_size=1, half=True)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_allclose(half, wanted, atol=0.02)


def test_devices() -> None:
    assert chosen_device("cpu").type == "cpu"
    assert chosen_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="'gpu': give auto, cpu"):
        chosen_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said() -> None:
    with pytest.raises(ValueError, match="no GPU here"):
        chosen_device("cuda:0")
