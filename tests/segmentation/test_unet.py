from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import UNet, unet
from hpa_cells.segmentation.network import CellUNet, NetworkSettings, write_network
from hpa_cells.simulation import Recipe, SimulatedField, simulate_field
from hpa_cells.types import Channel, Field, Segmentation, label_ids

TINY = NetworkSettings(encoder="test_resnet", decoder_channels=[16, 8, 8, 8])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated() -> SimulatedField:
    return simulate_field(Recipe(height_px=800, width_px=1000, pixel_size_um=0.16), 3)


def f1(found: Segmentation, truth: Segmentation, iou: float = 0.6) -> float:
    return float(score_instances([(found.cells, truth.cells)], iou_thresholds=[iou])["f1"].item())


def found_in(field: Field, segmenter: UNet | None = None) -> Segmentation:
    [found] = (segmenter or UNet(device="cpu")).segment([field])
    assert found.cells.shape == found.nuclei.shape == (field.height_px, field.width_px)
    return found


def changed(field: Field, image: NDArray[np.generic], pixel_size_um: float | None = None) -> Field:
    return Field(field_id=field.field_id, image=image, pixel_size_um=pixel_size_um or field.pixel_size_um)


def test_it_finds_the_cells_of_a_simulated_field(simulated: SimulatedField) -> None:
    found = found_in(simulated.field)
    assert f1(found, simulated.segmentation) > 0.9
    np.testing.assert_array_equal(label_ids(found.nuclei), found.cell_ids)


def test_gains_cost_few_cells() -> None:
    pairs: dict[float, list[tuple[NDArray[np.int32], NDArray[np.int32]]]] = {0.2: [], 1.0: [], 5.0: []}
    for index in range(2):
        simulated = simulate_field(Recipe(height_px=480, width_px=480, pixel_size_um=0.24), index)
        for gain, found in pairs.items():
            image = (simulated.field.image * gain).clip(0, 255).astype(np.uint8)
            found.append((found_in(changed(simulated.field, image)).cells, simulated.segmentation.cells))
    f1s = {gain: score_instances(found, iou_thresholds=[0.6])["f1"].item() for gain, found in pairs.items()}
    assert min(f1s.values()) >= f1s[1.0] - 0.03, f1s


def test_a_16_bit_copy_gives_the_same_cells(simulated: SimulatedField) -> None:
    copy = changed(simulated.field, simulated.field.image.astype(np.uint16) * 257)
    assert f1(found_in(copy), found_in(simulated.field), 0.95) == 1


def test_a_smaller_copy_gives_the_same_cells(simulated: SimulatedField) -> None:
    small = np.stack(
        [cv2.resize(plane, (500, 400), interpolation=cv2.INTER_AREA) for plane in simulated.field.image]
    )
    found = found_in(changed(simulated.field, small, 0.32))
    enlarged = cv2.resize(found.cells, (1000, 800), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    assert (
        score_instances([(enlarged, found_in(simulated.field).cells)], iou_thresholds=[0.8])["f1"].item()
        > 0.9
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 300, 400), dtype=np.uint8),
        np.full((4, 300, 400), 255, dtype=np.uint8),
        np.full((4, 300, 400), 65535, dtype=np.uint16),
        np.random.default_rng(0).poisson(3, (4, 300, 400)).astype(np.uint8),
    ],
    ids=["black", "saturated", "saturated 16 bit", "noise"],
)
def test_a_field_without_cells_has_none(image: NDArray[np.generic]) -> None:
    found = found_in(Field(field_id="empty", image=image, pixel_size_um=0.16))
    assert not found.cells.any()
    assert not found.nuclei.any()


def test_without_cytoplasm_a_cell_is_its_nucleus(simulated: SimulatedField) -> None:
    image = np.zeros_like(simulated.field.image)
    image[Channel.NUCLEUS] = simulated.field.image[Channel.NUCLEUS]
    found = found_in(changed(simulated.field, image))
    assert found.cells.any()
    assert ((found.cells > 0) & (found.nuclei == 0)).mean() < 0.01


@pytest.mark.parametrize("blue", ["black", "saturated"])
def test_without_a_nuclear_stain_there_is_nothing(simulated: SimulatedField, blue: str) -> None:
    image = simulated.field.image.copy()
    image[Channel.NUCLEUS] = 255 if blue == "saturated" else 0
    found = found_in(changed(simulated.field, image))
    assert not found.cells.any()
    assert not found.nuclei.any()


def test_a_nucleus_that_fills_the_field_is_one_cell() -> None:
    image = np.zeros((4, 256, 256), dtype=np.uint8)
    image[Channel.NUCLEUS] = 200
    image[Channel.NUCLEUS, :4] = 10
    found = found_in(Field(field_id="giant", image=image, pixel_size_um=0.08))
    assert found.cell_ids.tolist() == [1]
    assert ((found.nuclei == 1) == (image[Channel.NUCLEUS] > 100)).mean() > 0.98


def disks(um: tuple[float, float, float, float]) -> Field:
    """Red, green, blue and yellow disks of these diameters around one middle."""
    image = np.full((4, 800, 800), 3, dtype=np.uint8)
    for plane, diameter_um in zip(image, um, strict=True):
        cv2.circle(plane, (400, 400), int(diameter_um / 0.24 / 2), 200, thickness=-1)
    return Field(field_id="giant", image=image, pixel_size_um=0.24)


