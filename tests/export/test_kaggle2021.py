"""The submission of 2021: writing, and reading back."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from hpa_cells.export import expected_fields, read_kaggle2021, validate_kaggle2021, write_kaggle2021
from hpa_cells.masks import decode_counts, from_challenge_string
from hpa_cells.table import CELL_COLUMNS, FIELD_COLUMNS, CellTable, Column


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    before = csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["ID"]: row for row in csv.DictReader(file)}
    finally:
        csv.field_size_limit(before)


def assert_same_cells(found: CellTable, expected: CellTable) -> None:
    columns = [*CELL_COLUMNS, *Column.probabilities(expected.class_set)]
    pd.testing.assert_frame_equal(found.cells[columns], expected.cells[columns])
    pd.testing.assert_frame_equal(found.fields[[*FIELD_COLUMNS]], expected.fields[[*FIELD_COLUMNS]])


def test_layout_of_the_file(small_table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_kaggle2021(small_table, path)
    assert path.read_text(encoding="utf-8").startswith("ID,ImageWidth,ImageHeight,PredictionString\n")
    rows = rows_of(path)
    assert [(row["ImageWidth"], row["ImageHeight"]) for row in rows.values()] == [
        ("20", "12"),
        ("8", "8"),
        ("7", "9"),
    ]
    assert rows["c"]["PredictionString"] == ""
    tokens = rows["a"]["PredictionString"].split(" ")
    assert len(tokens) == 3 * 3 * 19
    assert tokens[0:57:3] == [str(index) for index in range(19)]
    assert len(set(tokens[2:57:3])) == 1
    mask = decode_counts(from_challenge_string(tokens[2]), 12, 20)
    assert mask.sum() == 28
    assert mask[1:5, 2:9].all()


def test_confidence_reads_back_as_the_same_32_bit_number_and_is_short(
    small_table: CellTable, tmp_path: Path
) -> None:
    path = tmp_path / "submission.csv"
    cells = small_table.cells.copy()
    columns = Column.probabilities(small_table.class_set)
    values = np.float32([0, 1, 0.1, 1 / 3, 1e-7, 1e-38, 0.5, np.nextafter(np.float32(0.5), np.float32(1))])
    cells.loc[0, columns[: len(values)]] = values
    write_kaggle2021(replace(small_table, cells=cells), path)
    tokens = rows_of(path)["a"]["PredictionString"].split(" ")[1 : 3 * len(values) : 3]
    assert tokens[:3] == ["0.0", "1.0", "0.1"]
    np.testing.assert_array_equal(np.float32([float(token) for token in tokens]), values)


def test_least_confidence_and_most_classes(small_table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_kaggle2021(small_table, path, min_confidence=0.6, max_classes=2)
    read = read_kaggle2021(path)
    before = small_table.probabilities()
    after = read.probabilities()
    for row in range(len(before)):
        best = np.argsort(-before[row])[:2]
        kept = [index for index in best if before[row, index] >= 0.6]
        assert sorted(np.flatnonzero(~np.isnan(after[row]))) == sorted(kept)
        np.testing.assert_array_equal(after[row, kept], before[row, kept])


def test_a_cell_without_any_triple_is_not_in_the_file_and_ids_still_come_back(
    small_table: CellTable, tmp_path: Path
) -> None:
    cells = small_table.cells.copy()
    cells.loc[cells[Column.CELL_ID] == 7, Column.probabilities(small_table.class_set)] = np.float32(0.01)
    table = replace(small_table, cells=cells)
    write_kaggle2021(table, tmp_path / "s.csv", min_confidence=0.02)
    read = read_kaggle2021(tmp_path / "s.csv")
    assert read.cells[Column.CELL_ID].tolist() == [3, 300, 1]


def test_written_file_read_back_gives_the_same_table(small_table: CellTable, tmp_path: Path) -> None:
    write_kaggle2021(small_table, tmp_path / "s.csv")
    assert_same_cells(read_kaggle2021(tmp_path / "s.csv"), small_table)


def test_types_are_those_of_a_table_that_was_read(small_table: CellTable, tmp_path: Path) -> None:
    write_kaggle2021(small_table, tmp_path / "s.csv")
    read = read_kaggle2021(tmp_path / "s.csv")
    for frame, original, columns in (
        (read.cells, small_table.cells, CELL_COLUMNS),
        (read.fields, small_table.fields, FIELD_COLUMNS),
    ):
        assert frame[[*columns]].dtypes.to_dict() == original[[*columns]].dtypes.to_dict()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
        st_numpy.arrays(
            np.int32,
            st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=9),
            elements=st.sampled_from([0, 0, 1, 2, 5, 255, 256, 70_000]),
        ),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 5),
)
def test_export_then_import_keeps_cells_masks_probabilities_and_ids(
    make_table, tmp_path, images, seed
) -> None:
    table = make_table(images, seed=seed)
    path = tmp_path / "submission.csv"
    write_kaggle2021(table, path)
    assert validate_kaggle2021(path, expected_fields(table)) == []
    assert_same_cells(read_kaggle2021(path), table)


def test_more_than_255_cells(make_table, tmp_path: Path) -> None:
    table = make_table({"grid": np.arange(1, 401, dtype=np.int32).reshape(20, 20)})
    write_kaggle2021(table, tmp_path / "s.csv")
    assert_same_cells(read_kaggle2021(tmp_path / "s.csv"), table)


def test_without_the_file_of_ids_cells_are_numbered_as_they_appear(
    small_table: CellTable, tmp_path: Path
) -> None:
    write_kaggle2021(small_table, tmp_path / "s.csv", cell_ids=False)
    assert not (tmp_path / "s.cells.csv").exists()
    read = read_kaggle2021(tmp_path / "s.csv", pixel_size_um=0.5)
    assert read.cells[Column.CELL_ID].tolist() == [1, 2, 3, 1]
    assert read.cells[Column.CELL_RLE].tolist() == small_table.cells[Column.CELL_RLE].tolist()
    assert read.cells[Column.AREA_UM2].tolist() == [7.0, 7.0, 10.5, 16.0]
    unknown = read_kaggle2021(tmp_path / "s.csv")
    assert unknown.cells[Column.AREA_UM2].isna().all()


def test_cells_of_equal_masks_stay_apart(small_table: CellTable, tmp_path: Path) -> None:
    cells = small_table.cells.copy()
    cells.loc[1, Column.CELL_RLE] = cells.loc[0, Column.CELL_RLE]
    table = replace(small_table, cells=cells)
    write_kaggle2021(table, tmp_path / "s.csv")
    read = read_kaggle2021(tmp_path / "s.csv")
    assert read.cells[Column.CELL_ID].tolist() == [3, 7, 300, 1]
    np.testing.assert_array_equal(read.probabilities(), table.probabilities())


def test_file_of_ids_of_another_submission(small_table: CellTable, tmp_path: Path) -> None:
    write_kaggle2021(small_table, tmp_path / "s.csv")
    lines = (tmp_path / "s.cells.csv").read_text().splitlines()
    (tmp_path / "s.cells.csv").write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    with pytest.raises(ValueError, match=r"has 2 cells of field a, .* has 3: delete"):
        read_kaggle2021(tmp_path / "s.csv")
    (tmp_path / "s.cells.csv").write_text("field_id,pixel_size_um,cell_id\na,0.1,x\n")
    with pytest.raises(ValueError, match=r"s\.cells\.csv, line 2: .*'x'"):
        read_kaggle2021(tmp_path / "s.csv")
    (tmp_path / "s.cells.csv").write_text("id\n1\n")
    with pytest.raises(ValueError, match="does not begin with field_id"):
        read_kaggle2021(tmp_path / "s.csv")


def test_other_classes_are_refused(make_table, tmp_path: Path) -> None:
    table = make_table({"a": np.ones((4, 4), np.int32)}, class_set="hpa2018")
    with pytest.raises(ValueError, match=r"28 classes of hpa2018, .* 19 of hpa2021"):
        write_kaggle2021(table, tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_probabilities_is_refused(small_table: CellTable, tmp_path: Path) -> None:
    cells = small_table.cells.copy()
    cells[Column.probabilities(small_table.class_set)] = np.float32(np.nan)
    table = replace(small_table, cells=cells)
    with pytest.raises(ValueError, match="None of the 4 cells has a probability"):
        write_kaggle2021(table, tmp_path / "s.csv")


def test_reading_names_the_first_problem(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("ID,ImageWidth,ImageHeight,PredictionString\na,4,4,0 0.5\n")
    with pytest.raises(ValueError, match=r"s\.csv cannot be read: line 2, field a, `0\.5`: 2 tokens"):
        read_kaggle2021(path)
    path.write_text("ID,ImageWidth,ImageHeight,PredictionString\na,4,4,\na,4,4,\n")
    with pytest.raises(ValueError, match="line 3, field a"):
        read_kaggle2021(path)
    with pytest.raises(FileNotFoundError):
        read_kaggle2021(tmp_path / "absent.csv")


def test_a_file_without_fields(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("ID,ImageWidth,ImageHeight,PredictionString\n")
    read = read_kaggle2021(path)
    assert len(read.cells) == len(read.fields) == 0
    assert read.cells.columns.tolist() == [*CELL_COLUMNS, *Column.probabilities(read.class_set)]


def test_real_masks(real_data: Path, make_table, tmp_path: Path) -> None:
    import cv2

    masks = sorted((real_data / "hpa2021" / "masks").glob("*_cells.png"))
    images = {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32) for path in masks}
    table = make_table(images)
    write_kaggle2021(table, tmp_path / "s.csv")
    assert validate_kaggle2021(tmp_path / "s.csv", expected_fields(table)) == []
    assert_same_cells(read_kaggle2021(tmp_path / "s.csv"), table)
