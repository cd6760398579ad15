from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hpa_cells.segmentation.network import CellUNet, NetworkSettings, read_network, write_network
from hpa_cells.segmentation.unet import PACKAGED_WEIGHTS

SMALL = NetworkSettings(encoder="test_resnet", decoder_channels=[16, 8, 8, 8])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "unet.safetensors"
    write_network(CellUNet(SMALL), path, provenance={"version": "1", "steps": 3})
    return path


def test_what_is_written_is_read(weights: Path) -> None:
    network, provenance = read_network(weights)
    torch.manual_seed(0)
    made = CellUNet(SMALL).eval()
    assert network.settings == SMALL
    assert provenance == {"version": "1", "steps": 3}
    assert not network.training
    planes = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        # Half precision keeps three digits of each weight.
        torch.testing.assert_close(network(planes), made(planes), atol=0.02, rtol=0.02)


def test_it_takes_half_of_the_room(weights: Path) -> None:
    num_parameters = sum(parameter.numel() for parameter in CellUNet(SMALL).parameters())
    assert weights.stat().st_size < 2.3 * num_parameters


def metadata_of(**changes: object) -> dict[str, str]:
    maps = [each.name for each in CellUNet(SMALL).representation.maps]
    described = {
        "format_version": 2,
        "network": {"encoder": "test_resnet"},
        "maps": maps,
        "provenance": {},
    } | changes
    return {"hpa_cells": json.dumps(described)}


def test_weights_that_cannot_be_used(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors does not exist"):
        read_network(tmp_path / "nowhere.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.safetensors is no file of weights, or damaged"):
        read_network(cut)
    pickled = tmp_path / "pickled.safetensors"
    torch.save({"weight": torch.zeros(3)}, pickled)
    with pytest.raises(ValueError, match="is no file of weights"):
        read_network(pickled)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "is not a segmenter of this version"),
        (
            metadata_of(maps=["nucleus", "cell", "cell depth to 3 um"]),
            "they give .*cell depth to 3 um; read are",
        ),
        (metadata_of(format_version=99), "is not a segmenter of this version"),
        (metadata_of(network={"encoder": "test_efficientnet"}), "does not hold the weights"),
        (metadata_of(network={"encoder": "test_resnet", "decoder_channels": [8, 8, 8, 8]}), "does not hold"),
        (metadata_of(network={"depth": 3}), "does not hold the weights"),
        (metadata_of(network=[3]), "does not hold the weights"),
        (metadata_of(network={"encoder": "mixer_s16_224"}), "does not hold .*downsampling"),
        (
            metadata_of(network={"encoder": "test_resnet", "decoder_channels": [2048] * 4}),
            r"expected .*\(2048,",
        ),
        (metadata_of(network={"encoder": "test_resnet", "decoder_channels": [8] * 5}), "it lacks .* tensors"),
        (
            metadata_of(network={"encoder": "hf-hub:some/body"}),
            "encoder is 'hf-hub:some/body': give the plain",
        ),
        (
            metadata_of(network={"encoder": "test_resnet", "um_per_px": 1e9}),
            "um_per_px is 1000000000.0: give",
        ),
        (
            {"hpa_cells": metadata_of()["hpa_cells"].replace("provenance", "origin")},
            "does not state its provenance",
        ),
        ({"hpa_cells": "[" * 100_000}, "is no file of weights, or damaged"),
    ],
)
def test_weights_of_something_else(
    weights: Path, tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    other = tmp_path / "other.safetensors"
    save_file(load_file(weights), other, metadata=metadata)
    with pytest.raises(ValueError, match=rf"other\.safetensors .*{message}"):
        read_network(other)


def with_one(value: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        changed = tensor.clone()
        changed.view(-1)[-1] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_one(float("nan")), "has numbers that are not finite"),
        (with_one(float("-inf")), "has numbers that are not finite"),
        (lambda tensor: tensor.to(torch.int32), r"is torch\.int32 .*expected torch\.float32"),
        (lambda tensor: tensor.bool(), r"is torch\.bool .*expected torch\.float32"),
        (lambda tensor: tensor[:-1], "expected"),
    ],
)
def test_numbers_that_are_no_weights(
    weights: Path, tmp_path: Path, change: Callable[[Tensor], Tensor], message: str
) -> None:
    tensors = load_file(weights)
    name = "unet.segmentation_head.0.weight"
    other = tmp_path / "other.safetensors"
    metadata = metadata_of(network=asdict(SMALL))
    save_file(tensors | {name: change(tensors[name])}, other, metadata=metadata)
    with pytest.raises(ValueError, match=rf"other\.safetensors .*{name} .*{message}"):
        read_network(other)
    save_file(tensors, other, metadata=metadata)
    read_network(other)


def test_going_on_with_some_of_the_maps() -> None:
    torch.manual_seed(0)
    joint = CellUNet(replace(SMALL, representation="joint")).eval()
    planes = torch.rand(1, 3, 64, 64)
    names = [each.name for each in joint.representation.maps]
    for representation in ("borders", "distances", "offsets"):
        network = CellUNet(replace(SMALL, representation=representation)).eval()
        network.take_weights(joint)
        chosen = [names.index(each.name) for each in network.representation.maps]
        with torch.inference_mode():
            torch.testing.assert_close(network(planes), joint(planes)[:, chosen])
        with pytest.raises(ValueError, match=f"a network for {representation} has no map of"):
            joint.take_weights(network)
    with pytest.raises(ValueError, match="build it alike"):
        joint.take_weights(CellUNet(replace(SMALL, decoder_channels=[8, 8, 8, 8])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"representation": "dreams"}, "choose from borders, distances, offsets, joint"),
        ({"representation": ["distances"]}, "choose from borders"),
        ({"decoder_channels": [8, 8]}, "has 2 stages: give 3 to 5"),
        ({"decoder_channels": 8}, "decoder_channels is 8: give a list"),
        ({"decoder_channels": [8, 8, 8, 100_000]}, "has 100000: give whole numbers from 1 to 2048"),
        ({"decoder_channels": [8, 8, 8, 0]}, "has 0: give whole numbers"),
        ({"decoder_channels": [8, 8, 8, 8.0]}, r"has 8\.0: give whole numbers"),
        *(
            ({"encoder": encoder}, "give the plain name of a timm model")
            for encoder in ("hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "nonet18", "", 18)
        ),
        *(
            ({"um_per_px": um_per_px}, "give a number from 0.02 to 5")
            for um_per_px in (0, -1, float("nan"), "x", 1e-5, 1e9, True)
        ),
    ],
)
def test_settings_that_make_no_network(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkSettings(**settings)  # type: ignore[arg-type]


def test_the_default_maps_are_those_of_the_packaged_weights() -> None:
    assert NetworkSettings() == read_network(PACKAGED_WEIGHTS)[0].settings


def test_the_packaged_weights_are_small_and_their_card_is_theirs() -> None:
    assert PACKAGED_WEIGHTS.stat().st_size <= 20e6
    settings = read_network(PACKAGED_WEIGHTS)[0].settings
    card = PACKAGED_WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    assert f"U-Net, {settings.encoder}, {settings.representation}\n" in card
    assert f"| encoder | {settings.encoder}, {len(settings.decoder_channels)} stages |" in card
    assert f"| decoder | {', '.join(map(str, settings.decoder_channels))} channels |" in card
    assert f"| works at | {settings.um_per_px:g} um a pixel;" in card
