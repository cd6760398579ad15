"""``hpa-cells report``: what the user gives and gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.commands import report
from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.settings import compose
from hpa_cells.fields import write_field
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import CellScores, Field, Segmentation


@pytest.fixture
def run_and_fields(tmp_path: Path) -> tuple[Path, Path]:
    """A run of one field with one cell, and the folder of the field."""
    labels = np.zeros((40, 50), np.int32)
    labels[10:30, 10:35] = 4
    segmentation = Segmentation(field_id="one", cells=labels, nuclei=np.zeros_like(labels), pixel_size_um=0.5)
    classes = get_class_set("hpa2021")
    scores = CellScores(
        field_id="one",
        class_set=classes,
        cell_ids=segmentation.cell_ids,
        probabilities=np.eye(1, 19, 2, dtype=np.float32),
        field_probabilities=np.eye(1, 19, 2, dtype=np.float32)[0],
        embeddings=np.zeros((1, 0), np.float32),
    )
    run_folder, fields = tmp_path / "run", tmp_path / "fields"
    with TableWriter(
        run_folder, provenance=Provenance(version="0", class_set="hpa2021", source="test")
    ) as writer:
        writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    image = np.tile((labels > 0) * 200, (4, 1, 1)).astype(np.uint8)
    write_field(Field(field_id="one", image=image, pixel_size_um=0.5), fields)
    return run_folder, fields


def run(run_folder: Path, fields: Path, *overrides: str) -> None:
    report.run(compose("report", [f"table={run_folder}", f"fields={fields}", *overrides]))


def test_page_overlay_and_failures_of_the_run(run_and_fields: tuple[Path, Path], tmp_path: Path) -> None:
    run_folder, fields = run_and_fields
    (run_folder / "failures.csv").write_text("field_id,stage,error\nbroken,read,cut off\n")
    run(run_folder, fields, f"out={tmp_path}/report", f"truth={run_folder}", "page.field_px=64")
    html = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "<h1>run</h1>" in html
    assert "cut off" in html
    assert "1.000" in html
    assert (tmp_path / "report" / "overlays" / "one.png").exists()
    assert (tmp_path / "report" / "montages" / "nucleoli.png").exists()


def test_labels_of_fields_as_truth(run_and_fields: tuple[Path, Path], tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("ID,Label\none,2|16\n")
    run(*run_and_fields, f"out={tmp_path}/report", f"truth={labels}")
    html = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "predicted: Nucleoli · true: Nucleoli, Cytosol" in html
    assert 'title="right"' not in html


def test_title(run_and_fields: tuple[Path, Path], tmp_path: Path) -> None:
    run(*run_and_fields, f"out={tmp_path}/report", "page.title='A & B'")
    assert "<h1>A &amp; B</h1>" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_a_missing_channel_is_no_matter_but_a_broken_file_ends_with_an_error(
    run_and_fields: tuple[Path, Path], tmp_path: Path
) -> None:
    run_folder, fields = run_and_fields
    (fields / "one_yellow.png").unlink()
    run(run_folder, fields, f"out={tmp_path}/report")
    (fields / "one_red.png").write_bytes(b"broken")
    with pytest.raises(
        FieldsFailedError, match=r"1 of 1 fields could not be read and are not shown; .*report\.html"
    ):
        run(run_folder, fields, f"out={tmp_path}/report")
    assert "one_red.png" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_fields_of_another_run(run_and_fields: tuple[Path, Path], tmp_path: Path) -> None:
    run_folder, fields = run_and_fields
    for path in fields.iterdir():
        path.rename(path.with_name(path.name.replace("one", "two")))
    with pytest.raises(
        ValueError, match=r"1 of the table's 1 fields are not among the 1 fields given \(one\)"
    ):
        run(run_folder, fields, f"out={tmp_path}/report")


@pytest.mark.parametrize("kind", ["overlay", "gallery", "side_by_side"])
def test_figures_are_a_file_a_field(run_and_fields: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    run_folder, fields = run_and_fields
    run(
        run_folder,
        fields,
        f"out={tmp_path / 'figures'}",
        f"kind={kind}",
        f"beside={run_folder}",
        "figure.format=svg",
    )
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["one.svg"]
    text = (tmp_path / "figures" / "one.svg").read_text()
    assert "<svg" in text
    assert not (tmp_path / "figures" / "report.html").exists()


def test_montages_are_a_file_a_class(run_and_fields: tuple[Path, Path], tmp_path: Path) -> None:
    run_folder, fields = run_and_fields
    run(run_folder, fields, f"out={tmp_path / 'm'}", "kind=montage", "figure.classes=[nucleoli,cytosol]")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["cytosol.png", "nucleoli.png"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["kind=picture"], "kind is 'picture': choose page, overlay, gallery, montage, side_by_side"),
        (["kind=side_by_side"], "give beside=FOLDER"),
        (
            ["kind=overlay", "figure.fields=[two]"],
            "names two, which the table or `fields` lacks: choose of one",
        ),
        (["kind=overlay", "figure.format=gif"], "choose png, svg or pdf"),
    ],
)
def test_figures_that_cannot_be_are_refused(
    run_and_fields: tuple[Path, Path], tmp_path: Path, overrides: list[str], message: str
) -> None:
    run_folder, fields = run_and_fields
    with pytest.raises(ValueError, match=message):
        run(run_folder, fields, f"out={tmp_path / 'figures'}", *overrides)
    assert not (tmp_path / "figures").exists()


def test_a_class_that_is_none_fails_and_the_others_are_drawn(
    run_and_fields: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_folder, fields = run_and_fields
    with pytest.raises(FieldsFailedError, match="1 of 2 figures"):
        run(run_folder, fields, f"out={tmp_path / 'm'}", "kind=montage", "figure.classes=[nucleolus,cytosol]")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["cytosol.png"]
    assert "'nucleolus' is not a class of hpa2021" in caplog.text
