"""The formats as the user chooses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpa_cells.export import CsvFormat, Kaggle2018Format, Kaggle2021Format, ParquetFormat, SubmissionFormat
from hpa_cells.table import CellTable


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Kaggle2021Format, {"min_confidence": 1.5}, r"format\.min_confidence is 1\.5"),
        (Kaggle2021Format, {"max_classes": 0}, r"format\.max_classes is 0: give at least 1"),
        (Kaggle2018Format, {"threshold": -0.1}, r"format\.threshold is -0\.1"),
        (Kaggle2018Format, {"model": "m", "training_labels": "l"}, r"both give thresholds: leave out one"),
    ],
)
def test_settings_out_of_range(kind: type, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_submissions_can_be_checked_and_a_table_cannot() -> None:
    assert isinstance(Kaggle2021Format(), SubmissionFormat)
    assert isinstance(Kaggle2018Format(), SubmissionFormat)
    assert not isinstance(CsvFormat(), SubmissionFormat)
    assert not isinstance(ParquetFormat(), SubmissionFormat)


def test_thresholds_of_a_checkpoint(make_table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    import hpa_cells.models

    table = make_table({"a": np.ones((4, 5), np.int32)}, class_set="hpa2018")
    thresholds = np.full(28, 2, np.float32)
    thresholds[[3, 5]] = [0, np.nan]
    checkpoint = SimpleNamespace(class_set=table.class_set, thresholds=thresholds)
    monkeypatch.setattr(hpa_cells.models, "load_checkpoint", lambda folder: checkpoint)
    Kaggle2018Format(threshold=0.0, model="model").write(table, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "Id,Predicted\na,3 5\n"


def test_thresholds_for_other_classes(make_table, small_table: CellTable, tmp_path, monkeypatch) -> None:
    from types import SimpleNamespace

    import hpa_cells.models

    table = make_table({"a": np.ones((4, 5), np.int32)}, class_set="hpa2018")
    checkpoint = SimpleNamespace(class_set=small_table.class_set, thresholds=np.zeros(19, np.float32))
    monkeypatch.setattr(hpa_cells.models, "load_checkpoint", lambda folder: checkpoint)
    with pytest.raises(ValueError, match=r"model has thresholds for the classes of hpa2021"):
        Kaggle2018Format(model="model").write(table, tmp_path / "s.csv")


def test_each_class_as_often_as_in_training(make_table, tmp_path: Path) -> None:
    """Half of the training fields have class 0 and 5, a quarter class 2; a field without cells counts nowhere."""
    cells = np.ones((4, 5), np.int32)
    table = make_table({**dict.fromkeys("abcd", cells), "e": np.zeros((4, 5), np.int32)}, class_set="hpa2018")
    (tmp_path / "train.csv").write_text("Id,Target\nw,0\nx,0 2\ny,5\nz,5\n")
    Kaggle2018Format(training_labels=str(tmp_path / "train.csv"), at_least_one=False).write(
        table, tmp_path / "s.csv"
    )
    called = [line.split(",")[1].split() for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    probabilities = table.field_probabilities()[:4]
    highest = [
        set(np.argsort(-probabilities[:, index])[:number]) for index, number in ((0, 2), (2, 1), (5, 2))
    ]
    for index, fields in zip((0, 2, 5), highest, strict=True):
        assert {row for row, classes in enumerate(called) if str(index) in classes} == fields
    assert {each for classes in called for each in classes} == {"0", "2", "5"}
    assert called[4] == []
