"""What the page's program reads: cells and pictures as JSON that no text in it can leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from hpa_cells.report.colors import color_on_dark, hex_color, short_name
from hpa_cells.report.drawing import FieldPicture
from hpa_cells.report.truth import KnownTruth
from hpa_cells.table import CellTable, Column

__all__ = ["as_script_data", "picture_payload", "run_payload"]

# Beside its colour, each class has a way to break its line, so that nobody needs the colour.
_DASHES = ("", "7 3", "2 3", "10 3 2 3", "5 2 1 2 1 2")


def as_script_data(value: Any) -> Markup:
    r"""JSON for a ``<script type="application/json">``.

    ``<``, ``>`` and ``&`` are written as escapes, so that no string ends the script or begins a comment or an entity.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON does not know.

    Examples
    --------
    >>> print(as_script_data({"id": "</script>"}))
    {"id":"\u003c/script\u003e"}
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def run_payload(
    table: CellTable, field_ids: Sequence[str], known: KnownTruth | None, *, threshold: float
) -> dict[str, Any]:
    """Classes, and of each field on the page its cells as columns of one entry a cell.

    Probabilities are in thousandths, places in half pixels of the field; None is what the table does not know.
    """
    rows_of_field = table.cells.groupby(Column.FIELD_ID).indices
    position_of = {field_id: row for row, field_id in enumerate(table.fields[Column.FIELD_ID])}
    of_cells, of_fields = table.probabilities(), table.field_probabilities()
    return {
        "threshold": threshold,
        "classes": [
            {
                "name": short_name(location.key),
                "color": hex_color(color_on_dark(location.color)),
                "dash": _DASHES[index % len(_DASHES)],
            }
            for index, location in enumerate(table.class_set.locations)
        ],
        "fields": [
            _field(table.fields.iloc[position], of_fields[position], known)
            | {"cells": _cells(table.cells.iloc[rows], of_cells[rows]) | {"true": _true_classes(rows, known)}}
            for position, rows in (
                (position_of[field_id], np.asarray(rows_of_field.get(field_id, []), dtype=np.intp))
                for field_id in field_ids
            )
        ],
    }


def picture_payload(picture: FieldPicture) -> dict[str, Any]:
    """The channels of a field, and the outlines of its cells."""
    return {
        "width": picture.width,
        "height": picture.height,
        "channels": picture.channels,
        "outlines": picture.outlines,
    }


def _field(
    row: pd.Series, probabilities: NDArray[np.floating[Any]], known: KnownTruth | None
) -> dict[str, Any]:
    field_id = str(row[Column.FIELD_ID])
    return {
        "id": field_id,
        "height": int(row[Column.HEIGHT_PX]),
        "width": int(row[Column.WIDTH_PX]),
        "um": _known(row[Column.PIXEL_SIZE_UM]),
        "p": _thousandths(probabilities),
        "true": None if known is None else known.classes_of_field.get(field_id),
    }


def _cells(cells: pd.DataFrame, probabilities: NDArray[np.floating[Any]]) -> dict[str, list[Any]]:
    return {
        "id": cells[Column.CELL_ID].tolist(),
        "p": [_thousandths(each) for each in probabilities],
        "area": [_known(value, 1) for value in cells[Column.AREA_UM2]],
        "nucleus": [_known(value, 1) for value in cells[Column.NUCLEUS_AREA_UM2]],
        "px": cells[Column.AREA_PX].tolist(),
        "border": [int(value) for value in cells[Column.TOUCHES_BORDER]],
        "x": [round(2 * float(value) + 1) for value in cells[Column.CENTROID_X_PX]],
        "y": [round(2 * float(value) + 1) for value in cells[Column.CENTROID_Y_PX]],
        "box": (2 * cells[[Column.BBOX_X_PX, Column.BBOX_Y_PX, Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX]])
        .to_numpy()
        .tolist(),
    }


def _true_classes(rows: NDArray[np.intp], known: KnownTruth | None) -> list[list[int] | None] | None:
    """For each cell its true classes, None where there is no such cell; None where cells are not known."""
    if known is None or known.classes_of_row is None:
        return None
    of_rows = [known.classes_of_row.get(int(row)) for row in rows]
    return [None if each is None else sorted(each) for each in of_rows]


def _known(value: float, digits: int | None = None) -> float | None:
    """The number, rounded where `digits` are given; None for NaN, which JSON does not know."""
    if np.isnan(value):
        return None
    return float(value) if digits is None else round(float(value), digits)


def _thousandths(probabilities: NDArray[np.floating[Any]]) -> list[int | None]:
    return [None if np.isnan(value) else round(1000 * float(value)) for value in probabilities]
