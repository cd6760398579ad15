"""The cells of a field as features of GeoJSON, in the words of QuPath.

QuPath's importer [1]_ takes a feature for a cell by ``objectType``, looks for the nucleus beside ``geometry``, wants a
colour with each classification, and takes no measurement that is null. Keys that it does not know it passes over.

References
----------
.. [1] qupath/qupath, ``qupath-core/src/main/java/qupath/lib/io``: ``QuPathTypeAdapters``, ``ROITypeAdapters``,
   ``GsonTools`` and ``PathIO``, as of version 0.5.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, color_on_dark
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

CoordinateTexts: TypeAlias = "tuple[NDArray[np.bytes_], NDArray[np.bytes_]]"


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

    def of_cells(
        self, probabilities: NDArray[np.float32], class_set: ClassSet
    ) -> list[dict[str, Any] | None]:
        """QuPath's ``classification`` of each cell, from (N, K) probabilities (NaN is none); None: unclassified."""
        is_given = (probabilities >= self.threshold) & (probabilities > 0)
        best = np.where(is_given, probabilities, -1).argmax(axis=1)
        alone = [
            {"name": location.name, "color": color_on_dark(location.color)}
            for location in class_set.locations
        ]
        found: list[dict[str, Any] | None] = []
        for number, first, given in zip(is_given.sum(axis=1).tolist(), best.tolist(), is_given, strict=True):
            if self.all_classes and number > 1:
                names = [class_set.names[index] for index in np.flatnonzero(given)]
                found.append({"names": names, "color": alone[first]["color"]})
            else:
                found.append(alone[first] if number else None)
        return found


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
        given = classification.of_cells(probabilities, class_set)
        ids = zip(part[Column.FIELD_ID], part[Column.CELL_ID].tolist(), strict=True)
        parts = zip(ids, outlines, nuclei, given, _measurements(part, class_set), strict=True)
        for (field_id, cell_id), outline, nucleus, of_cell, measurements in parts:
            if outline is None:
                raise ValueError(
                    f"Cell {cell_id} of field {field_id} has no pixels: leave it out of the table."
                )
            beside = "" if nucleus is None else f',"nucleusGeometry":{nucleus}'
            classified = "" if of_cell is None else f',"classification":{compact_json(of_cell)}'
            yield (
                f'{{"type":"Feature","id":"{cell_uuid(field_id, cell_id)}","geometry":{outline}{beside},'
                f'"properties":{{"objectType":"cell","name":"{cell_id}"{classified},"measurements":{measurements}}}}}'
            )


def _geometries(rles: pd.Series[Any], size: tuple[int, int], tolerance_px: float) -> list[str | None]:
    """A geometry for each mask, as JSON; None where there is none, or no pixel in it."""
    has_mask = rles.notna().to_numpy()
    found: list[str | None] = [None] * len(rles)
    texts = _coordinate_texts(max(size))
    outlines = trace_masks([rle.encode("ascii") for rle in rles[has_mask]], *size)
    for place, polygons in zip(np.flatnonzero(has_mask).tolist(), outlines.polygons(), strict=True):
        if polygons:
            found[place] = _geometry(simplified(polygons, tolerance_px), texts)
    return found


def _geometry(polygons: list[Polygon], texts: CoordinateTexts) -> str:
    coordinates = [f"[{','.join([_ring(ring, texts) for ring in polygon])}]" for polygon in polygons]
    if len(coordinates) == 1:
        return f'{{"type":"Polygon","coordinates":{coordinates[0]}}}'
    return f'{{"type":"MultiPolygon","coordinates":[{",".join(coordinates)}]}}'


@lru_cache(maxsize=4)
def _coordinate_texts(most: int) -> CoordinateTexts:
    """Each number from 0 to `most` as an x and as a y of JSON, filled up with zero bytes to one length."""
    kind = f"S{len(str(most)) + 2}"
    return (
        np.array([f"[{number}," for number in range(most + 1)], dtype=kind),
        np.array([f"{number}]," for number in range(most + 1)], dtype=kind),
    )


def _ring(ring: NDArray[np.int32], texts: CoordinateTexts) -> str:
    # Most of a file is this. All points are looked up at once: several times as fast as lists of them as JSON.
    points = np.stack([axis[numbers] for axis, numbers in zip(texts, ring.T, strict=True)], axis=1)
    text = points.tobytes().translate(None, b"\0").decode("ascii")
    return f"[{text[:-1]}]"


def _measurements(cells: pd.DataFrame, class_set: ClassSet) -> Iterator[str]:
    """Of each cell, by column, as JSON; what is unknown (NaN) is left out."""
    columns = Column.probabilities(class_set)
    names = [f"{compact_json(name)}:" for name in (*MEASUREMENTS, *columns)]
    # numpy writes a number with as few digits as tell it from its neighbours, which are fewer for those of 32 bits.
    known = cells[[*MEASUREMENTS]].astype(float).to_numpy().astype(str)
    scores = cells[columns].to_numpy(dtype=np.float32).astype(str)
    for values in np.concatenate([known, scores], axis=1).tolist():
        named = zip(names, values, strict=True)
        yield f"{{{','.join([name + value.removesuffix('.0') for name, value in named if value != 'nan'])}}}"
