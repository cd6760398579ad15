"""Label images without fields, whose outlines the simulation fills with light."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from hpa_cells.fields.read import ASSUMED_FIELD_SIDE_UM
from hpa_cells.segmentation.label_files import LABEL_SUFFIXES, read_labels
from hpa_cells.simulation import RealLayout

__all__ = ["read_outlines"]

# Finer than the scale that fields are simulated for, and a quarter of the memory.
_UM_PER_PX = 0.16


# Once a process, not once a field.
@lru_cache(maxsize=1)
def read_outlines(places: tuple[str, ...]) -> tuple[RealLayout, ...]:
    """The outlines of cells in folders and files, in the order of their paths; as wide as a real field each.

    Raises
    ------
    ValueError
        If a place does not exist, or a file is no label image.
    """
    files: list[Path] = []
    for place in map(Path, places):
        if not place.exists():
            raise ValueError(f"{place} does not exist: correct segmentation.material.outlines.")
        files += sorted(place.iterdir()) if place.is_dir() else [place]
    return tuple(_read_layout(path) for path in files if path.suffix in LABEL_SUFFIXES)


def _read_layout(path: Path) -> RealLayout:
    cells = read_labels(path)
    scale = ASSUMED_FIELD_SIDE_UM / max(cells.shape) / _UM_PER_PX
    size = tuple(round(side * scale) for side in reversed(cells.shape))
    scaled = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32, copy=False)
    return RealLayout(cells=scaled, nuclei=None, pixel_size_um=_UM_PER_PX)
