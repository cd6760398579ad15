"""How much each field counts in training, from a table that a person, or a review of the labels, wrote.

A doubtful field is drawn less often. Its loss is left as it is: on the mean over many steps both come to the same,
but a field that is not drawn costs no time, and every loss, pooling and view works with it unchanged. Only training
obeys: validation keeps all fields, or a review would flatter the figures by which it is judged.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields.rows import Rows, read_rows
from hpa_cells.spreadsheet import plain_text
from hpa_cells.training.data import LabelledCells

__all__ = ["file_hash", "leave_out", "read_field_weights"]

log = logging.getLogger(__name__)

_ID, _WEIGHT = "field_id", "weight"
_NUM_SHOWN = 5


def read_field_weights(path: Path | str, field_ids: Sequence[str]) -> NDArray[np.float64]:
    """The weight of each field: 1 for those that the file does not name.

    Parameters
    ----------
    path
        A CSV in UTF-8 with the columns ``field_id`` and ``weight``, from 0 (left out) to 1 (as without the file);
        further columns are for the reader.
    field_ids
        All F fields.

    Returns
    -------
    (F,) float64 in [0, 1].

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a weight is no number from 0 to 1, or an id is there twice or is none of the fields.
    """
    rows = read_rows(Path(path))
    missing = [name for name in (_ID, _WEIGHT) if name not in rows.header]
    if missing:
        raise ValueError(
            f"{path}, line 1: columns are {', '.join(rows.header) or 'none'}, expected {_ID} and {_WEIGHT}."
        )
    row_of_id = {field_id: row for row, field_id in enumerate(field_ids)}
    named = [plain_text(field_id) for field_id in rows.unique(_ID)]
    unknown = sorted(set(named) - row_of_id.keys())
    if unknown:
        more = " ..." if len(unknown) > _NUM_SHOWN else ""
        raise ValueError(
            f"{path} weighs {len(unknown)} fields that are not among the {len(row_of_id)} labelled ones "
            f"({', '.join(unknown[:_NUM_SHOWN])}{more}): remove their lines, or give the table of these fields."
        )
    weights = np.ones(len(row_of_id))
    weights[[row_of_id[field_id] for field_id in named]] = _weights(rows)
    return weights


def leave_out(training: LabelledCells) -> LabelledCells:
    """The fields to learn from that weigh something.

    Raises
    ------
    ValueError
        If there is none.
    """
    if training.weights is None:
        return training
    kept = np.flatnonzero(training.weights > 0)
    if not len(kept):
        raise ValueError(
            f"data.review gives all {len(training.weights)} training fields the weight 0: leave some to learn from."
        )
    log.info(
        "Of %d training fields %d are left out and %d are drawn less often, as data.review says.",
        len(training.weights),
        len(training.weights) - len(kept),
        int((training.weights[kept] < 1).sum()),
    )
    return training.take(kept)


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's content: a file edited under the same name is another setting.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _weights(rows: Rows) -> list[float]:
    """The weights in the order of the rows."""
    weights = []
    for line, text in zip(rows.lines, rows.column(_WEIGHT), strict=True):
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not 0 <= weight <= 1:
            raise ValueError(
                f"{rows.path}, line {line}: {_WEIGHT} is {text!r}, expected a number from 0 to 1."
            )
        weights.append(weight)
    return weights
