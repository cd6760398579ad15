"""The cell table as one CSV file, safe to open in a spreadsheet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hpa_cells.atomic import replaced_on_success
from hpa_cells.table import CELL_COLUMNS, CellTable, Column

__all__ = ["read_csv", "write_csv"]

# A spreadsheet runs a cell that begins with one of these as a formula. Ids and masks may.
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTE = "'"
_TEXT_COLUMNS: list[str] = [Column.FIELD_ID, Column.CELL_RLE, Column.NUCLEUS_RLE]


def write_csv(table: CellTable, path: Path, *, masks: bool = True) -> None:
    """Write one row a cell: the columns of the table without the embedding.

    A text that a spreadsheet would run as a formula gets a ``'`` in front, which spreadsheets do not show; so does one
    that begins with ``'`` itself. `read_csv` takes it away again. Numbers read back as they were.

    Parameters
    ----------
    table
        The cell table.
    path
        The file; it appears whole or not at all.
    masks
        Whether to write the masks of cells and nuclei, which are most of the file.
    """
    left_out = [Column.EMBEDDING] if masks else [Column.EMBEDDING, Column.CELL_RLE, Column.NUCLEUS_RLE]
    rows = table.cells.drop(columns=left_out, errors="ignore")
    for column in rows.columns.intersection(_TEXT_COLUMNS):
        unsafe = rows[column].str.startswith((*_STARTS_FORMULA, _QUOTE), na=False)
        rows[column] = rows[column].mask(unsafe, _QUOTE + rows[column])
    with replaced_on_success(path) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """The rows that `write_csv` wrote, with the types of the cell table.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    types = {name: kind.to_pandas_dtype() for name, kind in CELL_COLUMNS.items() if name not in _TEXT_COLUMNS}
    rows = pd.read_csv(path, dtype=types | dict.fromkeys(_TEXT_COLUMNS, "str"), float_precision="round_trip")
    for column in rows.columns.intersection(_TEXT_COLUMNS):
        rows[column] = rows[column].str.removeprefix(_QUOTE)
    probabilities = [column for column in rows.columns if column not in CELL_COLUMNS]
    return rows.astype(dict.fromkeys(probabilities, "float32"))
