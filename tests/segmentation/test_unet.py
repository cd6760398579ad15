from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import UNet
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


@pytest.mark.parametrize("gain", [0.2, 5.0])
def test_gain(simulated: SimulatedField, gain: float) -> None:
    image = (simulated.field.image * gain).clip(0, 255).astype(np.uint8)
    assert f1(found_in(changed(simulated.field, image)), simulated.segmentation) > 0.8


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


def test_one_giant_nucleus() -> None:
    image = np.zeros((4, 256, 256), dtype=np.uint8)
    image[Channel.NUCLEUS] = 200
    image[Channel.NUCLEUS, :4] = 10
    assert found_in(Field(field_id="giant", image=image, pixel_size_um=0.08)).cells.shape == (256, 256)


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


def test_a_large_field_goes_through_in_tiles(simulated: SimulatedField) -> None:
    whole = found_in(simulated.field)
    tiled = found_in(simulated.field, UNet(device="cpu", tile_px=256))
    np.testing.assert_array_equal(tiled.cells, whole.cells)
    np.testing.assert_array_equal(tiled.nuclei, whole.nuclei)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tile_px is 100: give a multiple of 32"):
        UNet(tile_px=100)
    empty = Field(field_id="f", image=np.zeros((4, 8, 8), dtype=np.uint8), pixel_size_um=0.32)
    with pytest.raises(ValueError, match="device is 'tpu9x': give auto"):
        UNet(device="tpu9x").segment([empty])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        UNet(device="cpu", weights=str(tmp_path / "none.safetensors")).segment([empty])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no GPU"):
            UNet(device="cuda").segment([empty])
