"""Any timm network as the encoder of a cell: four channels in, one vector out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, cast

import torch
from torch import nn

from hpa_cells.models.encoder_weights import (
    average_first_layer,
    cached_file,
    check_hub,
    read_weights,
    without_classifier,
)
from hpa_cells.types import NUM_CHANNELS

__all__ = ["FIRST_LAYERS", "EncoderSettings", "build_encoder", "check_crop_size"]

FIRST_LAYERS: Final = ("repeat", "mean")

# Options by which timm reads files and addresses, some of which it runs.
_OPTIONS_OF_FILES: Final = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "pretrained_strict",
    }
)

# Enough to see what is wrong: the names of all weights of a network fill many screens.
_REASON_LENGTH = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """Which network, and where its first weights come from.

    Attributes
    ----------
    name
        Name of a timm network, e.g. ``resnet18`` or ``convnext_tiny``.
    options
        Further arguments of the network, e.g. ``{"channels": [16, 32, 64, 128]}``.
    pretrained
        Start from the weights that timm publishes for this name.
    weights_file
        Start from this file (``.safetensors``, or a ``.pth`` of plain tensors) instead; its first layer may
        have three channels and its classifier any number of classes.
    first_layer
        How the three colours of a first layer become four channels: ``repeat`` or ``mean``, see `build_encoder`.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    weights_file: str | None = None
    first_layer: str = "repeat"

    def __post_init__(self) -> None:
        if refused := sorted(_OPTIONS_OF_FILES & self.options.keys()):
            raise ValueError(
                f"Encoder {self.name} has the option {refused[0]}, by which timm would read other files than the "
                "model's: leave it out; weights come by weights_file."
            )
        if self.first_layer not in FIRST_LAYERS:
            raise ValueError(f"First layer {self.first_layer!r} is unknown: use {' or '.join(FIRST_LAYERS)}.")


def build_encoder(settings: EncoderSettings) -> nn.Module:
    """Build the network: (N, 4, S, S) float -> (N, D) float; its attribute ``head_hidden_size`` is D.

    Published first layers have filters for three colours, ours for four channels. With ``repeat``, timm's rule,
    microtubules, protein, nucleus and ER get 3/4 of the filters of red, green, blue and red: the first three are
    the colours in which these channels are shown, and microtubules and ER start alike. With ``mean``, each channel
    gets 3/4 of the mean over the colours [1]_: the network says of four equal channels just what it said of a
    grey picture (unless it normalises its own filters), which ``repeat`` changes for every filter that tells
    colours apart; but until the first layer has learnt, it sees no more than the sum of the channels. Weights
    of four channels stay as they are.

    Raises
    ------
    ValueError
        If timm has no network of this name, it refuses the options, or publishes no weights for it; if the file
        of weights is damaged, holds more than tensors, or is of another network.
    FileNotFoundError
        If the file of weights is missing.
    OSError
        If the published weights cannot be fetched. Weights that were fetched before need no network.

    References
    ----------
    .. [1] Wang et al., Temporal segment networks, ECCV 2016, section 3.2 (cross-modality pre-training),
       arXiv:1608.00859.
    """
    _check_name(settings.name)
    if settings.weights_file is not None:
        encoder = _build_from_file(settings, Path(settings.weights_file))
    elif settings.pretrained:
        encoder = _build_published(settings)
    else:
        return _build(settings)
    if settings.first_layer == "mean":
        average_first_layer(encoder)
    return encoder


