from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.segmentation.hpacellseg.inference import predict
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet

SHAPES = [(64, 96), (40, 70), (64, 96), (96, 64), (50, 90), (5, 33)]


@pytest.fixture
def network(another_narrow: Callable[[str], DPNUNet]) -> DPNUNet:
    return another_narrow("a")


def images_of(shapes: list[tuple[int, int]]) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.random((*shape, 3), dtype=np.float32) for shape in shapes]


@pytest.mark.parametrize("margin", [False, True])
def test_images_do_not_change_one_another(network: DPNUNet, margin: bool) -> None:
    images = images_of(SHAPES)
    found = predict(network, images, margin=margin, half=False, tile_px=1024)
    for image, each in zip(images, found, strict=True):
        [alone] = predict(network, [image], margin=margin, half=False, tile_px=1024)
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
    [found] = predict(network, [image], margin=True, half=False, tile_px=1024)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


class Sharp(nn.Module):
    """Borders and interiors by the pixel itself and one that is 300 px away."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, planes: Tensor) -> Tensor:
        self.shapes.append(tuple(planes.shape))
        return planes + self.factor * planes.roll((300, -300), dims=(2, 3))


def test_images_of_one_size_go_through_together() -> None:
    network = Sharp()
    predict(network, images_of([(64, 64)] * 5 + [(40, 70)]), margin=False, half=False, tile_px=1024)
    assert network.shapes == [(5, 3, 64, 64), (1, 3, 64, 96)]


@pytest.mark.parametrize("margin", [False, True])
def test_tiled_equals_whole(network: DPNUNet, margin: bool) -> None:
    [image] = images_of([(300, 1100)])
    [whole] = predict(network, [image], margin=margin, half=False, tile_px=2048)
    [tiled] = predict(network, [image], margin=margin, half=False, tile_px=256)
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_a_tile_sees_what_the_network_looks_at() -> None:
    network = Sharp()
    [image] = images_of([(1500, 1400)])
    [whole] = predict(network, [image], margin=False, half=False, tile_px=2048)
    [tiled] = predict(network, [image], margin=False, half=False, tile_px=256)
    assert len(network.shapes) == 1 + 6 * 6
    # At the edges of the image, `roll` goes round.
    np.testing.assert_array_equal(tiled[320:-320, 320:-320], whole[320:-320, 320:-320])


def test_no_images(network: DPNUNet) -> None:
    assert predict(network, [], margin=True, half=False, tile_px=1024) == []


def test_half_precision_is_nearly_the_same(network: DPNUNet) -> None:
    [image] = images_of([(64, 64)])
    [whole], [half] = (
        predict(network, [image], margin=False, half=each, tile_px=1024) for each in (False, True)
    )
    assert half.dtype == np.float32
    assert 0 < np.abs(whole - half).max() < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_finds_the_same(network: DPNUNet) -> None:
    [image] = images_of([(64, 96)])
    [wanted] = predict(network, [image], margin=True, half=False, tile_px=1024)
    [found] = predict(network.to("cuda"), [image], margin=True, half=False, tile_px=1024)
    [half] = predict(network, [image], margin=True, half=True, tile_px=1024)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_allclose(half, wanted, atol=0.02)
