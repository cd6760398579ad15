from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpa_cells.segmentation.network import CellUNet, NetworkSettings
from hpa_cells.segmentation.tiles import infer_maps

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> CellUNet:
    torch.manual_seed(0)
    network = CellUNet(NetworkSettings(encoder="test_resnet", decoder_channels=[16, 8, 8, 8])).eval()
    for parameter in network.parameters():
        # Freshly made residual branches add nothing: the network would look no further than its first layer.
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return network


def infer(network: CellUNet, *images: NDArray[np.float32], **tiles: int) -> list[NDArray[np.float32]]:
    sizes = {"tile_px": 1024, "margin_px": 128} | tiles
    return infer_maps(network, images, device=CPU, half=False, together=True, **sizes)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((3, height, width), dtype=np.float32)


def test_tiled_equals_whole(network: CellUNet) -> None:
    image = noise(500, 420)
    [whole] = infer(network, image)
    [tiled] = infer(network, image, tile_px=128, margin_px=128)
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    [seamed] = infer(network, image, tile_px=128, margin_px=16)
    assert np.abs(seamed - whole).max() > 1e-2, "the test would not see a seam"


@pytest.mark.parametrize("shape", [(64, 64), (33, 97), (1, 5), (129, 31)])
def test_any_shape_comes_back(network: CellUNet, shape: tuple[int, int]) -> None:
    [maps] = infer(network, noise(*shape))
    assert maps.shape == (4, *shape)
    assert maps.dtype == np.float32


def test_company_changes_nothing(network: CellUNet) -> None:
    images = [noise(64, 96, 1), noise(96, 64, 2), noise(64, 96, 3)]
    together = infer(network, *images)
    for image, maps in zip(images, together, strict=True):
        [alone] = infer(network, image)
        np.testing.assert_allclose(maps, alone, atol=1e-3)


def test_probabilities_are_probabilities(network: CellUNet) -> None:
    [maps] = infer(network, noise(96, 96))
    assert ((maps[:2] >= 0) & (maps[:2] <= 1)).all()
    with torch.inference_mode():
        logits = network(torch.from_numpy(noise(96, 96))[None])[0]
    np.testing.assert_allclose(maps[:2], logits[:2].sigmoid(), atol=1e-4)
    np.testing.assert_allclose(maps[2:], logits[2:], atol=1e-3)


class Sums:
    """Sums over 7 x 7 px as one map of two, and what it was given."""

    stride_px = 8

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def read_off(self, planes: Tensor) -> Tensor:
        self.shapes.append(tuple(planes.shape))
        sums = torch.nn.functional.avg_pool2d(planes, 7, 1, 3, divisor_override=1).sum(dim=1, keepdim=True)
        return torch.cat([sums, planes[:, :1]], dim=1)


@pytest.mark.parametrize("shape", [(100, 90), (40, 200), (64, 64), (41, 33)])
def test_each_pixel_is_kept_once(shape: tuple[int, int]) -> None:
    [whole], [tiled] = (
        infer_maps(
            Sums(), [noise(*shape)], device=CPU, half=False, tile_px=tile_px, margin_px=8, together=True
        )
        for tile_px in (1024, 24)
    )
    assert tiled.shape == (2, *shape)
    np.testing.assert_array_equal(tiled[1], noise(*shape)[0])
    np.testing.assert_allclose(tiled[0], whole[0], atol=1e-4)


def test_no_more_pixels_go_through_at_once_than_a_tile_has() -> None:
    network = Sums()
    images = [noise(24, 40)] * 5 + [noise(40, 24), noise(200, 200)]
    infer_maps(network, images, device=CPU, half=False, tile_px=48, margin_px=8, together=True)
    assert network.shapes[:3] == [(4, 3, 24, 40), (1, 3, 24, 40), (1, 3, 40, 24)]
    assert len(network.shapes) == 3 + 5 * 5
    assert max(n * h * w for n, _, h, w in network.shapes) <= 64 * 64


def test_alone_what_goes_through_does_not_depend_on_the_others() -> None:
    network = Sums()
    images = [noise(24, 40)] * 3 + [noise(40, 24)]
    infer_maps(network, images, device=CPU, half=False, tile_px=48, margin_px=8, together=False)
    assert network.shapes == [(1, 3, 24, 40)] * 3 + [(1, 3, 40, 24)]


def test_no_images(network: CellUNet) -> None:
    assert infer(network) == []


def test_half_precision_is_nearly_the_same(network: CellUNet) -> None:
    [whole] = infer(network, noise(64, 64))
    [half] = infer_maps(
        network, [noise(64, 64)], device=CPU, half=True, tile_px=1024, margin_px=0, together=True
    )
    assert half.dtype == np.float32
    assert 0 < np.abs(half[:2] - whole[:2]).max() < 0.05
