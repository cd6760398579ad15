"""The cell ids of a submission, in a file beside it.

The challenge's file has no place for the ids of cells. A second file, ``<name>.cells.csv``, holds them in the
order in which the cells appear, with the pixel size of their field, so that both come back when the
submission is read.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpa_cells.atomic import replaced_on_success
from hpa_cells.table import Column

__all__ = ["FieldIds", "ids_path", "read_ids", "write_ids"]

_HEADER = (Column.FIELD_ID, Column.PIXEL_SIZE_UM, Column.CELL_ID)


@dataclass(frozen=True, slots=True)
class FieldIds:
    """Of one field: the pixel size, in um, and the cell ids in the order of the submission."""

    pixel_size_um: float
    cell_ids: list[int] = field(default_factory=list)


def ids_path(path: Path) -> Path:
    """The file of ids that belongs to a submission.

    Examples
    --------
    >>> ids_path(Path("out/submission.csv")).name
    'submission.cells.csv'
    """
    return path.with_name(f"{path.stem}.cells.csv")


def write_ids(path: Path, fields: Mapping[str, FieldIds]) -> None:
    """Write one row a cell; a field without cells has one row with no id."""
    with replaced_on_success(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for field_id, ids in fields.items():
            cell_ids: list[int] | list[str] = ids.cell_ids or [""]
            writer.writerows((field_id, ids.pixel_size_um, cell_id) for cell_id in cell_ids)


def read_ids(path: Path) -> dict[str, FieldIds]:
    """Pixel size and cell ids of each field.

    Raises
    ------
    ValueError
        If the file is not one that `write_ids` wrote.
    """
    fields: dict[str, FieldIds] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        if tuple(next(rows, ())) != _HEADER:
            raise ValueError(
                f"{path} does not begin with {','.join(_HEADER)}: delete it, and cells are numbered from 1."
            )
        for row in rows:
            try:
                field_id, pixel_size_um, cell_id = row
                ids = fields.setdefault(field_id, FieldIds(float(pixel_size_um)))
                ids.cell_ids.extend([int(cell_id)] if cell_id else [])
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {rows.line_num}: {error}. Delete the file, and cells are numbered from 1."
                ) from error
    return fields
