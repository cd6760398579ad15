"""The networks that the Human Protein Atlas published, and their post-processing, on today's torch.

`HpaCellSeg` is the segmenter. `CellSegmentator`, `label_cell` and `label_nuclei` serve scripts that were written
for the hpacellseg package. torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpa_cells.segmentation.hpacellseg.segmenter import HpaCellSeg

if TYPE_CHECKING:
    from hpa_cells.segmentation.hpacellseg.cellsegmentator import CellSegmentator
    from hpa_cells.segmentation.hpacellseg.labels import label_cell, label_nuclei

__all__ = ["CellSegmentator", "HpaCellSeg", "label_cell", "label_nuclei"]

_MODULES = {"CellSegmentator": "cellsegmentator", "label_cell": "labels", "label_nuclei": "labels"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
