"""The submission of 2018: writing, reading, checking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpa_cells.export import (
    expected_fields,
    read_kaggle2018,
    validate_kaggle2018,
    write_kaggle2018,
)
from hpa_cells.table import CellTable, Column

ONE_CELL = np.ones((4, 5), np.int32)


@pytest.fixture
def table(make_table) -> CellTable:
    """Fields a, b with cells and c without, with the probabilities of the first three classes set."""
    made = make_table({"a": ONE_CELL, "b": ONE_CELL, "c": np.zeros((4, 5), np.int32)}, class_set="hpa2018")
    fields = made.fields.copy()
    columns = Column.probabilities(made.class_set)
    fields.loc[[0, 1], columns] = 0.0
    fields.loc[0, columns[:3]] = [0.5, 0.2, 0.9]
    fields.loc[1, columns[:3]] = [0.1, 0.4, 0.4]
    return replace(made, fields=fields)


def test_labels_from_the_threshold_up_and_at_least_one(table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_kaggle2018(table, path)
    assert path.read_text() == "Id,Predicted\na,0 2\nb,1\nc,\n"
    write_kaggle2018(table, path, at_least_one=False)
    assert path.read_text() == "Id,Predicted\na,0 2\nb,\nc,\n"


def test_a_threshold_a_class(table: CellTable, tmp_path: Path) -> None:
    thresholds = np.full(28, 0.95, np.float32)
    thresholds[1] = 0.15
    write_kaggle2018(table, tmp_path / "s.csv", thresholds=thresholds)
    assert (tmp_path / "s.csv").read_text() == "Id,Predicted\na,1\nb,1\nc,\n"
    with pytest.raises(ValueError, match="give a number for every class"):
        write_kaggle2018(table, tmp_path / "s.csv", thresholds=np.full(28, np.nan, np.float32))


def test_a_field_with_cells_needs_probabilities(table: CellTable, tmp_path: Path) -> None:
    fields = table.fields.copy()
    fields.loc[1, Column.probabilities(table.class_set)] = np.nan
    with pytest.raises(
        ValueError, match="1 fields with cells have no probabilities as a whole, the first is b"
    ):
        write_kaggle2018(replace(table, fields=fields), tmp_path / "s.csv")


def test_other_classes_are_refused(small_table: CellTable, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"19 classes of hpa2021, .* 28 of hpa2018"):
        write_kaggle2018(small_table, tmp_path / "s.csv")


def test_written_file_read_back_gives_the_same_labels(table: CellTable, tmp_path: Path) -> None:
    write_kaggle2018(table, tmp_path / "s.csv")
    assert validate_kaggle2018(tmp_path / "s.csv", expected_fields(table)) == []
    read = read_kaggle2018(tmp_path / "s.csv")
    assert read.field_ids == ("a", "b", "c")
    assert read.class_set.name == "hpa2018"
    assert [np.flatnonzero(row).tolist() for row in read.labels] == [[0, 2], [1], []]


@pytest.mark.parametrize(
    ("row", "token", "message"),
    [
        ("a,28", "28", "Class is not in hpa2018"),
        ("a,-1", "-1", "Class is not in hpa2018"),
        ("a,1|2", "1|2", "Class is not in hpa2018"),
        ("a,3 3", "3", "Class is there twice"),
        ("a", "", "The row has 1 columns"),
        (",3", "", "The row has no id"),
        ("z,3", "z", "Id is not one of the expected fields"),
    ],
)
def test_problems(tmp_path: Path, row: str, token: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(f"Id,Predicted\n{row}\n")
    problem = validate_kaggle2018(path, {"a": None})[0]
    assert (problem.line, problem.token) == (2, token)
    assert problem.message.startswith(message)


def test_missing_and_duplicate_ids(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Id,Predicted\na,1\na,2\n")
    found = validate_kaggle2018(path, {"a": None, "b": None})
    assert [(each.line, each.field_id) for each in found] == [(3, "a"), (None, "b")]
    with pytest.raises(ValueError, match=r"cannot be read: line 3, field a"):
        read_kaggle2018(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=40), st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_mangled_files_never_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(b"Id,Predicted\n" + content)
    if not validate_kaggle2018(path):
        read_kaggle2018(path)
