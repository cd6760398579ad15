"""The fields that a cell table is of, found among others and read as it has them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from hpa_cells.fields.read import read_field
from hpa_cells.fields.source import FieldSource
from hpa_cells.table import CellTable, Column
from hpa_cells.types import Field

__all__ = ["read_field_as", "sources_of_table"]

_NUM_SHOWN = 5


def sources_of_table(
    table: CellTable, sources: Iterable[FieldSource], *, skip_missing: bool = False, way_out: str = ""
) -> dict[str, FieldSource]:
    """The sources of the fields of a table, by id, in its order; others are left aside.

    Parameters
    ----------
    table
        The cell table.
    sources
        Where to look.
    skip_missing
        Whether fields of the table may be missing, as long as one is there.
    way_out
        What else can be done about missing fields; the error ends with it.

    Raises
    ------
    ValueError
        If fields are missing.
    """
    by_id = {source.field_id: source for source in sources}
    field_ids = table.fields[Column.FIELD_ID].tolist()
    missing = [field_id for field_id in field_ids if field_id not in by_id]
    if missing and (not skip_missing or len(missing) == len(field_ids)):
        shown = ", ".join(missing[:_NUM_SHOWN]) + (", ..." if len(missing) > _NUM_SHOWN else "")
        raise ValueError(
            f"{len(missing)} of the table's {len(field_ids)} fields are not among the {len(by_id)} fields given "
            f"({shown}): give the fields the table was made from{way_out}."
        )
    return {field_id: by_id[field_id] for field_id in field_ids if field_id in by_id}


def read_field_as(source: FieldSource, *, shape: tuple[int, int], pixel_size_um: float) -> Field:
    """Read a field that a table has in this size.

    Parameters
    ----------
    source
        The field.
    shape
        Height and width in the table, in px.
    pixel_size_um
        Side of a pixel in the table, which the field gets; NaN: not known there, and the field keeps its own.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If it is no image of a field, or has another size.
    """
    is_known = math.isfinite(pixel_size_um)
    field = read_field(source, pixel_size_um=pixel_size_um if is_known else None)
    if (field.height_px, field.width_px) != shape:
        raise ValueError(
            f"Field {field.field_id} has {field.height_px} x {field.width_px} px (height x width), in the table "
            f"{shape[0]} x {shape[1]}: give the fields the table was made from."
        )
    return replace(field, pixel_size_um=pixel_size_um) if is_known else field
