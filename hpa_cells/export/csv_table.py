"""The cell table as one CSV file, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from hpa_cells.atomic import replaced_on_success
from hpa_cells.spreadsheet import guarded_text, plain_text
from hpa_cells.table import CELL_COLUMNS, CellTable, Column

__all__ = ["read_csv", "write_csv"]

# Ids may be formulas, and masks.
_TEXT_COLUMNS: list[str] = [Column.FIELD_ID, Column.CELL_RLE, Column.NUCLEUS_RLE]


def write_csv(table: CellTable, path: Path, *, masks: bool = True) -> None:
    """Write one row a cell: the columns of the table without the embedding.

    A text that a spreadsheet would run as a formula gets a ``'`` in front, which spreadsheets do not show; so
    does one that begins with ``'`` itself. `read_csv` takes it away again. Numbers read back as they were.

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
        rows[column] = rows[column].map(guarded_text, na_action="ignore").astype(rows[column].dtype)
    with replaced_on_success(path) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """The rows that `write_csv` wrote, with the types of the cell table.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no CSV in UTF-8, or its values are not those of a cell table.
    """
    try:
        return _parsed(path)
    except (pa.ArrowException, csv.Error, UnicodeDecodeError, KeyError) as error:
        raise ValueError(
            f"{path} is no table of cells ({error}): write it again with `hpa-cells export`."
        ) from error


def _parsed(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file), [])
    # pandas would take a field called `NA` for a missing one, and round the last digit of some numbers.
    parsed = pa_csv.read_csv(
        path.absolute(),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: CELL_COLUMNS.get(name, pa.float32()) for name in names},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    rows: pd.DataFrame = parsed.to_pandas()
    for column in rows.columns.intersection(_TEXT_COLUMNS):
        rows[column] = rows[column].map(plain_text, na_action="ignore").astype(rows[column].dtype)
    return rows
