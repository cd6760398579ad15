"""Which settings may name a model on a hub, ``hf://owner/name``, and the commit that a run takes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from omegaconf import DictConfig, OmegaConf

from hpa_cells.hub import is_on_hub

__all__ = ["hub_settings", "pin_models", "pinned_places"]

log = logging.getLogger(__name__)

_MODELS: Final = {
    "predict": ("model",),
    "train": ("init", "teacher"),
    "explore": ("embedding",),
}
# Those that code takes which knows no hub: it gets the folder or file on this machine.
_MODEL_FOLDERS: Final = {"export": ("format.model",)}
_SEGMENTERS: Final = dict.fromkeys(("predict", "segment", "train", "explore"), ("segmenter.weights",))
_SEGMENTER_FILES: Final = {"train": ("segmentation.start",)}
# Looked up by the verb itself, which keeps nothing.
_OTHERS: Final = {"push": ("out",), "pull": ("model",), "onnx": ("model",)}
_UNET: Final = "hpa_cells.segmentation.UNet"


def hub_settings(verb: str) -> frozenset[str]:
    """Names of the settings of a verb that take the address of a model on a hub."""
    each = (_MODELS, _MODEL_FOLDERS, _SEGMENTERS, _SEGMENTER_FILES, _OTHERS)
    return frozenset(name for settings in each for name in settings.get(verb, ()))


def pin_models(verb: str, config: DictConfig) -> None:
    """Pull each model on a hub that the settings name, and write the commit that it has now into them.

    Whatever keeps the settings keeps the commit: a run goes on with the models that it began with, or not at all.

    Parameters
    ----------
    verb
        Of `hpa-cells`.
    config
        Its settings.

    Raises
    ------
    OSError, ValueError
        If a model cannot be had, see `hpa_cells.hub.pull`, or a segmenter takes none of a hub.
    """
    for name in _MODELS.get(verb, ()):
        _replace(config, name, _pinned_model)
    for name in _MODEL_FOLDERS.get(verb, ()):
        _replace(config, name, _model_folder)
    for name in _SEGMENTERS.get(verb, ()):
        if is_on_hub(OmegaConf.select(config, name)) and config.segmenter._target_ != _UNET:
            raise ValueError(
                f"{name} is {OmegaConf.select(config, name)}, which only segmenter=unet takes: give a folder of this "
                "machine."
            )
        _replace(config, name, _pinned_segmenter)
    for name in _SEGMENTER_FILES.get(verb, ()):
        _replace(config, name, _segmenter_file)


def pinned_places(value: object) -> list[str]:
    """Which models of a setting, one or a list of them, are on a hub; with their commits, once they are pinned."""
    values = list(value) if OmegaConf.is_list(value) else [value]  # type: ignore[call-overload]
    return [str(each) for each in values if is_on_hub(each)]


def _replace(config: DictConfig, name: str, function: Callable[[str], str]) -> None:
    """Put what `function` says of an address in its place, also of each in a list."""
    value = OmegaConf.select(config, name)
    if OmegaConf.is_list(value):
        replaced = [function(str(each)) if is_on_hub(each) else each for each in value]
        if replaced != list(value):
            OmegaConf.update(config, name, replaced, merge=False)
    elif is_on_hub(value):
        OmegaConf.update(config, name, function(str(value)), merge=False)


def _pinned_model(place: str) -> str:
    from hpa_cells.models.start import pinned_model

    return _told(pinned_model(place))


def _model_folder(place: str) -> str:
    from hpa_cells.models.start import checkpoint_folder

    return str(checkpoint_folder(place))


def _pinned_segmenter(place: str) -> str:
    from hpa_cells.segmentation.unet import pinned_segmenter

    return _told(pinned_segmenter(place))


def _segmenter_file(place: str) -> str:
    from hpa_cells.segmentation.unet import weights_file

    return str(weights_file(place))


def _told(pinned: str) -> str:
    log.info("Using %s", pinned)
    return pinned
