"""Label images without fields, whose outlines the simulation fills with light."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields.read import ASSUMED_FIELD_SIDE_UM
from hpa_cells.segmentation.label_files import LABEL_SUFFIXES, read_labels
from hpa_cells.simulation import RealLayout

__all__ = ["read_outlines"]

_CELLS, _NUCLEI = "_cellmask", "_nucleimask"


# Finer than the scale that fields are simulated for, and a quarter of the memory.
_UM_PER_PX = 0.16


# Once a process, not once a field.
@lru_cache(maxsize=1)
def read_outlines(places: tuple[str, ...]) -> tuple[RealLayout, ...]:
    """The outlines in folders and files, in the order of their paths; as wide as a real field each.

    A ``<id>_nucleimask`` beside a ``<id>_cellmask`` has the nuclei.

    Raises
    ------
    ValueError
        If a place does not exist, or a file is no label image.
    """
    layouts = []
    for place in map(Path, places):
        if not place.exists():
            raise ValueError(f"{place} does not exist: correct segmentation.material.outlines.")
        for path in sorted(place.iterdir()) if place.is_dir() else [place]:
            if path.suffix in LABEL_SUFFIXES and (path == place or _NUCLEI not in path.name):
                layouts.append(_read_layout(path))
    return tuple(layouts)


def _read_layout(path: Path) -> RealLayout:
    cells = read_labels(path)
    nuclei = path.with_name(path.name.replace(_CELLS, _NUCLEI))
    has_nuclei = _CELLS in path.name and nuclei.is_file()
    scale = ASSUMED_FIELD_SIDE_UM / max(cells.shape) / _UM_PER_PX
    return RealLayout(
        cells=_rescaled(cells, scale),
        nuclei=_rescaled(read_labels(nuclei), scale) if has_nuclei else None,
        pixel_size_um=_UM_PER_PX,
    )


def _rescaled(labels: NDArray[np.int32], scale: float) -> NDArray[np.int32]:
    size = tuple(round(side * scale) for side in reversed(labels.shape))
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32, copy=False)
