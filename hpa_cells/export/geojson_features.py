"""The cells of a field as features of GeoJSON, in the words of QuPath.

QuPath's importer [1]_ takes a feature for a cell by ``objectType``, looks for the nucleus beside ``geometry``, wants a
colour with each classification, and takes no measurement that is null. Keys that it does not know it passes over.

References
----------
.. [1] qupath/qupath, ``qupath-core/src/main/java/qupath/lib/io``: ``QuPathTypeAdapters``, ``ROITypeAdapters``,
   ``GsonTools`` and ``PathIO``, as of version 0.5.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, rgb_of
from hpa_cells.export.json_values import compact_json
from hpa_cells.masks import Polygon, simplified, trace_masks
from hpa_cells.table import Column

__all__ = ["MEASUREMENTS", "Classification", "cell_uuid", "features_of"]

# Of a cell, beside its probabilities; QuPath lists them under these names.
MEASUREMENTS = (
    Column.CELL_ID,
    Column.AREA_PX,
    Column.AREA_UM2,
    Column.NUCLEUS_AREA_PX,
    Column.NUCLEUS_AREA_UM2,
    Column.TOUCHES_BORDER,
)
# What the ids of cells are hashed with: the same cell has the same id in every export.
_NAMESPACE = uuid.UUID("6f0c6a3e-54a4-5d43-9a0b-6c1d0a7f2b19")
# Outlines are traced of so many cells at a time, which bounds the memory.
_CELLS_AT_A_TIME = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """How a cell gets its class.

    Attributes
    ----------
    threshold
        Least probability of a class; a class of probability 0 is never given.
    all_classes
        Whether a cell gets all of them, as QuPath's derived class ``A: B`` in the order of the class set, and not only
        the most probable one.
    """

    threshold: float
    all_classes: bool

    def of_cell(self, probabilities: NDArray[np.float32], class_set: ClassSet) -> dict[str, Any] | None:
        """QuPath's ``classification`` of a cell, from (K,) probabilities (NaN is none); None: unclassified."""
        is_given = (probabilities >= self.threshold) & (probabilities > 0)
        if not is_given.any():
            return None
        best = int(np.argmax(np.where(is_given, probabilities, -1)))
        rgb = rgb_of(class_set.colors[best])
        names = [class_set.names[index] for index in np.flatnonzero(is_given)]
        if self.all_classes and len(names) > 1:
            return {"names": names, "color": rgb}
        return {"name": class_set.names[best], "color": rgb}


def cell_uuid(field_id: str, cell_id: int) -> str:
    """The id of a feature, which QuPath wants to be a UUID.

    Examples
    --------
    >>> cell_uuid("f1", 7)
    '5c894bc9-6d1b-5f66-a3b0-b3d22d7b4cbf'
    """
    return str(uuid.uuid5(_NAMESPACE, f"{field_id}/{cell_id}"))


def features_of(
    cells: pd.DataFrame,
    size: tuple[int, int],
    class_set: ClassSet,
    classification: Classification,
    tolerance_px: float,
) -> Iterator[str]:
    """Yield the feature of each cell of a field, as JSON.

    Parameters
    ----------
    cells
        Its rows of the cell table.
    size
        Height and width of the field, in px.
    class_set
        Of the probability columns.
    classification
        How cells get their class.
    tolerance_px
        See `simplified`; 0: the edges of the pixels.
    """
    for start in range(0, len(cells), _CELLS_AT_A_TIME):
        part = cells.iloc[start : start + _CELLS_AT_A_TIME]
        outlines = _geometries(part[Column.CELL_RLE], size, tolerance_px)
        nuclei = _geometries(part[Column.NUCLEUS_RLE], size, tolerance_px)
        probabilities = part[Column.probabilities(class_set)].to_numpy(dtype=np.float32)
        ids = zip(part[Column.FIELD_ID], part[Column.CELL_ID].tolist(), strict=True)
        parts = zip(ids, outlines, nuclei, probabilities, _measurements(part, class_set), strict=True)
        for (field_id, cell_id), outline, nucleus, scores, measurements in parts:
            if outline is None:
                raise ValueError(
                    f"Cell {cell_id} of field {field_id} has no pixels: leave it out of the table."
                )
            properties: dict[str, Any] = {"objectType": "cell", "name": str(cell_id)}
            given = classification.of_cell(scores, class_set)
            if given is not None:
                properties["classification"] = given
            properties["measurements"] = measurements
            beside = "" if nucleus is None else f',"nucleusGeometry":{nucleus}'
            yield (
                f'{{"type":"Feature","id":"{cell_uuid(field_id, cell_id)}","geometry":{outline}{beside},'
                f'"properties":{compact_json(properties)}}}'
            )


def _geometries(rles: pd.Series[Any], size: tuple[int, int], tolerance_px: float) -> list[str | None]:
    """A geometry for each mask, as JSON; None where there is none, or no pixel in it."""
    has_mask = rles.notna().to_numpy()
    found: list[str | None] = [None] * len(rles)
    outlines = trace_masks([rle.encode("ascii") for rle in rles[has_mask]], *size)
    for place, polygons in zip(np.flatnonzero(has_mask).tolist(), outlines.polygons(), strict=True):
        if polygons:
            found[place] = _geometry(simplified(polygons, tolerance_px))
    return found


def _geometry(polygons: list[Polygon]) -> str:
    coordinates = [f"[{','.join(map(_ring, polygon))}]" for polygon in polygons]
    if len(coordinates) == 1:
        return f'{{"type":"Polygon","coordinates":{coordinates[0]}}}'
    return f'{{"type":"MultiPolygon","coordinates":[{",".join(coordinates)}]}}'


def _ring(ring: NDArray[np.int32]) -> str:
    # Most of a file is this: one pattern for all points is several times as fast as lists of them as JSON.
    pattern = "[%d,%d]," * len(ring)
    return f"[{pattern[:-1] % tuple(ring.ravel().tolist())}]"


def _measurements(cells: pd.DataFrame, class_set: ClassSet) -> Iterator[dict[str, float]]:
    """Of each cell, by column; what is unknown (NaN) is left out."""
    columns = Column.probabilities(class_set)
    # As few digits as tell a 32-bit number from its neighbours.
    texts = cells[columns].to_numpy(dtype=np.float32).astype(str)
    numbers = cells[[*MEASUREMENTS]].astype(float).to_numpy()
    for known, scores in zip(numbers.tolist(), texts.astype(float).tolist(), strict=True):
        named = zip((*MEASUREMENTS, *columns), (*known, *scores), strict=True)
        yield {
            name: int(value) if value.is_integer() else value
            for name, value in named
            if not math.isnan(value)
        }
