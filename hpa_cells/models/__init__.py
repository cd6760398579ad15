"""Encoders, pooling, the classifier and its checkpoint folder. torch is loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpa_cells.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from hpa_cells.models.classifier import CellClassifier, CellOutputs, ClassifierSettings
    from hpa_cells.models.encoder import EncoderSettings, build_encoder
    from hpa_cells.models.inputs import model_input

__all__ = [
    "CellClassifier",
    "CellOutputs",
    "Checkpoint",
    "ClassifierSettings",
    "EncoderSettings",
    "build_encoder",
    "load_checkpoint",
    "model_input",
    "save_checkpoint",
]

_MODULES = {
    "CellClassifier": "classifier",
    "CellOutputs": "classifier",
    "Checkpoint": "checkpoint",
    "ClassifierSettings": "classifier",
    "EncoderSettings": "encoder",
    "build_encoder": "encoder",
    "load_checkpoint": "checkpoint",
    "model_input": "inputs",
    "save_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
