"""Any timm network as the encoder of a cell: four channels in, one vector out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from hpa_cells.types import NUM_CHANNELS

__all__ = ["EncoderSettings", "build_encoder"]


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
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    weights_file: str | None = None


def build_encoder(settings: EncoderSettings) -> nn.Module:
    """Build the network: (N, 4, S, S) float -> (N, D) float; its attribute ``head_hidden_size`` is D.

    timm spreads the three colours of published first layers over our four channels, scaled to keep the size
    of the activations.

    Raises
    ------
    ValueError
        If timm has no network of this name, it refuses the options, or publishes no weights for it.
    FileNotFoundError
        If the file of weights is missing.
    OSError
        If the published weights cannot be fetched.
    """
    import timm

    _check_name(settings.name)
    options = dict(settings.options)
    if settings.weights_file is not None:
        if not Path(settings.weights_file).is_file():
            raise FileNotFoundError(
                f"Weights {settings.weights_file} of encoder {settings.name} do not exist."
            )
        options["pretrained_cfg_overlay"] = {"file": settings.weights_file}
    pretrained = settings.pretrained or settings.weights_file is not None
    try:
        encoder = timm.create_model(
            settings.name, pretrained=pretrained, in_chans=NUM_CHANNELS, num_classes=0, **options
        )
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"Encoder {settings.name} cannot be built with {settings.options}: {error}."
        ) from error
    except OSError as error:
        raise OSError(
            f"The published weights of encoder {settings.name} cannot be fetched ({error}): give a "
            "file that you have with encoder.weights_file=FILE, or start from scratch with "
            "encoder.pretrained=false."
        ) from error
    assert isinstance(encoder, nn.Module)
    return encoder


def _check_name(name: str) -> None:
    import timm

    if timm.is_model(name):
        return
    close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "`timm.list_models()` names them all."
    raise ValueError(f"timm has no network {name!r}: {hint}")
