"""U-Nets as ONNX give the maps that they give by torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from hpa_cells.fields import find_fields, read_field
from hpa_cells.segmentation import UNet
from hpa_cells.segmentation.network import CellUNet, NetworkSettings, read_network, write_network
from hpa_cells.segmentation.network_input import network_input
from hpa_cells.segmentation.representations import REPRESENTATIONS
from hpa_cells.segmentation.unet import PACKAGED_WEIGHTS
from hpa_cells.sharing import export_segmenter

# Images, height and width in strides: one and several, square and not, the least and larger ones.
SIZES = ((1, 1, 1), (1, 4, 4), (2, 3, 8), (5, 7, 2))


def written(folder: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    network = CellUNet(NetworkSettings(**settings)).eval()
    path = folder / "unet.safetensors"
    write_network(network, path, provenance={"version": "1"})
    return path


def planes(number: int, height: int, width: int) -> torch.Tensor:
    return 1.22 * torch.rand(number, 3, height, width, generator=torch.Generator().manual_seed(height))


# Each representation, each depth and each kind of encoder.
NETWORKS: list[dict[str, Any]] = [
    {"encoder": "resnet10t", "decoder_channels": [8, 8, 8], "representation": "borders"},
    {"encoder": "resnet10t", "decoder_channels": [8, 8, 8], "representation": "offsets"},
    {"encoder": "resnet10t", "decoder_channels": [8, 8, 8, 8, 4], "representation": "distances"},
    {"encoder": "test_efficientnet", "decoder_channels": [8, 8, 8, 8], "representation": "joint"},
]


def test_no_representation_is_forgotten() -> None:
    assert {each["representation"] for each in NETWORKS} == set(REPRESENTATIONS)


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_every_representation_depth_and_kind_of_encoder(
    tmp_path: Path, read_onnx: Any, largest_difference: Any, settings: dict[str, Any]
) -> None:
    weights = written(tmp_path, **settings)
    export_segmenter(weights, tmp_path / "u.onnx", opset=18)
    onnx.checker.check_model(onnx.load(tmp_path / "u.onnx"), full_check=True)
    run, (network, _) = read_onnx(tmp_path / "u.onnx"), read_network(weights)
    assert run.metadata["stride_px"] == network.stride_px
    assert [each["name"] for each in run.metadata["maps"]] == [
        each.name for each in network.representation.maps
    ]
    for number, rows, columns in SIZES:
        seen = planes(number, rows * network.stride_px, columns * network.stride_px)
        with torch.inference_mode():
            wanted = {"maps": network.read_off(seen).numpy(), "logits": network(seen).numpy()}
        assert largest_difference(wanted, run(planes=seen.numpy())) < 1e-4


def test_real_fields_are_cut_alike(real_data: Path, tmp_path: Path, read_onnx: Any) -> None:
    """The network in the package, by the words of the metadata alone, on a field of the challenge."""
    export_segmenter(PACKAGED_WEIGHTS, tmp_path / "u.onnx", opset=18)
    run, segmenter = read_onnx(tmp_path / "u.onnx"), UNet(device="cpu")
    field = read_field(find_fields(real_data / "hpa2021" / "fields")[0])
    seen = network_input(field, run.metadata["um_per_px"])
    stride = run.metadata["stride_px"]
    missing = [(0, 0), *((0, -side % stride) for side in seen.shape[1:])]
    maps = run(planes=np.pad(seen, missing, mode="symmetric")[None])["maps"][0]
    found = segmenter.infer([segmenter.see(field)])[0]
    maps = np.ascontiguousarray(maps[:, : seen.shape[1], : seen.shape[2]])
    assert np.abs(maps - found.maps).max() < 1e-4
    network, _ = read_network(PACKAGED_WEIGHTS)
    assert len(np.unique(segmenter.find(field, found).cells)) > 5
    mine, theirs = (network.representation.decode(each, um_per_px=0.32)[0] for each in (maps, found.maps))
    assert len(np.unique(mine)) == len(np.unique(theirs))
    assert (mine != theirs).mean() < 1e-3


def test_damaged_weights_make_no_file(tmp_path: Path) -> None:
    weights = tmp_path / "unet.safetensors"
    weights.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is no file of weights, or damaged"):
        export_segmenter(weights, tmp_path / "u.onnx", opset=18)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export_segmenter(tmp_path / "none", tmp_path / "u.onnx", opset=18)
    assert {each.name for each in tmp_path.iterdir()} == {"unet.safetensors"}
