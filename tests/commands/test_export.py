"""``hpa-cells export``: what the user gives and gets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.commands import export
from hpa_cells.commands.settings import compose
from hpa_cells.export import read_csv, read_kaggle2021
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import CellScores, Segmentation

HEADER = "ID,ImageWidth,ImageHeight,PredictionString"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of one field of 8 x 6 px (height x width) with cells 2 and 9."""
    labels = np.zeros((8, 6), np.int32)
    labels[1:4, 1:4], labels[5:, 3:] = 2, 9
    segmentation = Segmentation(
        field_id="field one", cells=labels, nuclei=np.zeros_like(labels), pixel_size_um=0.16
    )
    scores = CellScores(
        field_id="field one",
        class_set=get_class_set("hpa2021"),
        cell_ids=segmentation.cell_ids,
        probabilities=np.linspace(0, 1, 38, dtype=np.float32).reshape(2, 19),
        field_probabilities=np.zeros(19, np.float32),
        embeddings=np.zeros((2, 0), np.float32),
    )
    folder = tmp_path / "run"
    with TableWriter(
        folder, provenance=Provenance(version="0", class_set="hpa2021", source="test")
    ) as writer:
        writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    return folder


def run(*overrides: str) -> None:
    export.run(compose("export", list(overrides)))


def test_into_a_file_or_a_folder(run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(f"table={run_folder}", f"out={tmp_path}/mine.csv")
    run(f"table={run_folder}", f"out={tmp_path}/folder")
    assert (tmp_path / "mine.csv").read_text() == (tmp_path / "folder" / "submission.csv").read_text()
    assert read_kaggle2021(tmp_path / "mine.csv").cells["cell_id"].tolist() == [2, 9]
    assert "is valid" in caplog.text


def test_settings_of_the_format(run_folder: Path, tmp_path: Path) -> None:
    run(f"table={run_folder}", f"out={tmp_path}/s.csv", "format.max_classes=1", "format.cell_ids=false")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "s.csv"]
    assert len((tmp_path / "s.csv").read_text().splitlines()[1].split()) == 1 + 2 * 3


def test_csv(run_folder: Path, tmp_path: Path) -> None:
    run(f"table={run_folder}", f"out={tmp_path}/out", "format=csv")
    assert read_csv(tmp_path / "out" / "cells.csv")["field_id"].tolist() == ["field one"] * 2


def test_a_field_that_the_run_lacks_is_told_after_writing(run_folder: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text(f"{HEADER}\nfield one,6,8,\nother,6,8,\n")
    with pytest.raises(
        ValueError, match=r"s\.csv has a problem, .*\n  file, field other: The field has no row"
    ):
        run(f"table={run_folder}", f"out={tmp_path}/s.csv", f"sample_submission={sample}")
    assert (tmp_path / "s.csv").exists()


def test_check_of_a_file_that_is_there(run_folder: Path, tmp_path: Path) -> None:
    run(f"table={run_folder}", f"out={tmp_path}/s.csv")
    run(f"check={tmp_path}/s.csv", f"sample_submission={run_folder}")
    bad = tmp_path / "bad.csv"
    bad.write_text(f"{HEADER}\n" + "".join(f"f{index},8,6,99 0.5 ####\n" for index in range(30)))
    with pytest.raises(ValueError, match="has 60 problems") as caught:
        run(f"check={bad}")
    assert "line 2, field f0, `99`: Class is not in hpa2021" in str(caught.value)
    assert str(caught.value).endswith("and 40 more")


def test_check_of_2018_and_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Id,Predicted\na,3 5\n")
    run(f"check={path}", "format=kaggle2018")
    with pytest.raises(ValueError, match="Only a submission can be checked"):
        run(f"check={path}", "format=csv")


def test_a_folder_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no cell table"):
        run(f"table={tmp_path}", f"out={tmp_path}/s.csv")


def test_wrong_class_set(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="19 classes of hpa2021"):
        run(f"table={run_folder}", f"out={tmp_path}/s.csv", "format=kaggle2018")
