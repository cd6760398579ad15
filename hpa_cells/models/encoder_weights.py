"""The first weights of an encoder: files of them, those that timm publishes, and their first layer."""

from __future__ import annotations

import pickle
import ssl
import struct
from collections.abc import Collection, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from hpa_cells.types import NUM_CHANNELS

__all__ = ["average_first_layer", "cached_file", "check_hub", "read_weights", "without_classifier"]

# Where programs that train put the weights, beside the state of the training; smoothed ones first.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")

# The name under which the hub has the weights of nearly every network.
_PUBLISHED_FILE = "model.safetensors"

_ANSWER_S = 5.0


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; nothing in the file is run.

    Parameters
    ----------
    path
        ``.safetensors``; or else what ``torch.save`` wrote of a state dict, alone or in a training's checkpoint.

    Raises
    ------
    ValueError
        If it is damaged, or holds something else.
    """
    from timm.models import clean_state_dict

    with path.open("rb") as file:
        found = _load(file, path)
    if isinstance(found, Mapping):
        found = next((found[name] for name in _WRAPPERS if isinstance(found.get(name), Mapping)), found)
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise ValueError(
            f"{path} holds something else than tensors by name: write it again with "
            "torch.save(network.state_dict(), FILE), or as .safetensors."
        )
    return cast(dict[str, Tensor], clean_state_dict(dict(found)))


def _load(file: IO[bytes], path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    # All but the first are what torch makes of one damage or another.
    damage = (
        SafetensorError,
        *(RuntimeError, EOFError, OSError, MemoryError, ArithmeticError),
        *(AssertionError, AttributeError, LookupError, TypeError, ValueError, struct.error),
    )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is no file of plain tensors, and nothing in it was run: write it again with "
            "torch.save(network.state_dict(), FILE) where you trust it, or as .safetensors."
        ) from error
    except damage as error:
        raise ValueError(f"{path} is damaged or cut off ({error}): copy or download it again.") from error


def without_classifier(
    weights: Mapping[str, Tensor], wanted: Collection[str], classifier: str | Collection[str] | None
) -> dict[str, Tensor]:
    """The weights less those that only a classifier has.

    Parameters
    ----------
    weights
        By name.
    wanted
        The names in the network without its classifier.
    classifier
        The classifier's layers, e.g. ``head.fc``: what is not wanted beside them, such as their normalisation,
        goes with them.
    """
    layers = (classifier,) if isinstance(classifier, str) else classifier or ()
    rooms = tuple(f"{layer.split('.')[0]}." for layer in layers)
    return {name: value for name, value in weights.items() if name in wanted or not name.startswith(rooms)}


def cached_file(published: Mapping[str, Any]) -> str | None:
    """The published weights on this machine, if they were fetched before.

    timm asks the hub for news of them even so, and takes half a minute to give up where there is no network.

    Parameters
    ----------
    published
        What timm knows of them: ``pretrained_cfg`` of a network.
    """
    from huggingface_hub import try_to_load_from_cache

    if not published.get("hf_hub_id") or published.get("hf_hub_filename"):
        return None
    path = try_to_load_from_cache(published["hf_hub_id"], _PUBLISHED_FILE)
    return path if isinstance(path, str) else None


def check_hub() -> None:
    """Ask once whether the hub can be reached: its library asks twelve times, with longer and longer waits.

    Raises
    ------
    OSError
        If there is no answer within five seconds.
    """
    from huggingface_hub import constants

    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=_ANSWER_S):
            pass
    except (HTTPError, HTTPException):
        # An answer, if not a kind one.
        pass
    except URLError as error:
        # Certificates are for the library to judge, which brings its own.
        if not isinstance(error.reason, ssl.SSLError):
            raise OSError(error.reason) from error


def average_first_layer(encoder: nn.Module) -> None:
    """Give each channel the mean of the filters that timm spread from three colours over four channels.

    A layer that was spread is known by its fourth channel, which repeats the first; others stay as they are.
    """
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == NUM_CHANNELS and layer.groups == 1:
            weight = layer.weight.detach()
            if torch.equal(weight[:, 3], weight[:, 0]):
                # Of three quarters of the colours, as timm has scaled them.
                weight.copy_(weight[:, :3].mean(dim=1, keepdim=True).expand_as(weight))