def check_crop_size(settings: EncoderSettings, size_px: int) -> None:
    """Refuse crops of a size that the network cannot read.

    Only shapes are computed: it takes seconds for the largest networks, and hardly any memory.

    Parameters
    ----------
    settings
        The network; its weights are not looked at.
    size_px
        Side S of the crops, in px.

    Raises
    ------
    ValueError
        If the network does not take crops of this size, does not make one vector of each, or cannot be built.
    """
    _check_name(settings.name)
    with torch.device("meta"), torch.inference_mode():
        encoder = _build(settings).eval()
        try:
            shape = tuple(encoder(torch.zeros(1, NUM_CHANNELS, size_px, size_px)).shape)
        except (AssertionError, RuntimeError) as error:
            published = _published(encoder)
            is_fixed = published.get("fixed_input_size") and not settings.options.get("dynamic_img_size")
            cure = f", or build it for them with encoder.options={{img_size: {size_px}}}" if is_fixed else ""
            raise ValueError(
                f"Encoder {settings.name} cannot read crops of {size_px} x {size_px} px ({_reason(error)}): set "
                f"crops.size_px to a size that suits it (it was made for {published['input_size'][-1]}){cure}."
            ) from error
    if shape != (1, encoder.head_hidden_size):
        raise ValueError(
            f"Encoder {settings.name} makes {shape[1:]} numbers of each crop, expected one vector of "
            f"{encoder.head_hidden_size}: choose another, or other encoder.options than {settings.options}."
        )


def _build(settings: EncoderSettings) -> nn.Module:
    """The network with random weights."""
    try:
        return _create(settings)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"Encoder {settings.name} cannot be built with {settings.options}: {_reason(error)}."
        ) from error


def _build_from_file(settings: EncoderSettings, path: Path) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"Weights {path} of encoder {settings.name} do not exist.")
    sketch = _sketch(settings)
    classifier = _published(sketch)["classifier"]
    weights = without_classifier(read_weights(path), sketch.state_dict().keys(), classifier)
    try:
        # Told of a classifier to leave out, timm would overlook missing weights: any other network would pass.
        encoder = _create(settings, source={"state_dict": weights, "classifier": None})
    except (AttributeError, LookupError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of encoder {settings.name} ({_reason(error)}): give "
            "encoder.weights_file=FILE of this network, or encoder.name=NAME of the network in the file."
        ) from error
    # Else every copy of the encoder would carry its weights twice.
    del _published(encoder)["state_dict"]
    return encoder


def _build_published(settings: EncoderSettings) -> nn.Module:
    published = _published(_sketch(settings))
    if not (published.get("hf_hub_id") or published.get("url")):
        raise ValueError(
            f"timm publishes no weights for encoder {settings.name}: `timm.list_pretrained()` names the networks "
            "that have some; give a file that you have with encoder.weights_file=FILE, or start from scratch "
            "with encoder.pretrained=false."
        )
    try:
        cached = cached_file(published)
        if cached is None:
            check_hub()
        return _create(settings, source={} if cached is None else {"file": cached, "custom_load": False})
    except OSError as error:
        raise OSError(
            f"The published weights of encoder {settings.name} cannot be fetched ({_reason(error)}): give a "
            "file that you have with encoder.weights_file=FILE, or start from scratch with "
            "encoder.pretrained=false."
        ) from error


def _sketch(settings: EncoderSettings) -> nn.Module:
    """The network without numbers: the names and shapes of its weights, and what timm knows of published ones."""
    with torch.device("meta"):
        return _build(settings)


def _published(encoder: nn.Module) -> dict[str, Any]:
    """What timm knows of the weights that it publishes for the network, or was told of others."""
    return cast(dict[str, Any], encoder.pretrained_cfg)


def _create(settings: EncoderSettings, *, source: dict[str, Any] | None = None) -> nn.Module:
    """The network, with weights from a `source` in timm's terms; ``{}`` is where timm has them."""
    import timm

    encoder: nn.Module = timm.create_model(
        settings.name,
        pretrained=source is not None,
        pretrained_cfg_overlay=source,
        in_chans=NUM_CHANNELS,
        num_classes=0,
        **settings.options,
    )
    return encoder


def _check_name(name: str) -> None:
    import timm

    # Other names would have timm fetch a model from the internet ("hf-hub:") or read a folder ("local-dir:").
    if not set(name) & set(":/") and timm.is_model(name):
        return
    close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "`timm.list_models()` names them all."
    raise ValueError(f"timm has no network {name!r}: {hint}")


def _reason(error: Exception) -> str:
    return shorten(str(error), _REASON_LENGTH).rstrip(".")
