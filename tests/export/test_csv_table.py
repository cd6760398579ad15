"""The cell table as CSV."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.export import read_csv, write_csv
from hpa_cells.table import CELL_COLUMNS, CellTable, Column


def test_reads_back_with_values_and_types(small_table: CellTable, tmp_path: Path) -> None:
    write_csv(small_table, tmp_path / "cells.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "cells.csv"), small_table.cells)


def test_embeddings_are_left_out_and_masks_on_request(make_table, tmp_path: Path) -> None:
    table = make_table({"a": np.ones((3, 3), np.int32)}, embeddings=4)
    assert Column.EMBEDDING in table.cells
    write_csv(table, tmp_path / "cells.csv", masks=False)
    lost = {Column.CELL_RLE, Column.NUCLEUS_RLE, Column.EMBEDDING}
    assert read_csv(tmp_path / "cells.csv").columns.tolist() == [
        column for column in table.cells.columns if column not in lost
    ]


@pytest.mark.parametrize("field_id", ["NA", "=1+1", "+a", "-a", "@a", "'a", "'=a", "\ta", 'a"b,c', "a\nb"])
def test_formulas_do_not_run_and_ids_come_back(small_table: CellTable, tmp_path: Path, field_id: str) -> None:
    cells = small_table.cells.assign(**{Column.FIELD_ID: field_id, Column.CELL_RLE: "=0@"})
    write_csv(replace(small_table, cells=cells), tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row[Column.CELL_RLE] == "'=0@"
    assert not row[Column.FIELD_ID].startswith(("=", "+", "-", "@", "\t"))
    read = read_csv(tmp_path / "cells.csv")
    assert read[Column.FIELD_ID].unique().tolist() == [field_id]
    assert read[Column.CELL_RLE].unique().tolist() == ["=0@"]


def test_no_cells(make_table, tmp_path: Path) -> None:
    table = make_table({"a": np.zeros((3, 3), np.int32)})
    write_csv(table, tmp_path / "cells.csv")
    read = read_csv(tmp_path / "cells.csv")
    assert len(read) == 0
    assert read.columns.tolist()[: len(CELL_COLUMNS)] == [*CELL_COLUMNS]
