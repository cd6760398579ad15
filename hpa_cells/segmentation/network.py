"""The U-Net that finds nuclei and cells together, and its file of weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hpa_cells.atomic import replaced_on_success
from hpa_cells.segmentation.network_input import NETWORK_CHANNELS
from hpa_cells.segmentation.representations import REPRESENTATIONS, Representation

__all__ = ["CellUNet", "NetworkSettings", "read_network", "weights_hash", "write_network"]

FORMAT_VERSION = 2
_LAST_LAYER = "unet.segmentation_head."
_MOST_CHANNELS = 2048
_LEAST_UM_PER_PX, _MOST_UM_PER_PX = 0.02, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSettings:
    """How the network is built.

    Attributes
    ----------
    encoder
        Name of a timm model. One that looks at the whole image at once (squeeze and excitation, attention)
        cannot serve fields that are larger than a tile.
    decoder_channels
        Width of each stage of the decoder, the coarsest first; as many as the encoder has stages, 3 to 5 numbers
        from 1 to 2048.
    representation
        One of `REPRESENTATIONS`.
    um_per_px
        Scale that the network works at, from 0.02 to 5.
    """

    encoder: str = "resnet18"
    decoder_channels: list[int] = field(default_factory=lambda: [128, 64, 48, 16])
    representation: str = "distances"
    um_per_px: float = 0.32

    def __post_init__(self) -> None:
        # Other names would have timm fetch a model from the internet ("hf-hub:") or read a folder ("local-dir:").
        if (
            not isinstance(self.encoder, str)
            or set(self.encoder) & set(":/")
            or not timm.is_model(self.encoder)
        ):
            raise ValueError(f"network.encoder is {self.encoder!r}: give the plain name of a timm model.")
        if not isinstance(self.representation, str) or self.representation not in REPRESENTATIONS:
            raise ValueError(
                f"network.representation is {self.representation}: choose from {', '.join(REPRESENTATIONS)}."
            )
        _check_decoder_channels(self.decoder_channels)
        if not _is_number(self.um_per_px) or not _LEAST_UM_PER_PX <= self.um_per_px <= _MOST_UM_PER_PX:
            raise ValueError(
                f"network.um_per_px is {self.um_per_px!r}: give a number from {_LEAST_UM_PER_PX:g} to "
                f"{_MOST_UM_PER_PX:g}."
            )


def _check_decoder_channels(channels: object) -> None:
    if not isinstance(channels, list):
        raise ValueError(f"network.decoder_channels is {channels!r}: give a list of 3 to 5 numbers.")
    if not 3 <= len(channels) <= 5:
        raise ValueError(f"network.decoder_channels has {len(channels)} stages: give 3 to 5 numbers.")
    for width in channels:
        if not isinstance(width, int) or not 1 <= width <= _MOST_CHANNELS:
            raise ValueError(
                f"network.decoder_channels has {width!r}: give whole numbers from 1 to {_MOST_CHANNELS}."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
        If it is damaged, of another kind, or its weights are not those of the network that it describes, or not
        all finite.
    """
    _check_there(path)
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("hpa_cells", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no file of weights, or damaged ({error}): copy it again.") from error
    if not isinstance(described, dict) or described.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} is not a segmenter of this version of hpa_cells (format {FORMAT_VERSION}): give the "
            "unet.safetensors that `hpa-cells train experiment=segmentation_unet` wrote."
        )
    try:
        if missing := sorted({"network", "maps", "provenance"} - described.keys()):
            raise ValueError(f"it does not state its {' and '.join(missing)}")
        settings = NetworkSettings(**described["network"])
        provenance = dict(described["provenance"])
        # Without numbers, so that one too large for this machine is refused before it takes the memory.
        with torch.device("meta"):
            planned = CellUNet(settings)
        _check_maps(planned, described["maps"])
        _check_tensors(planned, tensors)
        network = CellUNet(settings)
        network.load_state_dict({name: _whole(name, value) for name, value in tensors.items()})
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        first = " ".join(str(error).split("\n")[:2]).replace("\t", "")
        raise ValueError(
            f"{path} does not hold the weights of the network that it describes ({first}): give another, or copy "
            "it again."
        ) from error
    return network.eval(), provenance


def weights_hash(path: Path) -> str:
    """SHA-256 of a file of weights, as `write_network` gives it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    _check_there(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a file that a training of the segmenter wrote.")


def _maps_of(network: CellUNet) -> list[str]:
    return [each.name for each in network.representation.maps]


def _check_maps(network: CellUNet, learned: list[str]) -> None:
    """Refuse weights whose maps mean something else than what will be read from them."""
    if learned != _maps_of(network):
        raise RuntimeError(f"they give {', '.join(learned)}; read are {', '.join(_maps_of(network))}")


def _check_tensors(planned: CellUNet, tensors: dict[str, Tensor]) -> None:
    """Refuse tensors of other names, shapes or kinds of numbers than the network's."""
    wanted = planned.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise ValueError(f"it lacks {len(missing)} of {len(wanted)} tensors, such as {missing[0]}")
    if others := sorted(tensors.keys() - wanted.keys()):
        raise ValueError(f"it has {len(others)} tensors too many, such as {others[0]}")
    for name, value in tensors.items():
        is_alike = value.is_floating_point() == wanted[name].is_floating_point()
        if value.shape != wanted[name].shape or not is_alike:
            raise ValueError(
                f"{name} is {value.dtype} {tuple(value.shape)}, expected {wanted[name].dtype} "
                f"{tuple(wanted[name].shape)}"
            )


def _whole(name: str, value: Tensor) -> Tensor:
    """A tensor of the file as the network takes it, in float32 if it is of floats."""
    if not value.is_floating_point():
        return value
    value = value.float()
    if not value.isfinite().all():
        raise ValueError(f"{name} has numbers that are not finite")
    return value
