from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hpa_cells.models import EncoderSettings, build_encoder


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "test_vit", "test_convnext"])
def test_any_timm_network_takes_four_channels(name: str) -> None:
    encoder = build_encoder(EncoderSettings(name=name))
    size = 160 if name == "test_vit" else 64
    with torch.inference_mode():
        assert encoder.eval()(torch.rand(2, 4, size, size)).shape == (2, encoder.head_hidden_size)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_of_a_three_channel_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    published = timm.create_model("test_resnet", num_classes=7).state_dict()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(published, path)
    else:
        save_file(published, path)
    loaded = build_encoder(EncoderSettings(name="test_resnet", weights_file=str(path))).state_dict()
    first = "conv1.0.weight"
    assert published[first].shape[1] == 3
    assert loaded[first].shape[1] == 4
    # Red, green and blue in their order, red again for the fourth; three quarters as large.
    torch.testing.assert_close(loaded[first], published[first][:, [0, 1, 2, 0]] * 0.75)
    for name in loaded.keys() - {first}:
        torch.testing.assert_close(loaded[name], published[name])


def test_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(ValueError, match=r"timm has no network 'resnt18': did you mean .*resnet18"):
        build_encoder(EncoderSettings(name="resnt18"))


def test_unknown_option_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resnet10t cannot be built with .*chanels"):
        build_encoder(EncoderSettings(name="resnet10t", options={"chanels": [1, 2, 3, 4]}))


def test_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        build_encoder(EncoderSettings(name="resnet10t", weights_file=str(tmp_path / "absent.safetensors")))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"conv1.0.weight": torch.zeros(3, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"test_resnet"):
        build_encoder(EncoderSettings(name="test_resnet", weights_file=str(path)))


def test_unreachable_weights_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", unreachable)
    with pytest.raises(OSError, match=r"cannot be fetched \(no route to host\).*encoder\.weights_file=FILE"):
        build_encoder(EncoderSettings(name="resnet10t", pretrained=True))
