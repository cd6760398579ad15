from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from hpa_cells.commands.settings import conf_folder
from hpa_cells.models import EncoderSettings, build_encoder
from hpa_cells.models.encoder import check_crop_size
from hpa_cells.models.encoder_weights import without_classifier

# Each file in conf/encoder with the size of its embedding, as its authors published it, and its first layer.
NETWORKS = {
    "convnext_tiny": (768, "stem.0"),
    "densenet121": (1024, "features.conv0"),
    "efficientnet_b0": (1280, "conv_stem"),
    "efficientnet_b7": (2560, "conv_stem"),
    "inception_resnet_v2": (1536, "conv2d_1a.conv"),
    "resnet18": (512, "conv1"),
    "resnet50": (2048, "conv1"),
    "resnet152": (2048, "conv1"),
    "senet154": (2048, "layer0.conv1"),
    "seresnet50": (2048, "conv1"),
    "small": (256, "conv1.0"),
    "tiny": (128, "conv1.0"),
    "vit_small": (384, "patch_embed.proj"),
}
# A small sibling of each kind of network, and its first layer.
SIBLINGS = {
    "densenet121": "features.conv0",
    "efficientvit_m0": "patch_embed.conv1.conv",
    "legacy_seresnet18": "layer0.conv1",
    "test_convnext": "stem.0",
    "test_efficientnet": "conv_stem",
    "test_resnet": "conv1.0",
    "test_vit": "patch_embed.proj",
}


def from_conf(choice: str) -> EncoderSettings:
    """The settings of a file in conf/encoder, with random weights."""
    node = OmegaConf.load(conf_folder() / "encoder" / f"{choice}.yaml")
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(EncoderSettings), node))
    assert isinstance(settings, EncoderSettings)
    return replace(settings, pretrained=False)


