"""The submission of the 2021 challenge: a row a field, with ``class confidence mask`` of each cell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import get_class_set
from hpa_cells.export.cell_ids import FieldIds, ids_path, write_ids
from hpa_cells.export.expected import HEADER_2021, ExpectedFields
from hpa_cells.export.id_checks import IdChecks
from hpa_cells.export.kaggle2021_rows import parsed_rows
from hpa_cells.export.problem import Problem
from hpa_cells.masks import to_challenge_string
from hpa_cells.table import CellTable, Column

__all__ = ["validate_kaggle2021", "write_kaggle2021"]


def write_kaggle2021(
    table: CellTable,
    path: Path,
    *,
    min_confidence: float = 0.0,
    max_classes: int | None = None,
    cell_ids: bool = True,
) -> None:
    """Write the submission, a field at a time; a field without cells has an empty prediction.

    A confidence is written as the shortest text that reads back as the same 32-bit number.

    Parameters
    ----------
    table
        Cells with probabilities of the 19 classes of ``hpa2021``; NaN, which is no detection, gives no
        triple.
    path
        The file; it appears whole or not at all.
    min_confidence
        Least confidence of a triple. A cell of which no triple is left is not in the file.
    max_classes
        Most triples a cell, those of highest confidence; of equals, the lower class. None: all.
    cell_ids
        Whether to write ``<name>.cells.csv`` too, from which `read_kaggle2021` takes back ids and pixel
        sizes.

    Raises
    ------
    ValueError
        If the classes are not those of ``hpa2021``, no cell has a probability, or fields have and there is no cell.
    """
    _check_classes(table)
    rows_of_field = table.cells.groupby(Column.FIELD_ID, sort=False).indices
    confidences = table.probabilities()
    ids, rles = (table.cells[column].to_numpy() for column in (Column.CELL_ID, Column.CELL_RLE))
    columns = (Column.FIELD_ID, Column.WIDTH_PX, Column.HEIGHT_PX, Column.PIXEL_SIZE_UM)
    written: dict[str, FieldIds] = {}
    with replaced_on_success(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER_2021)
        for field_id, width_px, height_px, pixel_size_um in table.fields[[*columns]].itertuples(index=False):
            rows = rows_of_field.get(field_id, np.empty(0, dtype=np.intp))
            triples = [_triples(confidences[row], rles[row], min_confidence, max_classes) for row in rows]
            writer.writerow((field_id, width_px, height_px, " ".join(filter(None, triples))))
            kept = [int(ids[row]) for row, text in zip(rows, triples, strict=True) if text]
            written[field_id] = FieldIds(pixel_size_um, kept)
    if cell_ids:
        write_ids(ids_path(path), written)


def validate_kaggle2021(
    path: Path, expected: ExpectedFields | None = None, *, max_problems: int = 1000
) -> list[Problem]:
    """What is wrong with a submission, line by line, then the fields it lacks; empty if nothing is.

    The file is read line by line. Found are: a wrong header or encoding, a missing, duplicate or unknown id,
    a wrong size, tokens that do not make triples, a class out of range, a confidence that is not finite, and
    a mask that cannot be decoded, is empty or does not fill the field.

    Parameters
    ----------
    path
        The submission.
    expected
        Ids and sizes it must have, as `expected_fields` reads them; None: any.
    max_problems
        The search ends when so many are found.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    problems: list[Problem] = []
    checks = IdChecks(expected)
    for row in parsed_rows(path, get_class_set("hpa2021"), problems):
        problems.extend(checks.problems_of(row.line, row.field_id, row.size))
        if len(problems) >= max_problems:
            break
    else:
        problems.extend(checks.missing())
    return problems[:max_problems]


def _check_classes(table: CellTable) -> None:
    class_set = get_class_set("hpa2021")
    if table.class_set.name != class_set.name:
        raise ValueError(
            f"The table has the {len(table.class_set)} classes of {table.class_set.name}, a submission of "
            f"2021 needs the {len(class_set)} of {class_set.name}: predict with a model of {class_set.name}."
        )
    if len(table.cells) and np.isnan(table.probabilities()).all():
        raise ValueError(f"None of the {len(table.cells)} cells has a probability: predict with a model.")
    if not len(table.cells) and np.isfinite(table.field_probabilities()).any():
        raise ValueError(
            f"The table has {len(table.fields)} fields with probabilities and no cell, as of a model that sees squares "
            "of fields; a submission of 2021 is about cells: predict with a model that sees cells."
        )


def _triples(
    confidences: NDArray[np.float32], rle: str, min_confidence: float, max_classes: int | None
) -> str:
    """The triples of one cell, by class; empty if no confidence is high enough. `confidences` is (K,)."""
    highest = np.argsort(-confidences, kind="stable")[:max_classes]
    classes = np.sort(highest[confidences[highest] >= min_confidence])  # never NaN
    mask = to_challenge_string(rle.encode("ascii")) if classes.size else ""
    # numpy writes a float32 with as few digits as tell it from its neighbours.
    texts = confidences[classes].astype(str).tolist()
    return " ".join(f"{index} {text} {mask}" for index, text in zip(classes.tolist(), texts, strict=True))
