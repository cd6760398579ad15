"""The submission of the 2018 challenge: one row a field, its classes split by a space."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.export.expected import HEADER_2018, ExpectedFields
from hpa_cells.export.id_checks import IdChecks
from hpa_cells.export.problem import Problem, shortened
from hpa_cells.export.rows import Row, read_rows
from hpa_cells.fields import LabelTable
from hpa_cells.table import CellTable, Column

__all__ = ["read_kaggle2018", "validate_kaggle2018", "write_kaggle2018"]

_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")


def write_kaggle2018(
    table: CellTable,
    path: Path,
    *,
    thresholds: NDArray[np.floating[Any]] | float = 0.5,
    at_least_one: bool = True,
) -> None:
    """Write the submission from the probabilities of the fields.

    Parameters
    ----------
    table
        Fields with probabilities of the 28 classes of ``hpa2018``. A field without cells and without
        probabilities gets no class.
    path
        The file; it appears whole or not at all.
    thresholds
        Least probability of a label: one for all, or (28,), one a class.
    at_least_one
        Whether a field where no class reaches its threshold gets the one of highest probability; of equals,
        the lowest.

    Raises
    ------
    ValueError
        If the classes are not those of ``hpa2018``, a field with cells has no probabilities, or a threshold
        is no number.
    """
    class_set = get_class_set("hpa2018")
    if table.class_set.name != class_set.name:
        raise ValueError(
            f"The table has the {len(table.class_set)} classes of {table.class_set.name}, a submission of "
            f"2018 needs the {len(class_set)} of {class_set.name}: predict with a model of {class_set.name}."
        )
    if not np.isfinite(thresholds).all():
        raise ValueError(f"Thresholds are {thresholds}: give a number for every class.")
    labels = _labels(table, thresholds, at_least_one)
    with replaced_on_success(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER_2018)
        for field_id, present in zip(table.fields[Column.FIELD_ID], labels, strict=True):
            writer.writerow((field_id, " ".join(map(str, np.flatnonzero(present)))))


def read_kaggle2018(path: Path) -> LabelTable:
    """Ids and labels of a submission.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If anything is wrong with the file; the message names the first problem. See `validate_kaggle2018`.
    """
    class_set = get_class_set("hpa2018")
    problems: list[Problem] = []
    checks = IdChecks(None)
    field_ids, rows = [], []
    for row, classes in _parsed_rows(path, class_set, problems):
        problems.extend(checks.problems_of(row.line, row.values[0], None))
        if problems:
            break
        field_ids.append(row.values[0])
        rows.append(np.isin(np.arange(len(class_set)), classes))
    if problems:
        raise ValueError(f"{path} cannot be read: {problems[0]}")
    labels = np.array(rows, dtype=np.bool_).reshape(len(rows), len(class_set))
    return LabelTable(class_set=class_set, field_ids=tuple(field_ids), labels=labels)


def validate_kaggle2018(
    path: Path, expected: ExpectedFields | None = None, *, max_problems: int = 1000
) -> list[Problem]:
    """What is wrong with a submission, line by line, then the fields it lacks; empty if nothing is.

    Found are: a wrong header or encoding, a missing, duplicate or unknown id, and a class that is no number,
    out of range or twice in a row. A field may have no class.

    Parameters
    ----------
    path
        The submission.
    expected
        Ids it must have, as `expected_fields` reads them; None: any.
    max_problems
        The search ends when so many are found.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    problems: list[Problem] = []
    checks = IdChecks(expected)
    for row, _ in _parsed_rows(path, get_class_set("hpa2018"), problems):
        problems.extend(checks.problems_of(row.line, row.values[0], None))
        if len(problems) >= max_problems:
            break
    else:
        problems.extend(checks.missing())
    return problems[:max_problems]


def _labels(
    table: CellTable, thresholds: NDArray[np.floating[Any]] | float, at_least_one: bool
) -> NDArray[np.bool_]:
    """(F, K) bool, the classes of each field."""
    probabilities = table.field_probabilities()
    unknown = ~np.isfinite(probabilities).all(axis=1)
    without = table.fields[unknown & (table.fields[Column.NUM_CELLS] > 0).to_numpy()]
    if len(without):
        raise ValueError(
            f"{len(without)} fields with cells have no probabilities as a whole, the first is "
            f"{without[Column.FIELD_ID].iloc[0]}: predict with a model that scores fields."
        )
    labels: NDArray[np.bool_] = probabilities >= thresholds
    if at_least_one:
        bare = np.flatnonzero(~labels.any(axis=1) & ~unknown)
        labels[bare, probabilities[bare].argmax(axis=1)] = True
    return labels


def _parsed_rows(path: Path, class_set: ClassSet, problems: list[Problem]) -> Iterator[tuple[Row, list[int]]]:
    """Yield every row that has an id, with its classes; what is wrong in it is added to `problems` before."""
    for row in read_rows(path, HEADER_2018, problems):
        field_id = shortened(row.values[0])
        if not field_id:
            problems.append(Problem(row.line, "", "", "The row has no id."))
            continue
        classes: list[int] = []
        for token in row.values[1].split():
            if not _WHOLE_NUMBER.fullmatch(token) or int(token) >= len(class_set):
                message = f"Class is not in {class_set.name}: expected 0 to {len(class_set) - 1}."
            elif int(token) in classes:
                message = "Class is there twice: keep it once."
            else:
                classes.append(int(token))
                continue
            problems.append(Problem(row.line, field_id, shortened(token), message))
        yield row, classes
