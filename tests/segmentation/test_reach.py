from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hpa_cells.segmentation.network import CellUNet, NetworkSettings
from hpa_cells.segmentation.reach import MOST_PX, reach_px


class Sums:
    """Sums over squares of `2 * reach_px + 1` px."""

    stride_px = 8

    def __init__(self, reach_px: int) -> None:
        self.reach_px = reach_px

    def read_off(self, planes: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(planes, 2 * self.reach_px + 1, 1, self.reach_px)


def wide_awake(encoder: str) -> CellUNet:
    """A network of random weights whose residual branches add something."""
    torch.manual_seed(0)
    network = CellUNet(NetworkSettings(encoder=encoder, decoder_channels=[8, 8, 8, 8])).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return network


@pytest.mark.parametrize("reach", [0, 3, 40])
def test_the_reach_of_sums(reach: int) -> None:
    assert reach_px(Sums(reach)) == reach


def test_beyond_its_reach_nothing_changes_and_within_it_something_does() -> None:
    network = wide_awake("test_resnet")
    reach = reach_px(network)
    assert reach is not None
    planes = torch.rand(1, 3, 16, 512, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        first = network.read_off(planes)[..., 256:272]
        for beyond, changes in ((1, False), (-16, True)):
            changed = planes.clone()
            changed[..., : 256 - reach - beyond + 1] += 5
            changed[..., 271 + reach + beyond :] += 5
            assert (network.read_off(changed)[..., 256:272] != first).any() == changes


def test_deeper_networks_look_further() -> None:
    shallow, deep = (reach_px(wide_awake(encoder)) for encoder in ("resnet18", "resnet34"))
    assert shallow is not None
    assert deep is not None
    assert shallow < 256 < deep < MOST_PX


def test_one_that_looks_at_the_whole_image_has_no_reach() -> None:
    assert reach_px(wide_awake("test_efficientnet")) is None
