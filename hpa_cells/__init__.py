"""Where proteins are in single human cells, read from four-channel fields labelled only as a whole.

The verbs of the ``hpa-cells`` program are functions here: `simulate`, `segment`, `train`, `predict`, `merge`,
`evaluate`, `calibrate`, `export`, `report`, `explore`, `push`, `pull` and `onnx`. They are loaded on first use, so that
importing the package stays fast.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_VERBS = (
    "simulate",
    "segment",
    "train",
    "predict",
    "merge",
    "evaluate",
    "calibrate",
    "export",
    "report",
    "explore",
    "push",
    "pull",
    "onnx",
)
_PLACES = dict.fromkeys(_VERBS, "hpa_cells.commands.api") | {"read_table": "hpa_cells.table"}

__all__ = ["__version__", *_PLACES]


class _Room(ModuleType):
    """A room with the name of a verb, such as `hpa_cells.export`, which is called as that verb."""

    def __call__(self, **settings: Any) -> Any:
        return self._verb(**settings)

    @property
    def __signature__(self) -> Any:
        from inspect import signature

        return signature(self._verb)

    @property
    def _verb(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(_PLACES[name]), name)


class _Package(ModuleType):
    """The package; without it, a room once imported would hide the verb of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VERBS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'hpa_cells' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
