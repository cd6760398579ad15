"""``hpa-cells export``: what the user gives and gets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra.utils import instantiate

import hpa_cells
from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.commands import export
from hpa_cells.commands.settings import compose, conf_folder
from hpa_cells.export import read_anndata, read_coco, read_csv, read_geojson, read_kaggle2021
from hpa_cells.export.extra import import_extra
from hpa_cells.fields import write_field
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import CellScores, Channel, Field, Segmentation

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


def test_fields_that_failed_in_the_run_are_told(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]

    run(f"table={run_folder}", f"out={tmp_path}/mine.csv")
    assert not warnings()
    (run_folder / "failures.csv").write_text("field_id,stage,error\nb,read,cut off\n")
    run(f"table={run_folder}", f"out={tmp_path}/mine.csv")
    assert warnings() == [
        "Fields that failed in the run, see its failures.csv, and are not in the export: 1."
    ]


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


def test_coco_into_a_file_or_a_folder(run_folder: Path, tmp_path: Path) -> None:
    run(f"table={run_folder}", f"out={tmp_path}/mine.json", "format=coco")
    run(f"table={run_folder}", f"out={tmp_path}/folder", "format=coco", "format.min_confidence=0.9")
    assert read_coco(tmp_path / "mine.json").cells["cell_id"].tolist() == [2, 9]
    assert read_coco(tmp_path / "folder" / "instances.json").cells["cell_id"].tolist() == [9]


def test_a_folder_may_have_a_dot_in_its_name(run_folder: Path, tmp_path: Path) -> None:
    run(f"table={run_folder}", f"out={tmp_path}/run.v2")
    assert (tmp_path / "run.v2" / "submission.csv").is_file()
    run(f"table={run_folder}", f"out={tmp_path}/run.v2", "format=geojson")
    assert (tmp_path / "run.v2" / "field one.geojson").is_file()


@pytest.mark.parametrize(
    ("file_format", "name", "told"),
    [
        (
            "kaggle2021",
            "cells.h5ad",
            r"ends in \.h5ad, which is format=anndata: .* ends in \.csv, or a folder",
        ),
        ("csv", "cells.zarr", r"format=spatialdata or crops"),
        ("coco", "i.json.gz", r"ends in \.json\.gz, which is format=geojson: .* ends in \.json, or a folder"),
        (
            "ome_zarr",
            "f.csv",
            r"which is format=csv, kaggle2021 or kaggle2018: choose that format, or give a folder",
        ),
    ],
)
def test_a_file_of_another_format_is_not_written(
    run_folder: Path, tmp_path: Path, file_format: str, name: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        run(f"table={run_folder}", f"out={tmp_path}/{name}", f"format={file_format}")
    assert not (tmp_path / name).exists()


def test_every_ending_leads_to_its_format() -> None:
    """What is told of an ending is what the formats say of themselves."""
    for path in sorted((conf_folder() / "format").glob("*.yaml")):
        file_format = instantiate(yaml.safe_load(path.read_text()))
        for suffix in file_format.suffixes:
            assert path.stem in export._FORMATS_OF_SUFFIX[suffix]


def test_geojson_into_a_folder_or_a_file(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run(f"table={run_folder}", f"out={tmp_path}/folder", "format=geojson")
    run(f"table={run_folder}", f"out={tmp_path}/mine.geojson.gz", "format=geojson")
    assert f"{tmp_path}/folder: 2 cells of 1 fields" in caplog.text
    for path in (tmp_path / "folder" / "field one.geojson", tmp_path / "mine.geojson.gz"):
        assert read_geojson(path).cells["cell_id"].tolist() == [2, 9]


def test_processes_write_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a field has no cells."""
    labels = np.zeros((30, 40), np.int32)
    labels[3:9, 3:20], labels[15:28, 5:35] = 4, 300
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(tmp_path / "run", provenance=provenance) as writer:
        for field_id, cells in {"a": labels, "b": np.zeros_like(labels), "c": labels.copy()}.items():
            segmentation = Segmentation(
                field_id=field_id, cells=cells, nuclei=np.zeros_like(cells), pixel_size_um=0.16
            )
            num_cells = len(segmentation.cell_ids)
            scores = CellScores(
                field_id=field_id,
                class_set=get_class_set("hpa2021"),
                cell_ids=segmentation.cell_ids,
                probabilities=np.full((num_cells, 19), 0.5, np.float32),
                field_probabilities=np.zeros(19, np.float32),
                embeddings=np.zeros((num_cells, 0), np.float32),
            )
            writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    monkeypatch.setattr(export, "_FIELDS_AT_A_TIME", 1)
    files = []
    for workers in (1, 2):
        out = tmp_path / f"workers{workers}"
        run(f"table={tmp_path}/run", f"out={out}", "format=geojson", f"workers={workers}")
        files.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert sorted(files[0]) == ["a.geojson", "b.geojson", "c.geojson"]
    assert files[0] == files[1]
    with pytest.raises(ValueError, match="`workers` is 0: give at least 1"):
        run(f"table={tmp_path}/run", f"out={tmp_path}/none", "format=geojson", "workers=0")


