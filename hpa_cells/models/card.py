"""The model card: a checkpoint in words."""

from __future__ import annotations

from typing import Any

__all__ = ["model_card"]

_TEMPLATE = """\
# Cell classifier: {encoder}, {class_set}

Reads the locations of a protein in single human cells from four-channel fluorescence fields (microtubules,
protein, nucleus, endoplasmic reticulum). Trained with hpa_cells {version}.

Use it with `hpa-cells predict fields=DIR model=THIS_FOLDER out=RUN`, or from Python with
`hpa_cells.models.load_checkpoint`. The weights are plain tensors: opening them runs no code.

## Model

| | |
|---|---|
| encoder | {encoder} |
| pooling of a field's cells | {pooling}, {field_head} head |
| {view} | {shown} |
| channels that may be missing | {optional} |
| SHA-256 of the weights | `{weights_hash}` |

## Training

{about}{training}

## Validation

Scores of whole fields, since only their labels are known; locations of single cells are harder.

{metrics}

## Classes

A class is called present in a field at or above its threshold: the best by F1 on fields that the model had not seen.

{classes}

## Limits

Labels name what most cells of a field show: rare cells, such as mitotic ones, are learned least. Other
stainings, microscopes and pixel sizes than those of the training data need a check on fields whose labels are
known. Not for diagnosis.
"""


def model_card(config: dict[str, Any]) -> str:
    """Markdown text for the content of a ``checkpoint.json``."""
    provenance = config["provenance"]
    return _TEMPLATE.format(
        encoder=config["model"]["encoder"],
        class_set=config["class_set"],
        version=provenance.get("version", "of unknown version"),
        pooling=_pooling(config),
        field_head=config["model"]["field_head"],
        view=_view(config)[0],
        shown=_shown(config),
        optional=", ".join(config["optional_channels"]) or "none",
        weights_hash=config["weights_sha256"],
        about="" if provenance.get("about") is None else f"{provenance['about']}\n\n",
        training=_table(provenance.get("data", {}) | provenance.get("training", {})),
        metrics=_table(provenance.get("metrics", {})),
        classes=_class_table(config),
    )


def _view(config: dict[str, Any]) -> tuple[str, str]:
    """What the model sees in words, and the name of the settings of that."""
    if "field_settings" in config:
        return "whole fields", "field_settings"
    if "square_settings" in config:
        return "squares of fields, no cells", "square_settings"
    return "crops", "crop_settings"


def _shown(config: dict[str, Any]) -> str:
    """How crops or squares are cut or fields shown."""
    settings = config[_view(config)[1]]
    if config["model"].get("map_stride") is not None:
        settings = settings | {"map_stride": config["model"]["map_stride"]}
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "unknown"


def _pooling(config: dict[str, Any]) -> str:
    """The pooling with its options, then the classes that are pooled in another way."""
    pooling, keys = config["model"]["pooling"], list(config["thresholds"])
    options = ", ".join(f"{name} {value}" for name, value in pooling["options"].items())
    exceptions = [
        f"{keys[int(position)].replace('_', ' ')} by {name}"
        for position, name in pooling["exceptions"].items()
    ]
    return ", ".join([f"{pooling['name']} ({options})" if options else pooling["name"], *exceptions])


def _table(values: dict[str, Any]) -> str:
    """Two columns; what is said of each class apart is left to the table of classes."""
    single = {name: value for name, value in values.items() if not isinstance(value, dict)}
    if not single:
        return "Not recorded."
    rows = "\n".join(f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in single.items())
    return f"| | |\n|---|---|\n{rows}"


def _class_table(config: dict[str, Any]) -> str:
    shares = config["provenance"].get("data", {}).get("label_shares", {})
    precisions = config["provenance"].get("metrics", {}).get("average_precision", {})
    rows = [
        f"| {key.replace('_', ' ')} | {_cell(shares.get(key))} | {_cell(precisions.get(key))} | {_cell(threshold)} |"
        for key, threshold in config["thresholds"].items()
    ]
    head = "| class | share of training fields | average precision | threshold |\n|---|---|---|---|"
    return "\n".join([head, *rows])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|")
