"""What a submission must have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa_cells.export import FieldSize, expected_fields
from hpa_cells.table import CellTable


def test_of_a_cell_table(small_table: CellTable) -> None:
    assert expected_fields(small_table) == {
        "a": FieldSize(20, 12),
        "b": FieldSize(8, 8),
        "c": FieldSize(7, 9),
    }


def test_of_a_sample_submission(tmp_path: Path) -> None:
    path = tmp_path / "sample_submission.csv"
    path.write_text("ID,ImageWidth,ImageHeight,PredictionString\na,2048,1024,0 1 eNoLCAgIMAEABJkBdQ==\n")
    assert expected_fields(path) == {"a": FieldSize(2048, 1024)}
    path.write_text("Id,Predicted\na,0\nb,0\n")
    assert expected_fields(path) == {"a": None, "b": None}


def test_of_another_file(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("ID,Label\na,1\n")
    with pytest.raises(ValueError, match=r"train\.csv is no sample submission: line 1, `ID,Label`"):
        expected_fields(path)
    with pytest.raises(FileNotFoundError):
        expected_fields(tmp_path / "absent.csv")


def test_of_a_folder_of_fields(tmp_path: Path) -> None:
    for color in ("red", "green", "blue", "yellow"):
        cv2.imwrite(str(tmp_path / f"a_{color}.png"), np.zeros((5, 9), np.uint16))
    assert expected_fields(tmp_path) == {"a": FieldSize(9, 5)}


def test_of_a_field_without_er(tmp_path: Path) -> None:
    for color in ("red", "green", "blue"):
        cv2.imwrite(str(tmp_path / f"a_{color}.png"), np.zeros((5, 9), np.uint8))
    assert expected_fields(tmp_path) == {"a": FieldSize(9, 5)}


def test_of_real_fields(real_data: Path) -> None:
    assert set(expected_fields(real_data / "hpa2021" / "fields").values()) == {FieldSize(2048, 2048)}
