"""Encoders, pooling, the classifier and its checkpoint folder. torch is loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpa_cells.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from hpa_cells.models.classifier import VIEWS, CellClassifier, CellOutputs, ClassifierSettings
    from hpa_cells.models.encoder import EncoderSettings, build_encoder, check_crop_size
    from hpa_cells.models.ensemble import Ensemble, load_models
    from hpa_cells.models.feature_map import CellPlaces, check_feature_map, find_places
    from hpa_cells.models.inputs import model_input
    from hpa_cells.models.pooling import PoolingSettings
    from hpa_cells.models.start import SHIPPED, SHIPPED_MODEL, shipped_encoder, take_over

__all__ = [
    "SHIPPED",
    "SHIPPED_MODEL",
    "VIEWS",
    "CellClassifier",
    "CellOutputs",
    "CellPlaces",
    "Checkpoint",
    "ClassifierSettings",
    "EncoderSettings",
    "Ensemble",
    "PoolingSettings",
    "build_encoder",
    "check_crop_size",
    "check_feature_map",
    "find_places",
    "load_checkpoint",
    "load_models",
    "model_input",
    "save_checkpoint",
    "shipped_encoder",
    "take_over",
]

_MODULES = {
    "SHIPPED": "start",
    "SHIPPED_MODEL": "start",
    "VIEWS": "classifier",
    "CellClassifier": "classifier",
    "CellOutputs": "classifier",
    "CellPlaces": "feature_map",
    "Checkpoint": "checkpoint",
    "ClassifierSettings": "classifier",
    "EncoderSettings": "encoder",
    "Ensemble": "ensemble",
    "PoolingSettings": "pooling",
    "build_encoder": "encoder",
    "check_crop_size": "encoder",
    "check_feature_map": "feature_map",
    "find_places": "feature_map",
    "load_checkpoint": "checkpoint",
    "load_models": "ensemble",
    "model_input": "inputs",
    "save_checkpoint": "checkpoint",
    "shipped_encoder": "start",
    "take_over": "start",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
