"""The cell table as one Parquet file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpa_cells.export import write_parquet
from hpa_cells.provenance import read_provenance
from hpa_cells.table import CELL_COLUMNS, CellTable, Column


@pytest.mark.parametrize("class_set", ["hpa2021", "hpa2018"])
def test_pandas_reads_every_value_in_its_type(make_table, tmp_path: Path, class_set: str) -> None:
    labels = np.zeros((3, 5), np.int32)
    labels[:2, :2], labels[2, 4] = 7, 300
    table = make_table({"a, b": labels, "NA": np.ones((2, 9), np.int32)}, class_set=class_set, embeddings=4)
    path = tmp_path / "cells.parquet"
    write_parquet(table, path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), table.cells)
    written = {field.name: field.type for field in pq.read_schema(path)}
    assert {name: kind for name, kind in written.items() if name in CELL_COLUMNS} == CELL_COLUMNS
    assert {written[name] for name in Column.probabilities(table.class_set)} == {pa.float32()}
    assert read_provenance(path) == table.provenance


def test_columns_say_what_they_are(make_table, tmp_path: Path) -> None:
    write_parquet(make_table({"a": np.ones((3, 3), np.int32)}, embeddings=2), tmp_path / "cells.parquet")
    schema = pq.read_schema(tmp_path / "cells.parquet")
    descriptions = [field.metadata[b"description"].decode() for field in schema]
    assert len(set(descriptions)) > len(schema) - 2  # The two areas in square um are told alike.
    assert (
        schema.field("p_golgi_apparatus")
        .metadata[b"description"]
        .startswith(b"probability of Golgi apparatus")
    )


def test_masks_and_embeddings_are_left_out_on_request(make_table, tmp_path: Path) -> None:
    table = make_table({"a": np.ones((3, 3), np.int32)}, embeddings=4)
    write_parquet(table, tmp_path / "cells.parquet", masks=False, embeddings=False)
    left = table.cells.drop(columns=[Column.CELL_RLE, Column.NUCLEUS_RLE, Column.EMBEDDING])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "cells.parquet"), left)


def test_no_cells_and_cells_without_nucleus(make_table, tmp_path: Path) -> None:
    table = make_table({"a": np.zeros((3, 3), np.int32)})
    write_parquet(table, tmp_path / "none.parquet")
    read = pd.read_parquet(tmp_path / "none.parquet")
    assert (len(read), [*read.columns]) == (0, [*table.cells.columns])
    table = make_table({"a": np.ones((3, 3), np.int32)})
    cells = table.cells.assign(**{Column.NUCLEUS_RLE: None})
    write_parquet(replace(table, cells=cells), tmp_path / "bare.parquet")
    assert pq.read_table(tmp_path / "bare.parquet")[Column.NUCLEUS_RLE].null_count == 1


def test_a_file_that_cannot_be_written_leaves_the_old_one(small_table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    write_parquet(small_table, path)
    before = path.read_bytes()
    cells = small_table.cells.assign(**{Column.AREA_PX: "wide"})
    with pytest.raises(pa.ArrowException):
        write_parquet(replace(small_table, cells=cells), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_code_of_the_page_runs(make_table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "table.md").read_text(encoding="utf-8")
    labels = np.zeros((4, 6), np.int32)
    labels[1:3, 2:], labels[3] = 5, 9
    table = make_table({"a": labels}, embeddings=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpa_cells.read_table", lambda _: table)
    write_parquet(table, Path("cells.parquet"))
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(code, names)
    assert np.array_equal(names["mask"], labels == 5)
    assert np.array_equal(names["labels"], labels)
    pd.testing.assert_frame_equal(names["cells"], table.cells)
