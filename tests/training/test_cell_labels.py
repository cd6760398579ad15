from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.table import CellTable, Column, Provenance, TableWriter, read_table
from hpa_cells.training.cell_labels import match_cell_labels

CLASS_SET = get_class_set("hpa2021")
KEYS = [("a", 3), ("a", 300), ("a", 70_001), ("bb", 3), ("bb", 300)]


@pytest.fixture
def table(tmp_path: Path) -> CellTable:
    cells = cells_of(*KEYS)
    cells[Column.probabilities(CLASS_SET)] = np.random.default_rng(0).random((5, 19), dtype=np.float32)
    with TableWriter(
        tmp_path, provenance=Provenance(version="0", class_set="hpa2021", source="test")
    ) as writer:
        for field_id, rows in cells.groupby(Column.FIELD_ID):
            shape = {Column.HEIGHT_PX: 1, Column.WIDTH_PX: 1, Column.PIXEL_SIZE_UM: 1.0}
            writer.add(
                cells=rows, field_row={Column.FIELD_ID: field_id, Column.NUM_CELLS: len(rows), **shape}
            )
    return read_table(tmp_path)


def cells_of(*pairs: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=[Column.FIELD_ID, Column.CELL_ID])


def test_labels_are_matched_by_id_not_by_row(table: CellTable) -> None:
    found = match_cell_labels(cells_of(("bb", 300), ("a", 70_001), ("a", 3)), table, CLASS_SET)
    np.testing.assert_array_equal(found, table.probabilities()[[4, 2, 0]])
    assert found.dtype == np.float32


def test_a_cell_without_label_is_named(table: CellTable) -> None:
    with pytest.raises(ValueError, match=r"2 of 3 cells have no label \(field/cell a/1, c/3\).*=cell_table"):
        match_cell_labels(cells_of(("a", 3), ("a", 1), ("c", 3)), table, CLASS_SET)


def test_other_cells_of_the_same_ids_are_refused(table: CellTable) -> None:
    known = replace(table, cells=table.cells.assign(**{Column.AREA_UM2: [100.0, 200.0, 300.0, 400.0, 500.0]}))
    own = cells_of(("a", 300), ("bb", 300))
    same = own.assign(**{Column.AREA_UM2: [200.1, 500.0]})
    np.testing.assert_array_equal(match_cell_labels(same, known, CLASS_SET), table.probabilities()[[1, 4]])
    other = own.assign(**{Column.AREA_UM2: [200.0, 450.0]})
    with pytest.raises(ValueError, match=r"1 of 2 cells have another area .*=cell_table"):
        match_cell_labels(other, known, CLASS_SET)
    # An earlier store did not note them.
    match_cell_labels(own.assign(**{Column.AREA_UM2: np.nan}), known, CLASS_SET)


def test_other_classes(table: CellTable) -> None:
    other: ClassSet = get_class_set("hpa2018")
    with pytest.raises(ValueError, match=r"of class set hpa2021, the data of hpa2018"):
        match_cell_labels(cells_of(("a", 3)), table, other)
