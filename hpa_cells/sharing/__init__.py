"""Models for other people and other programs: what of a folder is the model, its card on a hub, and ONNX."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpa_cells.sharing.card import hub_card
    from hpa_cells.sharing.classifier_graph import export_classifier
    from hpa_cells.sharing.folder import SharedModel, find_model
    from hpa_cells.sharing.private import without_places
    from hpa_cells.sharing.segmenter_graph import export_segmenter

__all__ = [
    "SharedModel",
    "export_classifier",
    "export_segmenter",
    "find_model",
    "hub_card",
    "without_places",
]

_MODULES = {
    "SharedModel": "folder",
    "export_classifier": "classifier_graph",
    "export_segmenter": "segmenter_graph",
    "find_model": "folder",
    "hub_card": "card",
    "without_places": "private",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