def test_a_format_without_a_check_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Only a submission can be checked"):
        run(f"check={tmp_path}/s.csv", "format=geojson")


@pytest.fixture
def fields_folder(tmp_path: Path) -> Path:
    """The field of the run, of 16 bit and without ER."""
    image = np.arange(4 * 8 * 6, dtype=np.uint16).reshape(4, 8, 6)
    field = Field(field_id="field one", image=image, pixel_size_um=0.16, missing=frozenset({Channel.ER}))
    write_field(field, tmp_path / "fields")
    return tmp_path / "fields"


def test_anndata(run_folder: Path, tmp_path: Path) -> None:
    run(f"table={run_folder}", f"out={tmp_path}/out", "format=anndata")
    assert read_anndata(tmp_path / "out" / "cells.h5ad").cells["cell_id"].tolist() == [2, 9]


def test_a_format_of_pixels_needs_the_fields(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"This format shows pixels, .*give the fields it was made from, fields=DIR"
    ):
        run(f"table={run_folder}", f"out={tmp_path}/x.zarr", "format=spatialdata")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="empty"):
        run(f"table={run_folder}", f"out={tmp_path}/x.zarr", "format=spatialdata", f"fields={tmp_path}/empty")
    assert not (tmp_path / "x.zarr").exists()


def test_a_format_of_pixels_lacks_a_field(run_folder: Path, fields_folder: Path, tmp_path: Path) -> None:
    for path in list(fields_folder.iterdir()):
        path.rename(path.with_name(path.name.replace("one", "two")))
    with pytest.raises(
        ValueError, match=r"1 of the table's 1 fields are not among the 1 fields given \(field one\)"
    ):
        run(f"table={run_folder}", f"out={tmp_path}/x.zarr", "format=spatialdata", f"fields={fields_folder}")


def test_spatialdata(run_folder: Path, fields_folder: Path, tmp_path: Path) -> None:
    hpa_cells.export(table=run_folder, fields=fields_folder, out=tmp_path / "out", format="spatialdata")
    data = import_extra("spatialdata", wanted_by="a test").read_zarr(tmp_path / "out" / "cells.zarr")
    assert data["field_one_image"].shape == (3, 8, 6)
    assert data["field_one_image"].dtype == np.uint16
    assert sorted(np.unique(data["field_one_cells"])) == [0, 2, 9]
    assert data["cells"].obs["cell_id"].tolist() == [2, 9]


def test_fields_that_no_format_asks_for(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run(f"table={run_folder}", f"out={tmp_path}/c.csv", "format=csv", f"fields={tmp_path}/nowhere")
    assert "shows no pixels: `fields` is not looked at" in caplog.text