def published(name: str, *, num_classes: int = 7) -> dict[str, Tensor]:
    """Weights as they are published: three colours and a classifier."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = timm.create_model(name, num_classes=num_classes).state_dict()
    return state


def config_of(network: nn.Module) -> dict[str, Any]:
    return cast(dict[str, Any], network.pretrained_cfg)


def written(weights: dict[str, Tensor], path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return str(path)


def test_every_choice_is_tested() -> None:
    assert {path.stem for path in (conf_folder() / "encoder").glob("*.yaml")} == set(NETWORKS)


@pytest.mark.parametrize("choice", NETWORKS)
def test_choices_make_an_embedding_of_four_channels(choice: str) -> None:
    """Shapes only, so that the largest cost as little as the smallest."""
    settings = from_conf(choice)
    size, first = NETWORKS[choice]
    with torch.device("meta"), torch.inference_mode():
        encoder = build_encoder(settings).eval()
        colours = timm.create_model(settings.name, num_classes=7, **settings.options)
        assert encoder(torch.zeros(2, 4, 128, 128)).shape == (2, size)
    assert encoder.head_hidden_size == size
    wanted = {name: value.shape for name, value in encoder.state_dict().items()}
    # What a file of the network has for it: all weights, of the same shapes but for the colours.
    found = without_classifier(colours.state_dict(), wanted, config_of(colours)["classifier"])
    assert found.keys() == wanted.keys()
    assert {name for name, value in found.items() if value.shape != wanted[name]} == {f"{first}.weight"}
    assert (found[f"{first}.weight"].shape[1], wanted[f"{first}.weight"][1]) == (3, 4)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "test_vit", "test_convnext"])
def test_any_timm_network_takes_four_channels(name: str) -> None:
    encoder = build_encoder(EncoderSettings(name=name))
    size = 160 if name == "test_vit" else 64
    with torch.inference_mode():
        assert encoder.eval()(torch.rand(2, 4, size, size)).shape == (2, encoder.head_hidden_size)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", SIBLINGS)
def test_weights_of_a_three_channel_file(tmp_path: Path, name: str, suffix: str) -> None:
    colours = published(name)
    settings = EncoderSettings(name=name, weights_file=written(colours, tmp_path / f"weights{suffix}"))
    loaded = build_encoder(settings).state_dict()
    first = f"{SIBLINGS[name]}.weight"
    # Red, green and blue in their order, red again for the fourth; three quarters as large.
    torch.testing.assert_close(loaded.pop(first), colours[first][:, [0, 1, 2, 0]] * 0.75)
    for key, value in loaded.items():
        assert torch.equal(value, colours[key]), key


@pytest.mark.parametrize(
    ("first_layer", "expected"), [("repeat", [0.75, 1.5, 4.5, 0.75]), ("mean", [2.25, 2.25, 2.25, 2.25])]
)
def test_first_layer_worked_out_by_hand(tmp_path: Path, first_layer: str, expected: list[float]) -> None:
    colours = published("test_resnet")
    colours["conv1.0.weight"][:] = torch.tensor([1.0, 2.0, 6.0])[:, None, None]
    path = written(colours, tmp_path / "weights.safetensors")
    encoder = build_encoder(EncoderSettings(name="test_resnet", weights_file=path, first_layer=first_layer))
    weight = encoder.get_parameter("conv1.0.weight")
    torch.testing.assert_close(weight, torch.tensor(expected)[:, None, None].expand_as(weight))
    assert weight.requires_grad


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "crossvit_tiny_240"])
def test_mean_says_of_grey_what_was_published(tmp_path: Path, name: str) -> None:
    """Also where a network has two first layers, as the last one."""
    settings = EncoderSettings(
        name=name, weights_file=written(published(name), tmp_path / "weights.safetensors"), first_layer="mean"
    )
    torch.manual_seed(0)
    reference: Any = timm.create_model(name, num_classes=7)
    reference.reset_classifier(0)
    size = config_of(reference)["input_size"][-1]
    grey = torch.rand(2, 1, size, size)

    def embed(network: nn.Module, num_channels: int) -> Tensor:
        with torch.inference_mode():
            embeddings: Tensor = network.eval()(grey.expand(-1, num_channels, -1, -1))
        return embeddings

    expected = embed(reference, 3)
    torch.testing.assert_close(embed(build_encoder(settings), 4), expected, rtol=1e-4, atol=1e-5)
    repeated = embed(build_encoder(replace(settings, first_layer="repeat")), 4)
    assert (repeated - expected).abs().max() > 1e-3


@pytest.mark.parametrize("first_layer", ["repeat", "mean"])
def test_four_channels_stay_as_they_are(tmp_path: Path, first_layer: str) -> None:
    weights = build_encoder(EncoderSettings(name="test_resnet")).state_dict()
    path = written(weights, tmp_path / "weights.safetensors")
    encoder = build_encoder(EncoderSettings(name="test_resnet", weights_file=path, first_layer=first_layer))
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_weights_are_not_carried_twice(tmp_path: Path) -> None:
    path = written(published("test_resnet"), tmp_path / "weights.safetensors")
    encoder = build_encoder(EncoderSettings(name="test_resnet", weights_file=path))
    assert "state_dict" not in config_of(encoder)


def drop_one(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name != "layer1.0.conv1.weight"}


def widen_one(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"conv1.0.weight": torch.zeros(3, 3, 3, 3)}


def two_channels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"conv1.0.weight": weights["conv1.0.weight"][:, :2].contiguous()}


def another(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return published("test_efficientnet")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_one, "Missing key"),
        (widen_one, "size mismatch"),
        (two_channels, "conv1"),
        (another, "Missing key"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], reason: str
) -> None:
    path = written(change(published("test_resnet")), tmp_path / "weights.safetensors")
    with pytest.raises(
        ValueError, match=rf"weights\.safetensors does not hold .*test_resnet.*{reason}"
    ) as caught:
        build_encoder(EncoderSettings(name="test_resnet", weights_file=path))
    # A screen, not the names of all weights.
    assert len(str(caught.value).replace(str(tmp_path), "")) < 600


def test_filter_of_another_kind_of_network_fails_clearly(tmp_path: Path) -> None:
    """timm's conversion of old files stumbles over names that it does not expect."""
    path = written(published("test_maxvit"), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors does not hold .*swin_tiny"):
        build_encoder(EncoderSettings(name="swin_tiny_patch4_window7_224", weights_file=path))


def test_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        build_encoder(EncoderSettings(name="resnet10t", weights_file=str(tmp_path / "absent.safetensors")))


def test_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(ValueError, match=r"timm has no network 'resnt18': did you mean .*resnet18"):
        build_encoder(EncoderSettings(name="resnt18"))


def test_unknown_option_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resnet10t cannot be built with .*chanels"):
        build_encoder(EncoderSettings(name="resnet10t", options={"chanels": [1, 2, 3, 4]}))


def test_unknown_rule_for_the_first_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"First layer 'average' is unknown: use repeat or mean"):
        EncoderSettings(name="resnet10t", first_layer="average")


@pytest.mark.parametrize(
    ("name", "options", "size_px", "message"),
    [
        (
            "vit_tiny_patch16_224",
            {},
            128,
            r"128 x 128 px .*224.*crops\.size_px.*encoder\.options=\{img_size: 128\}",
        ),
        ("test_vit", {"dynamic_img_size": True}, 100, r"100 x 100 px .*divisible.*crops\.size_px.*160\)\.$"),
        ("inception_resnet_v2", {}, 74, r"74 x 74 px .*crops\.size_px.*made for 299\)\.$"),
        ("test_convnext", {}, 8, r"test_convnext cannot read crops of 8 x 8 px"),
        ("test_resnet", {"global_pool": ""}, 64, r"makes \(96, 2, 2\) numbers .*vector of 96.*global_pool"),
        ("resnt18", {}, 64, r"did you mean"),
    ],
)
def test_crops_that_do_not_suit_the_network(
    name: str, options: dict[str, object], size_px: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_crop_size(EncoderSettings(name=name, options=options), size_px)


@pytest.mark.parametrize(
    ("name", "options", "size_px"),
    [
        ("vit_tiny_patch16_224", {}, 224),
        ("test_vit", {"dynamic_img_size": True}, 128),
        ("vit_tiny_patch16_224", {"img_size": 100}, 100),
        ("inception_resnet_v2", {}, 75),
    ],
)
def test_crops_that_suit_the_network(name: str, options: dict[str, object], size_px: int) -> None:
    """And nothing random is drawn, which would change a training."""
    before = torch.get_rng_state()
    check_crop_size(EncoderSettings(name=name, options=options, pretrained=True), size_px)
    assert torch.equal(torch.get_rng_state(), before)
