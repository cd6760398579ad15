"""A trained model as a folder that anyone can read: weights, a JSON file of all else, and a model card.

    MODEL/model.safetensors   the weights
    MODEL/checkpoint.json     how to build the model, its classes, crops, thresholds, and where it comes from
    MODEL/README.md           the same in words

Nothing in it is a pickle, so that opening a stranger's model runs no code of his.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.hub import HubModel, is_on_hub, pull
from hpa_cells.models.card import model_card
from hpa_cells.models.classifier import CellClassifier, ClassifierSettings
from hpa_cells.models.pooling import PoolingSettings
from hpa_cells.types import Channel

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FILES", "Checkpoint", "load_checkpoint", "read_encoder", "read_weights_hash", "save_checkpoint"]

FORMAT_VERSION = 1
# Views that have settings of their own; all others are `crop_settings`.
_SETTINGS_OF_VIEW: Final = {"field": "field_settings", "squares": "square_settings"}
_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "checkpoint.json", "README.md"
FILES: Final = (_CONFIG, _WEIGHTS, _CARD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A trained model and everything needed to use it.

    Attributes
    ----------
    model
        The classifier.
    class_set
        Its K classes.
    crop_settings
        How cells are cut for it: the fields of `hpa_cells.cells.CropSettings`; empty for a model that sees whole
        fields or squares of them.
    thresholds
        (K,) float32 in [0, 1]: a class is called present where its probability is at or above.
    optional_channels
        Channels whose file may be missing.
    provenance
        Where it comes from: version, settings, data and validation metrics, as plain JSON values.
    field_settings
        How whole fields are shown to a model that sees them: the fields of `hpa_cells.cells.FieldViewSettings`; None
        for all others.
    square_settings
        How fields are cut for a model that sees squares of them: the fields of `hpa_cells.cells.SquareSettings`; None
        for all others.
    weights_hash
        SHA-256 of the file of weights; empty until it is saved.
    """

    model: CellClassifier
    class_set: ClassSet
    crop_settings: dict[str, Any]
    thresholds: NDArray[np.float32]
    optional_channels: frozenset[Channel] = frozenset()
    provenance: dict[str, Any] = field(default_factory=dict)
    field_settings: dict[str, Any] | None = None
    square_settings: dict[str, Any] | None = None
    weights_hash: str = ""

    def __post_init__(self) -> None:
        num_classes = len(self.class_set)
        view = self.model.settings.view
        for kind, name in _SETTINGS_OF_VIEW.items():
            is_given = getattr(self, name) is not None
            if (view == kind) != is_given:
                raise ValueError(
                    f"The model has view {view} and {name if is_given else f'no {name}'}: these are for view {kind}, "
                    "and needed there."
                )
        if self.model.settings.num_classes != num_classes:
            raise ValueError(
                f"The model has {self.model.settings.num_classes} classes, class set "
                f"{self.class_set.name} has {num_classes}: they must agree."
            )
        if self.thresholds.shape != (num_classes,):
            raise ValueError(f"Thresholds have shape {self.thresholds.shape}, expected ({num_classes},).")


def save_checkpoint(folder: Path | str, checkpoint: Checkpoint) -> Checkpoint:
    """Write the folder; each file appears whole or not at all, the JSON file last but for the card.

    Returns
    -------
    Checkpoint
        The same with its `weights_hash`.
    """
    from safetensors.torch import save

    folder = Path(folder)
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.model.state_dict().items()
    }
    weights = save(tensors, metadata={"format": "pt"})
    saved = replace(checkpoint, weights_hash=hashlib.sha256(weights).hexdigest())
    with replaced_on_success(folder / _WEIGHTS) as temporary:
        temporary.write_bytes(weights)
    config = _to_json(saved)
    with replaced_on_success(folder / _CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with replaced_on_success(folder / _CARD) as temporary:
        temporary.write_text(model_card(config), encoding="utf-8")
    return saved


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a folder that `save_checkpoint` wrote; the model is on the CPU, in evaluation mode.

    The address of a model on a hub, ``hf://owner/name``, is a folder, too, that is pulled first.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its two files is missing.
    ValueError
        If a file is damaged, is of a later format, or the two do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = pull(HubModel.parse(str(folder)), FILES).folder if is_on_hub(folder) else Path(folder)
    config = _read_config(folder)
    weights = _read_bytes(folder / _WEIGHTS)
    weights_hash = hashlib.sha256(weights).hexdigest()
    try:
        tensors = load(weights)
    except SafetensorError as error:
        raise ValueError(
            f"{folder / _WEIGHTS} is damaged ({error}): copy or train the model again."
        ) from error
    if weights_hash != config["weights_sha256"]:
        raise ValueError(
            f"{folder / _WEIGHTS} has SHA-256 {weights_hash[:12]}…, {_CONFIG} was written with "
            f"{config['weights_sha256'][:12]}…: they come from different models, copy the whole folder again."
        )
    try:
        settings = _classifier_settings(config["model"])
        return Checkpoint(
            model=_built(settings, tensors, folder),
            class_set=_class_set(folder, config),
            crop_settings=config["crop_settings"],
            thresholds=np.array(list(config["thresholds"].values()), dtype=np.float32),
            optional_channels=frozenset(Channel[name.upper()] for name in config["optional_channels"]),
            provenance=config["provenance"],
            field_settings=config["field_settings"] if settings.view == "field" else None,
            square_settings=config["square_settings"] if settings.view == "squares" else None,
            weights_hash=weights_hash,
        )
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{folder / _CONFIG} describes no model of hpa_cells ({type(error).__name__}: {error}): copy or train "
            "the model again."
        ) from error


