from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.segmentation import HpaCellSeg, Segmenter
from hpa_cells.segmentation.hpacellseg import segmenter as module
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet
from hpa_cells.segmentation.hpacellseg.weights import CELLS, CELLS_WITHOUT_ER, NUCLEI
from hpa_cells.types import Channel, Field

# Row, column and radius in um of cells whose nuclei are half as wide.
CELLS_UM = [(25, 30, 16), (28, 75, 17), (60, 110, 15)]


class Reads(nn.Module):
    """Interiors where the mean of some planes is bright."""

    def __init__(self, planes: list[int]) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.planes = planes
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        mean = torch.tensor([124, 117, 104])[:, None, None] / 255
        bright = (images / (0.0167 * 255) + mean)[:, self.planes].mean(dim=1)
        return torch.stack([0 * bright, 0 * bright - 20, 60 * (bright - 0.3) * self.factor], dim=1)


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> tuple[Reads, Reads]:
    """Networks of nuclei and of cells that look at the right channels, in place of the published ones."""
    pair = Reads([0, 1, 2]), Reads([0, 2])
    monkeypatch.setattr(module, "_networks", lambda *_: pair)
    return pair


def made_up_field(
    height: int = 1040, width: int = 1800, pixel_size_um: float = 0.08, bits: int = 8, field_id: str = "f"
) -> Field:
    """Round cells with bright nuclei."""
    y, x = np.indices((height, width)) * pixel_size_um
    image = np.zeros((4, height, width), dtype=np.uint16)
    for row, column, radius in CELLS_UM:
        distance = np.hypot(y - row, x - column)
        for channel in (Channel.MICROTUBULES, Channel.ER):
            image[channel][distance <= radius] = 250
        image[Channel.NUCLEUS][distance <= radius / 2] = 250
    pixels = image.astype(np.uint8) if bits == 8 else image * 257
    return Field(field_id=field_id, image=pixels, pixel_size_um=pixel_size_um)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize(
    ("height", "width", "pixel_size_um"),
    [(1040, 1800, 0.08), (520, 900, 0.16), (260, 450, 0.32), (130, 225, 0.64), (1733, 3001, 0.048)],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_any_shape_depth_and_pixel_size(height: int, width: int, pixel_size_um: float, bits: int) -> None:
    field = made_up_field(height, width, pixel_size_um, bits)
    [found] = HpaCellSeg().segment([field])
    assert found.cells.shape == (height, width)
    assert found.pixel_size_um == pixel_size_um
    assert len(found.cell_ids) == len(CELLS_UM)
    for row, column, radius in CELLS_UM:
        at = round(row / pixel_size_um), round(column / pixel_size_um)
        assert found.cells[at] == found.nuclei[at] > 0
        area_um2 = (found.cells == found.cells[at]).sum() * pixel_size_um**2
        assert area_um2 == pytest.approx(np.pi * radius**2, rel=0.15)


@pytest.mark.usefixtures("networks")
def test_fields_do_not_change_one_another() -> None:
    shapes = [(1040, 1800), (1800, 1040), (1040, 1800), (700, 1800)]
    fields = [made_up_field(*shape, field_id=f"f{index}") for index, shape in enumerate(shapes)]
    together = HpaCellSeg().segment(fields)
    for field, found in zip(fields, together, strict=True):
        [alone] = HpaCellSeg().segment([field])
        assert found.field_id == field.field_id
        np.testing.assert_array_equal(found.cells, alone.cells)
        np.testing.assert_array_equal(found.nuclei, alone.nuclei)


@pytest.mark.parametrize(("is_on_gpu", "batches"), [(True, [3]), (False, [1, 1, 1])])
def test_on_a_gpu_fields_of_one_size_go_through_together(
    networks: tuple[Reads, Reads], is_on_gpu: bool, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HpaCellSeg, "is_on_gpu", is_on_gpu)
    HpaCellSeg().segment([made_up_field()] * 3)
    for network in networks:
        assert [shape[0] for shape in network.batches] == batches


def test_a_large_field_goes_through_in_tiles(networks: tuple[Reads, Reads]) -> None:
    field = made_up_field(400, 1300, 0.32)
    [whole] = HpaCellSeg().segment([field])
    [tiled] = HpaCellSeg(tile_px=256).segment([field])
    np.testing.assert_array_equal(tiled.cells, whole.cells)
    np.testing.assert_array_equal(tiled.nuclei, whole.nuclei)
    for network in networks:
        assert network.batches[0] == (1, 3, 448, 1344)  # with a margin, in multiples of 32
        assert len(network.batches[1:]) == 2 * 6
        assert max(network.batches[1:]) == (1, 3, 448, 896)


def test_each_network_sees_its_channels(
    networks: tuple[Reads, Reads], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, NDArray[np.float32]] = {}

    def predict(network: Reads, images: list[NDArray[np.float32]], **_: Any) -> list[NDArray[np.float32]]:
        seen["nuclei" if network is networks[0] else "cells"] = images[0]
        return [np.zeros_like(images[0])]

    monkeypatch.setattr("hpa_cells.segmentation.hpacellseg.inference.predict", predict)
    image = np.zeros((4, 64, 64), dtype=np.uint8)
    image[:] = np.array([51, 255, 102, 204])[:, None, None]
    field = Field(field_id="f", image=image, pixel_size_um=0.32)
    HpaCellSeg().segment([field])
    np.testing.assert_allclose(seen["nuclei"][0, 0], [0.4, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(seen["cells"][0, 0], [0.2, 0.8, 0.4], atol=1e-6)
    HpaCellSeg(with_er=False).segment([field])
    np.testing.assert_allclose(seen["cells"][0, 0], [0.2, 0, 0.4], atol=1e-6)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("shape", [(1040, 1800), (5, 7), (1, 1)])
def test_fields_of_one_value(value: int, shape: tuple[int, int]) -> None:
    image = np.full((4, *shape), value, dtype=np.uint8)
    [found] = HpaCellSeg().segment([Field(field_id="f", image=image, pixel_size_um=0.08)])
    assert found.cells.shape == shape
    assert len(found.cell_ids) <= 1


def test_no_fields(networks: tuple[Reads, Reads]) -> None:
    assert HpaCellSeg().segment([]) == []


@pytest.mark.parametrize(
    ("shape", "at_the_networks"),
    [
        ((2048, 2048), (512, 512)),
        ((1728, 1728), (432, 432)),
        ((3072, 3072), (768, 768)),
        ((1202, 649), (300, 162)),
        ((1, 5), (1, 1)),
    ],
)
def test_sizes_at_the_networks_are_a_quarter(
    shape: tuple[int, int], at_the_networks: tuple[int, int]
) -> None:
    field = Field(field_id="f", image=np.zeros((4, *shape), dtype=np.uint8), pixel_size_um=0.08)
    for with_er in (False, True):
        assert HpaCellSeg(with_er=with_er).see(field).shape == (*at_the_networks, 3)


def test_the_er_is_optional_for_one_of_the_networks() -> None:
    assert HpaCellSeg().optional_channels == {Channel.PROTEIN}
    assert HpaCellSeg(with_er=False).optional_channels == {Channel.PROTEIN, Channel.ER}


def test_it_travels_to_other_processes() -> None:
    segmenter: Segmenter = HpaCellSeg(device="cpu", weights="w")
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter


def test_settings_are_checked() -> None:
    for tile_px in (0, 128, 1000):
        with pytest.raises(ValueError, match=rf"segmenter\.tile_px is {tile_px}: give a multiple of 32"):
            HpaCellSeg(tile_px=tile_px)


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("half", "no", "true or false"),
        ("half", 1, "true or false"),
        ("with_er", "no", "true or false"),
        ("with_er", None, "true or false"),
        ("device", 3, "auto, cpu, cuda or cuda:0"),
        ("device", None, "auto, cpu, cuda or cuda:0"),
        ("weights", 3, "a path or null"),
        ("tile_px", "1024", "a whole number"),
        ("tile_px", 1024.0, "a whole number"),
        ("tile_px", True, "a whole number"),
    ],
)
def test_settings_of_another_type_are_refused(setting: str, value: Any, wanted: str) -> None:
    with pytest.raises(
        TypeError, match=rf"segmenter\.{setting} is {value!r}, of type {type(value).__name__}: give {wanted}"
    ):
        HpaCellSeg(**{setting: value})


def test_weights_may_be_a_path(tmp_path: Path) -> None:
    weights: Any = tmp_path
    assert HpaCellSeg(weights=weights).weights == tmp_path


@pytest.mark.parametrize(("with_er", "cell_file"), [(True, CELLS), (False, CELLS_WITHOUT_ER)])
def test_the_files_of_a_folder(
    tmp_path: Path,
    narrow: DPNUNet,
    another_narrow: Callable[[str], DPNUNet],
    with_er: bool,
    cell_file: str,
) -> None:
    torch.save(narrow.state_dict(), tmp_path / NUCLEI)
    torch.save(another_narrow("cells").state_dict(), tmp_path / cell_file)
    module._networks.cache_clear()
    segmenter = HpaCellSeg(weights=str(tmp_path), with_er=with_er, device="cpu")
    small = Field(field_id="f", image=made_up_field().image[:, ::8, ::8].copy(), pixel_size_um=0.64)
    [first], [second] = segmenter.segment([small]), segmenter.segment([small])
    np.testing.assert_array_equal(first.cells, second.cells)
    assert module._networks.cache_info().hits == 1
    module._networks.cache_clear()


def test_torch_waits_until_it_is_needed() -> None:
    code = "import sys, hpa_cells.segmentation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("networks")
def test_a_real_field_of_16_bits(real_data: Path) -> None:
    """Only that nothing breaks: the networks here know nothing of cells."""
    path = sorted((real_data / "hpa_public" / "fields").glob("*_blue.png"))[0]
    nuclei = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    plane = nuclei if nuclei.ndim == 2 else nuclei[..., 0]
    image = np.stack([plane.astype(np.uint16) * 257] * 4)
    [found] = HpaCellSeg().segment([Field(field_id="f", image=image, pixel_size_um=0.08)])
    assert found.cells.shape == plane.shape
