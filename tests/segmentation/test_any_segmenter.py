"""What every segmenter owes, whatever the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hpa_cells.commands.settings import conf_folder
from hpa_cells.segmentation import HpaCellSeg, Precomputed, Segmenter, TableMasks, UNet, Watershed
from hpa_cells.segmentation.hpacellseg import segmenter as hpacellseg
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet, DualPathPlan
from hpa_cells.segmentation.network import CellUNet, NetworkSettings, write_network
from hpa_cells.types import NUM_CHANNELS, Channel, Field, label_ids

NARROW = DualPathPlan(
    stem_width=4, residual_width=8, reduced_width=4, groups=2, depths=(1, 1, 2, 1), increments=(2, 2, 2, 2)
)
TINY = NetworkSettings(encoder="test_resnet", decoder_channels=[16, 8, 8, 8])

Build = Callable[[Path, pytest.MonkeyPatch], Segmenter]


def watershed(_: Path, __: pytest.MonkeyPatch) -> Segmenter:
    return Watershed()


def unet(folder: Path, _: pytest.MonkeyPatch) -> Segmenter:
    """Of random weights: it knows nothing of cells."""
    torch.manual_seed(0)
    write_network(CellUNet(TINY), folder / "unet.safetensors", provenance={})
    return UNet(weights=str(folder / "unet.safetensors"), device="cpu")


def published(_: Path, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """Of random weights, sure of what they find."""
    torch.manual_seed(0)
    pair = DPNUNet(NARROW).eval(), DPNUNet(NARROW).eval()
    for network in pair:
        torch.nn.init.normal_(network.final[0].weight, std=10)
    monkeypatch.setattr(hpacellseg, "_networks", lambda *_: pair)
    return HpaCellSeg(device="cpu")


def full(value: int, dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
    return np.full((NUM_CHANNELS, 200, 300), value, dtype=dtype)


def no_nucleus() -> NDArray[Any]:
    image = np.random.default_rng(0).poisson(60, (NUM_CHANNELS, 200, 300)).astype(np.uint8)
    image[Channel.NUCLEUS] = 0
    return image


def giant_nucleus() -> NDArray[Any]:
    image = full(3)
    for plane, radius in zip(image, (98, 60, 90, 98), strict=True):
        cv2.circle(plane, (150, 100), radius, 200, thickness=-1)
    return image


FIELDS = {
    "black": full(0),
    "saturated": full(255),
    "saturated 16 bit": full(65535, np.uint16),
    "one white pixel": np.pad(np.full((4, 1, 1), 255, np.uint8), [(0, 0), (90, 109), (150, 149)]),
    "no nucleus": no_nucleus(),
    "one giant nucleus": giant_nucleus(),
    "nuclei everywhere": giant_nucleus() // 2 + 120,
    "one pixel": full(9)[:, :1, :1].copy(),
    "one row": no_nucleus()[:, :1].copy(),
}


@pytest.mark.parametrize("pixel_size_um", [0.08, 0.7])
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("build", [watershed, unet, published])
def test_odd_fields_come_back_in_their_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Build, name: str, pixel_size_um: float
) -> None:
    segmenter, image = build(tmp_path, monkeypatch), FIELDS[name]
    segmenter.prepare()
    [found] = segmenter.segment([Field(field_id="f", image=image, pixel_size_um=pixel_size_um)])
    assert found.cells.shape == found.nuclei.shape == image.shape[1:]
    assert found.pixel_size_um == pixel_size_um
    assert set(label_ids(found.nuclei)) <= set(found.cell_ids)


@pytest.mark.parametrize("name", ["black", "saturated", "saturated 16 bit", "no nucleus", "one pixel"])
@pytest.mark.parametrize("build", [watershed, unet])
def test_nothing_is_found_where_no_nucleus_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Build, name: str
) -> None:
    segmenter = build(tmp_path, monkeypatch)
    [found] = segmenter.segment([Field(field_id="f", image=FIELDS[name], pixel_size_um=0.3)])
    assert not found.cells.any()
    assert not found.nuclei.any()


def test_what_is_missing_is_said_before_any_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors does not exist"):
        UNet(weights=str(tmp_path / "none.safetensors"), device="cpu").prepare()
    with pytest.raises(ValueError, match="'tpu9x': give auto"):
        UNet(device="tpu9x").prepare()
    with pytest.raises(ValueError, match="'tpu9x': give auto"):
        HpaCellSeg(device="tpu9x").prepare()
    (tmp_path / "dpn_unet_nuclei_v1.pth").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"dpn_unet_nuclei_v1\.pth is not a network"):
        HpaCellSeg(weights=str(tmp_path), device="cpu").prepare()
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        TableMasks(folder=str(tmp_path / "run")).prepare()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Precomputed(folder=tmp_path / "masks")


def test_what_needs_nothing_is_ready(tmp_path: Path) -> None:
    for segmenter in (Watershed(), Precomputed(folder=tmp_path)):
        segmenter.prepare()


@pytest.mark.parametrize("kind", [UNet, HpaCellSeg])
def test_the_files_settings_are_the_defaults(kind: type[Any]) -> None:
    node = OmegaConf.load(conf_folder() / "segmenter" / f"{kind.__name__.lower()}.yaml")
    assert instantiate(node) == kind()
    assert set(node) - {"_target_"} == {setting.name for setting in fields(kind)}
