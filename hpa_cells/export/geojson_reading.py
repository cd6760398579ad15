"""Cells read back from GeoJSON, also after a person has corrected them in QuPath."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells import __version__
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.export.expected import FieldSize
from hpa_cells.export.geojson import OWN_MEMBER, SUFFIXES
from hpa_cells.export.json_values import JsonObject, read_json
from hpa_cells.export.mask_rows import mask_rows, typed_rows
from hpa_cells.limits import MAX_SIDE_PX
from hpa_cells.masks import counts_area, fill_polygons
from hpa_cells.table import CELL_COLUMNS, FIELD_COLUMNS, CellTable, Column, Provenance

__all__ = ["read_geojson"]

Rings: TypeAlias = list[NDArray[np.float64]]

_LARGEST_ID = 2**31 - 1
_LARGEST_PROBABILITY = float(np.finfo(np.float32).max)
# Beyond it, x and y are no places in a field.
_FARTHEST_PX = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class _About:
    """What a file says of its field."""

    field_id: str
    size: FieldSize
    pixel_size_um: float
    classes: ClassSet


@dataclass(frozen=True, kw_only=True, slots=True)
class _Feature:
    """A cell: the rings of its outline and of its nucleus; the id is None where it has none."""

    cell_id: int | None
    rings: Rings
    nucleus_rings: Rings
    probabilities: list[float]


def read_geojson(
    path: Path,
    *,
    height_px: int | None = None,
    width_px: int | None = None,
    class_set: str | None = None,
    pixel_size_um: float = math.nan,
) -> CellTable:
    """The cell table of a field, with everything that follows from the outlines.

    A pixel is one of a cell where its centre is inside of the outline. Outlines along the edges of pixels give the
    masks that they were made of. A cell has the id of its measurement ``cell_id``; a cell without one, such as a person
    has drawn, gets the next number that is free. Probabilities are measurements too; what is not there is NaN. There
    are no embeddings and no probabilities of the field (NaN).

    Parameters
    ----------
    path
        A file such as `write_geojson` makes, or QuPath.
    height_px, width_px, class_set
        Of the field. None: as the file says, which QuPath does not write.
    pixel_size_um
        Side of a pixel, in um, where the file tells none. NaN: areas in um2 are unknown.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If anything is wrong with the file; the message names the feature.
    """
    whole = read_json(path)
    about = _about(path, whole, (height_px, width_px), class_set, pixel_size_um)
    found = [_feature(each, about.classes) for each in whole.objects("features")]
    ids = _ids(path, found)
    cells = [_cell_rows(path, about, found, ids)] if found else []
    field_row = {
        Column.FIELD_ID: about.field_id,
        Column.HEIGHT_PX: about.size.height_px,
        Column.WIDTH_PX: about.size.width_px,
        Column.PIXEL_SIZE_UM: about.pixel_size_um,
        Column.NUM_CELLS: len(found),
    }
    return CellTable(
        cells=typed_rows(cells, CELL_COLUMNS, about.classes, [Column.FIELD_ID, Column.CELL_ID]),
        fields=typed_rows([pd.DataFrame([field_row])], FIELD_COLUMNS, about.classes, [Column.FIELD_ID]),
        class_set=about.classes,
        provenance=Provenance(version=__version__, class_set=about.classes.name, source="geojson"),
    )


def _about(
    path: Path,
    whole: JsonObject,
    sides: tuple[int | None, int | None],
    class_set: str | None,
    pixel_size_um: float,
) -> _About:
    told = whole.optional(OWN_MEMBER) or JsonObject({}, f"{path}, {OWN_MEMBER}")
    values = dict(told.values)
    given = {Column.HEIGHT_PX: sides[0], Column.WIDTH_PX: sides[1], "class_set": class_set}
    values |= {name: value for name, value in given.items() if value is not None}
    for name in given:
        if values.get(name) is None:
            raise ValueError(f"{path} does not say the {name} of its field: give `{name}`.")
    own = JsonObject(values, told.place)
    size = FieldSize(own.whole(Column.WIDTH_PX, 1, MAX_SIDE_PX), own.whole(Column.HEIGHT_PX, 1, MAX_SIDE_PX))
    suffix = next((each for each in reversed(SUFFIXES) if path.name.lower().endswith(each)), "")
    is_told = own.get(Column.FIELD_ID) is not None
    return _About(
        field_id=own.text(Column.FIELD_ID) if is_told else path.name.removesuffix(suffix),
        size=size,
        pixel_size_um=(
            pixel_size_um
            if own.get(Column.PIXEL_SIZE_UM) is None
            else own.number(Column.PIXEL_SIZE_UM, 1e-6, 1e6)
        ),
        classes=get_class_set(own.text("class_set")),
    )


def _feature(found: JsonObject, classes: ClassSet) -> _Feature:
    nucleus = found.optional("nucleusGeometry")
    geometry = found.optional("geometry")
    if geometry is None:
        raise found.error("geometry", "is no geometry: leave out the feature")
    properties = found.optional("properties")
    told = properties.get("measurements") if properties else None
    measured = JsonObject(told if isinstance(told, dict) else {}, f"{found.place}, measurements")
    has_id = measured.get(Column.CELL_ID) is not None
    return _Feature(
        cell_id=measured.whole(Column.CELL_ID, 1, _LARGEST_ID) if has_id else None,
        rings=_rings(geometry),
        nucleus_rings=[] if nucleus is None else _rings(nucleus),
        probabilities=[
            math.nan
            if measured.get(name) is None
            else measured.number(name, -_LARGEST_PROBABILITY, _LARGEST_PROBABILITY)
            for name in Column.probabilities(classes)
        ],
    )


def _rings(geometry: JsonObject) -> Rings:
    """All rings of a Polygon or MultiPolygon."""
    polygons = geometry.get("coordinates")
    if geometry.get("type") == "Polygon":
        polygons = [polygons]
    elif geometry.get("type") != "MultiPolygon":
        raise geometry.error("type", "is not Polygon or MultiPolygon: leave out features that are no cells")
    if not isinstance(polygons, list) or not all(isinstance(each, list) for each in polygons):
        raise geometry.error("coordinates", "are no lists of rings")
    return [_ring(geometry, ring) for polygon in polygons for ring in polygon]


def _ring(geometry: JsonObject, ring: Any) -> NDArray[np.float64]:
    points = _points(ring)
    if points is None or len(points) < 4 or np.abs(points).max() > _FARTHEST_PX:
        raise geometry.error("coordinates", "have a ring that is no list of 4 or more points [x, y] in px")
    return points


def _points(ring: Any) -> NDArray[np.float64] | None:
    """(V, 2) x and y of a list of points, which may have a height too; None where it is none."""
    if not isinstance(ring, list) or set(map(type, ring)) != {list} or min(map(len, ring)) < 2:
        return None
    values = [value for point in ring for value in point[:2]]
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        points = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    return points.reshape(-1, 2) if np.isfinite(points).all() else None


def _ids(path: Path, found: Sequence[_Feature]) -> list[int]:
    """Of each feature, its own or the next that is free."""
    own = [each.cell_id for each in found if each.cell_id is not None]
    twice = [cell_id for cell_id, times in Counter(own).items() if times > 1]
    if twice:
        raise ValueError(
            f"{path} has the {Column.CELL_ID} {twice[0]} twice: leave out one, or its measurement {Column.CELL_ID}."
        )
    taken = set(own)
    free = iter(range(max(taken, default=0) + 1, _LARGEST_ID + 1))
    ids = [next(free, None) if each.cell_id is None else each.cell_id for each in found]
    if None in ids:
        raise ValueError(f"{path} has no free ids above {max(taken)}: give its cells smaller ones.")
    return [each for each in ids if each is not None]


def _cell_rows(path: Path, about: _About, found: Sequence[_Feature], ids: list[int]) -> pd.DataFrame:
    size = about.size
    try:
        counts, nuclei = (
            fill_polygons(each, size.height_px, size.width_px)
            for each in ([each.rings for each in found], [each.nucleus_rings for each in found])
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for cell_id, each in zip(ids, counts, strict=True):
        if not each:
            raise ValueError(f"{path}: cell {cell_id} has no pixel in the field: leave it out.")
    areas_px = np.zeros(len(found), dtype=np.int64)
    has_nucleus = [bool(each) for each in nuclei]
    areas_px[has_nucleus] = counts_area([each for each in nuclei if each], size.height_px, size.width_px)
    values = mask_rows(counts, size, about.pixel_size_um)
    values |= {
        Column.FIELD_ID: about.field_id,
        Column.CELL_ID: ids,
        Column.NUCLEUS_RLE: [each.decode("ascii") if each else None for each in nuclei],
        Column.NUCLEUS_AREA_PX: areas_px,
        Column.NUCLEUS_AREA_UM2: areas_px * about.pixel_size_um**2,
    }
    probabilities = np.array([each.probabilities for each in found], dtype=np.float32).T
    return pd.DataFrame(values | dict(zip(Column.probabilities(about.classes), probabilities, strict=True)))
