"""A submission of 2021 read back as a cell table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa_cells import __version__
from hpa_cells.classes import get_class_set
from hpa_cells.export.cell_ids import FieldIds, ids_path, read_ids
from hpa_cells.export.expected import FieldSize
from hpa_cells.export.kaggle2021_rows import Detection, parsed_rows
from hpa_cells.export.mask_rows import mask_rows, typed_rows
from hpa_cells.export.problem import Problem
from hpa_cells.table import CELL_COLUMNS, FIELD_COLUMNS, CellTable, Column, Provenance

__all__ = ["read_kaggle2021"]


def read_kaggle2021(path: Path, *, pixel_size_um: float = math.nan) -> CellTable:
    """The cell table of a submission, with everything that follows from the masks.

    Triples of a field with the same mask are one cell, until a class comes up a second time: then another
    cell of the same mask begins. Cells have the ids of ``<name>.cells.csv`` where that file is there, and are
    else numbered from 1 in the order in which they appear. A class that is not given for a cell has the
    probability NaN, which the metric takes for no detection. There are no nuclei, no embeddings and no
    probabilities of fields (NaN).

    Parameters
    ----------
    path
        The submission.
    pixel_size_um
        Side of a pixel, in um, of fields for which ``<name>.cells.csv`` tells none. NaN: areas in um2 are
        unknown.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If anything is wrong with the file; the message names the first problem. See `validate_kaggle2021`.
    """
    class_set = get_class_set("hpa2021")
    known_ids = read_ids(ids_path(path)) if ids_path(path).exists() else {}
    problems: list[Problem] = []
    cells: list[pd.DataFrame] = []
    fields: dict[str, dict[str, Any]] = {}
    for row in parsed_rows(path, class_set, problems):
        if row.field_id in fields:
            problems.append(Problem(row.line, row.field_id, row.field_id, "Id was in the file already."))
        if problems:
            break
        assert row.size is not None
        found = _cells_of(row.detections)
        ids = known_ids.get(row.field_id, FieldIds(pixel_size_um, list(range(1, len(found) + 1))))
        if len(ids.cell_ids) != len(found):
            raise ValueError(
                f"{ids_path(path)} has {len(ids.cell_ids)} cells of field {row.field_id}, {path} has "
                f"{len(found)}: delete the former, and cells are numbered from 1."
            )
        fields[row.field_id] = _field_row(row.field_id, row.size, ids)
        if found:
            cells.append(_cell_rows(row.field_id, row.size, ids, found, len(class_set)))
    if problems:
        raise ValueError(f"{path} cannot be read: {problems[0]}")
    return CellTable(
        cells=typed_rows(cells, CELL_COLUMNS, class_set, [Column.FIELD_ID, Column.CELL_ID]),
        fields=typed_rows([pd.DataFrame(fields.values())], FIELD_COLUMNS, class_set, [Column.FIELD_ID]),
        class_set=class_set,
        provenance=Provenance(version=__version__, class_set=class_set.name, source="submission"),
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    """A mask and the confidence of each class that was given for it."""

    counts: bytes
    confidences: dict[int, float] = field(default_factory=dict)


def _cells_of(detections: list[Detection]) -> list[_Cell]:
    """Cells in the order of their first triple."""
    cells: list[_Cell] = []
    latest: dict[bytes, _Cell] = {}
    for detection in detections:
        cell = latest.get(detection.counts)
        if cell is None or detection.class_index in cell.confidences:
            cell = latest[detection.counts] = _Cell(detection.counts)
            cells.append(cell)
        cell.confidences[detection.class_index] = detection.confidence
    return cells


def _cell_rows(
    field_id: str, size: FieldSize, ids: FieldIds, cells: list[_Cell], num_classes: int
) -> pd.DataFrame:
    probabilities = np.full((num_classes, len(cells)), np.nan, dtype=np.float32)
    for position, cell in enumerate(cells):
        probabilities[list(cell.confidences), position] = list(cell.confidences.values())
    columns = Column.probabilities(get_class_set("hpa2021"))
    values = mask_rows([cell.counts for cell in cells], size, ids.pixel_size_um)
    values |= {Column.FIELD_ID: field_id, Column.CELL_ID: ids.cell_ids}
    return pd.DataFrame(values | dict(zip(columns, probabilities, strict=True)))


def _field_row(field_id: str, size: FieldSize, ids: FieldIds) -> dict[str, Any]:
    return {
        Column.FIELD_ID: field_id,
        Column.HEIGHT_PX: size.height_px,
        Column.WIDTH_PX: size.width_px,
        Column.PIXEL_SIZE_UM: ids.pixel_size_um,
        Column.NUM_CELLS: len(ids.cell_ids),
    }