def test_a_giant_cell_is_one_cell() -> None:
    field = disks((80, 48, 64, 80))
    found = found_in(field)
    disk = field.image[Channel.MICROTUBULES] > 100
    assert found.cell_ids.tolist() == [1]
    assert ((found.cells > 0) & disk).sum() > 0.9 * (disk | (found.cells > 0)).sum()


def test_of_a_giant_disk_alike_in_all_channels_slivers_are_found() -> None:
    """No cell looks so: its nucleus has no rim, and what is found lies along the disk's own."""
    field = disks((144, 144, 144, 144))
    found = found_in(field)
    disk = cv2.dilate((field.image[Channel.NUCLEUS] > 100).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert len(found.cell_ids) <= 2
    assert not (found.cells > 0)[~disk].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (33, 57)])
def test_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (4, *shape), dtype=np.uint8)
    found_in(Field(field_id="odd", image=image, pixel_size_um=0.08))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    write_network(CellUNet(TINY), path, provenance={})
    return str(path)


def test_company_and_order_change_nothing(simulated: SimulatedField, tiny: str) -> None:
    other = simulate_field(Recipe(height_px=400, width_px=300, pixel_size_um=0.32), 0).field
    together = UNet(device="cpu", weights=tiny).segment([simulated.field, other, simulated.field])
    assert [each.field_id for each in together] == [
        simulated.field.field_id,
        other.field_id,
        simulated.field.field_id,
    ]
    np.testing.assert_array_equal(together[0].cells, together[2].cells)
    np.testing.assert_array_equal(together[1].cells, found_in(other, UNet(device="cpu", weights=tiny)).cells)


def test_it_travels_to_other_processes(tiny: str) -> None:
    segmenter = UNet(weights=tiny, device="cpu")
    segmenter.segment([Field(field_id="f", image=np.zeros((4, 64, 64), dtype=np.uint8), pixel_size_um=0.32)])
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter
    assert len(pickle.dumps(segmenter)) < 1000


def test_a_large_field_goes_through_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    read_off = CellUNet.read_off

    def recorded(network: CellUNet, planes: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(planes.shape[2:]))
        return read_off(network, planes)

    field = simulate_field(Recipe(height_px=160, width_px=1408, pixel_size_um=0.32), 3).field
    whole = found_in(field)
    monkeypatch.setattr(CellUNet, "read_off", recorded)
    tiled = found_in(field, UNet(device="cpu", tile_px=256))
    assert len(shapes) == 6
    assert max(shapes) == (160, 768)
    np.testing.assert_array_equal(tiled.cells, whole.cells)
    np.testing.assert_array_equal(tiled.nuclei, whole.nuclei)
    monkeypatch.setattr(unet, "_margin_px", lambda _: 0)
    seamed = found_in(field, UNet(device="cpu", tile_px=256))
    assert (seamed.cells != whole.cells).mean() > 0.001, "the test would not see a seam"


@pytest.mark.parametrize(("reach", "margin_px"), [(0, 256), (137, 256), (256, 256), (305, 320), (None, 0)])
def test_the_margin_is_as_wide_as_the_network_looks(reach: int | None, margin_px: int) -> None:
    assert unet._margin_px(reach) == margin_px


def test_a_network_that_looks_everywhere_takes_whole_fields_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = NetworkSettings(encoder="test_efficientnet", decoder_channels=[16, 8, 8, 8])
    network = CellUNet(settings)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    write_network(network, tmp_path / "wide.safetensors", provenance={})
    segmenter = UNet(device="cpu", weights=str(tmp_path / "wide.safetensors"), tile_px=256)
    image = np.random.default_rng(0).poisson(9, (4, 100, 257)).astype(np.uint8)
    found_in(Field(field_id="f", image=image[..., :256], pixel_size_um=0.32), segmenter)
    with pytest.raises(
        ValueError, match=r"Field f has 100 x 257 px .* tiles of 256 px: give a segmenter\.tile_px"
    ):
        found_in(Field(field_id="f", image=image, pixel_size_um=0.32), segmenter)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile_px": 100}, "tile_px is 100: give a multiple of 32"),
        ({"tile_px": 512.0}, r"tile_px is 512\.0: give a multiple of 32"),
        ({"tile_px": "abc"}, "tile_px is 'abc': give a multiple of 32"),
        ({"half": "no"}, "half is 'no': give true or false"),
        ({"half": 1}, "half is 1: give true or false"),
        ({"device": 0}, "device is 0: give text"),
        ({"weights": 5}, "weights is 5: give text"),
    ],
)
def test_settings_of_the_wrong_kind(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(**settings)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    empty = Field(field_id="f", image=np.zeros((4, 8, 8), dtype=np.uint8), pixel_size_um=0.32)
    with pytest.raises(ValueError, match="device is 'tpu9x': give auto"):
        UNet(device="tpu9x").segment([empty])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        UNet(device="cpu", weights=str(tmp_path / "none.safetensors")).segment([empty])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no GPU"):
            UNet(device="cuda").segment([empty])