def _built(settings: ClassifierSettings, tensors: dict[str, Tensor], folder: Path) -> CellClassifier:
    """The classifier with these weights, in evaluation mode."""
    import torch

    try:
        # Without numbers first, so that one too large for its file is refused before it takes the memory.
        with torch.device("meta"):
            CellClassifier(settings).load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[:2]).replace("\t", "")
        raise ValueError(f"{folder / _WEIGHTS} does not fit the model of {_CONFIG}: {first}") from error
    model = CellClassifier(settings)
    model.load_state_dict(tensors)
    return model.eval()


def read_weights_hash(folder: Path) -> str:
    """SHA-256 of the weights in a checkpoint folder as they were written; errors as `load_checkpoint`."""
    return str(_read_config(folder)["weights_sha256"])


def read_encoder(folder: Path) -> tuple[str, dict[str, Any]]:
    """Name and options of the encoder in a checkpoint folder, without its weights; errors as `load_checkpoint`."""
    model = _read_config(folder)["model"]
    try:
        return str(model["encoder"]), dict(model["encoder_options"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / _CONFIG} does not tell its encoder ({error}): copy or train the model again."
        ) from error


def _to_json(checkpoint: Checkpoint) -> dict[str, Any]:
    # Models of crops are written as before there were others, so that an older hpa_cells reads them too.
    settings = _SETTINGS_OF_VIEW.get(checkpoint.model.settings.view)
    model = asdict(checkpoint.model.settings)
    return {
        "format_version": FORMAT_VERSION,
        "model": {key: value for key, value in model.items() if settings or key not in _KEYS_OF_OTHER_VIEWS},
        "class_set": checkpoint.class_set.name,
        "thresholds": dict(zip(checkpoint.class_set.keys, checkpoint.thresholds.tolist(), strict=True)),
        "crop_settings": checkpoint.crop_settings,
        **({} if settings is None else {settings: getattr(checkpoint, settings)}),
        "optional_channels": sorted(channel.name.lower() for channel in checkpoint.optional_channels),
        "weights_sha256": checkpoint.weights_hash,
        "provenance": checkpoint.provenance,
    }


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    try:
        config = json.loads(_read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): copy or train the model again.") from error
    if not isinstance(config, dict) or "format_version" not in config:
        raise ValueError(f"{path} is not a checkpoint of hpa_cells: it has no format_version.")
    if config["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {config['format_version']}, this hpa_cells reads {FORMAT_VERSION}: "
            "use the hpa_cells that wrote it, or a newer one."
        )
    missing = _TYPES_OF_KEYS.keys() - config.keys()
    for key in [] if missing else _TYPES_OF_KEYS:
        if not isinstance(config[key], _TYPES_OF_KEYS[key]):
            raise ValueError(
                f"{path} has {str(config[key])[:40]!r} as {key}, expected a {_TYPES_OF_KEYS[key].__name__}: copy or "
                "train the model again."
            )
    if not missing and (settings := _SETTINGS_OF_VIEW.get(str(config["model"].get("view")))):
        missing = {settings} - config.keys()
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}: copy or train the model again.")
    return config


_TYPES_OF_KEYS: Final[dict[str, type]] = {
    "model": dict,
    "class_set": str,
    "thresholds": dict,
    "crop_settings": dict,
    "optional_channels": list,
    "weights_sha256": str,
    "provenance": dict,
}
# Settings of the classifier that models of crops are written without.
_KEYS_OF_OTHER_VIEWS = {"view", "map_stride"}


def _classifier_settings(model: dict[str, Any]) -> ClassifierSettings:
    pooling = model["pooling"]
    # Models trained before poolings had options give its name alone.
    pooling = {"name": pooling} if isinstance(pooling, str) else pooling
    return ClassifierSettings(**(model | {"pooling": PoolingSettings(**pooling)}))


def _class_set(folder: Path, config: dict[str, Any]) -> ClassSet:
    class_set = get_class_set(config["class_set"])
    if tuple(config["thresholds"]) != class_set.keys:
        raise ValueError(
            f"{folder / _CONFIG} lists other classes than class set {class_set.name} of this hpa_cells: "
            "use the hpa_cells that wrote it."
        )
    return class_set


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        fold = path.parent / "fold-0"
        if fold.is_dir():
            raise FileNotFoundError(
                f"{path} does not exist: {path.parent} is a cross-fit, a folder of several models, where one is "
                f"wanted. Give one of them, such as {fold}."
            ) from None
        raise FileNotFoundError(
            f"{path} does not exist: give the folder that `hpa-cells train` wrote to."
        ) from None
