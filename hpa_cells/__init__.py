"""Where proteins are in single human cells, read from four-channel fields labelled only as a whole.

The verbs of the ``hpa-cells`` program are functions here: `simulate`, `segment`, `train`, `predict`, `evaluate`,
`export`, `report` and `explore`. They are loaded on first use, so that importing the package stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_VERBS = ("simulate", "segment", "train", "predict", "evaluate", "export", "report", "explore")
_PLACES = dict.fromkeys(_VERBS, "hpa_cells.commands.api") | {"read_table": "hpa_cells.table"}

__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'hpa_cells' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
