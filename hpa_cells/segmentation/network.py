"""The U-Net that finds nuclei and cells together, and its file of weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hpa_cells.atomic import replaced_on_success
from hpa_cells.segmentation.network_input import NETWORK_CHANNELS
from hpa_cells.segmentation.representations import REPRESENTATIONS, Representation

__all__ = ["CellUNet", "NetworkSettings", "read_network", "write_network"]

FORMAT_VERSION = 2
_LAST_LAYER = "unet.segmentation_head."


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSettings:
    """How the network is built.

    Attributes
    ----------
    encoder
        Name of a timm model. One that looks at the whole image at once (squeeze and excitation, attention)
        gives other answers for a tile than for the whole field.
    decoder_channels
        Width of each stage of the decoder, the coarsest first; as many as the encoder has stages.
    representation
        One of `REPRESENTATIONS`.
    um_per_px
        Scale that the network works at.
    """

    encoder: str = "resnet18"
    decoder_channels: list[int] = field(default_factory=lambda: [128, 64, 48, 16])
    representation: str = "offsets"
    um_per_px: float = 0.32

    def __post_init__(self) -> None:
        if self.representation not in REPRESENTATIONS:
            raise ValueError(
                f"network.representation is {self.representation}: choose from {', '.join(REPRESENTATIONS)}."
            )
        if not 3 <= len(self.decoder_channels) <= 5:
            raise ValueError(
                f"network.decoder_channels has {len(self.decoder_channels)} stages: give 3 to 5 numbers."
            )


class CellUNet(nn.Module):
    """(N, 3, h, w) channels as `network_input` gives them -> (N, T, h, w) maps of the representation.

    Height and width must be multiples of `stride_px`.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.unet = smp.Unet(
            f"tu-{settings.encoder}",
            encoder_weights=None,
            encoder_depth=len(settings.decoder_channels),
            decoder_channels=list(settings.decoder_channels),
            in_channels=len(NETWORK_CHANNELS),
            classes=len(self.representation.maps),
        )

    @property
    def representation(self) -> Representation:
        """What the maps mean."""
        return REPRESENTATIONS[self.settings.representation]

    @property
    def stride_px(self) -> int:
        """Side of a pixel of the coarsest stage."""
        return int(2 ** len(self.settings.decoder_channels))

    def forward(self, planes: Tensor) -> Tensor:
        """Maps; those that are probabilities as logits."""
        maps: Tensor = self.unet(planes)
        return maps

    def take_weights(self, other: CellUNet) -> None:
        """Go on from the weights of another network that gives, among others, the same maps.

        Raises
        ------
        ValueError
            If it is built in another way, or lacks a map.
        """
        if replace(other.settings, representation=self.settings.representation) != self.settings:
            raise ValueError(f"{other.settings} cannot go on as {self.settings}: build it alike.")
        theirs = [each.name for each in other.representation.maps]
        missing = [each.name for each in self.representation.maps if each.name not in theirs]
        if missing:
            raise ValueError(
                f"a network for {other.settings.representation} has no map of {', '.join(missing)}, which "
                f"{self.settings.representation} needs: start from another."
            )
        chosen = [theirs.index(each.name) for each in self.representation.maps]
        state = {
            name: value[chosen] if name.startswith(_LAST_LAYER) else value
            for name, value in other.state_dict().items()
        }
        self.load_state_dict(state)

    def read_off(self, planes: Tensor) -> Tensor:
        """Maps in float32, probabilities from 0 to 1."""
        maps: Tensor = self(planes).float()
        is_probability = torch.tensor(
            [each.is_probability for each in self.representation.maps], device=maps.device
        )
        return torch.where(is_probability[:, None, None], maps.sigmoid(), maps)


def write_network(network: CellUNet, path: Path, *, provenance: dict[str, Any]) -> str:
    """Write the weights, in half precision, with all that is needed to use them; returns their SHA-256."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {
        "format": "pt",
        "hpa_cells": json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "network": asdict(network.settings),
                "maps": _maps_of(network),
                "provenance": provenance,
            }
        ),
    }
    weights = save(tensors, metadata=metadata)
    with replaced_on_success(path) as temporary:
        temporary.write_bytes(weights)
    return hashlib.sha256(weights).hexdigest()


def read_network(path: Path) -> tuple[CellUNet, dict[str, Any]]:
    """The network of a file of weights, in float32 on the CPU in evaluation mode, and its provenance.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of another kind, or its weights are not those of the network that it describes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a file that a training of the segmenter wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("hpa_cells", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no file of weights, or damaged ({error}): copy it again.") from error
    if not isinstance(described, dict) or described.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} is not a segmenter of this version of hpa_cells (format {FORMAT_VERSION}): give the "
            "unet.safetensors that `hpa-cells train experiment=segmentation_unet` wrote."
        )
    try:
        network = CellUNet(NetworkSettings(**described["network"]))
        _check_maps(network, described["maps"])
        network.load_state_dict({name: _whole(value) for name, value in tensors.items()})
    except (RuntimeError, TypeError, KeyError) as error:
        first = " ".join(str(error).split("\n")[:2]).replace("\t", "")
        raise ValueError(
            f"{path} does not hold the weights of the network that it describes: {first}"
        ) from error
    return network.eval(), described["provenance"]


def _maps_of(network: CellUNet) -> list[str]:
    return [each.name for each in network.representation.maps]


def _check_maps(network: CellUNet, learned: list[str]) -> None:
    """Refuse weights whose maps mean something else than what will be read from them."""
    if learned != _maps_of(network):
        raise RuntimeError(f"they give {', '.join(learned)}; read are {', '.join(_maps_of(network))}")


def _whole(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
