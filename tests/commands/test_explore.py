from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.explore import run
from hpa_cells.commands.settings import compose
from hpa_cells.fields import write_field
from hpa_cells.types import Channel, Field


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three fields, the last one without ER, and labels of the first and of one that is not there."""
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 200, (4, 24, 32), dtype=np.uint8)
        missing = frozenset({Channel.ER}) if number == 2 else frozenset()
        write_field(
            Field(field_id=f"f{number}", image=image, pixel_size_um=0.25, missing=missing), tmp_path / "in"
        )
    (tmp_path / "train.csv").write_text("ID,Label\nf0,0|16\nlost,3\n")
    return tmp_path


def explore(data: Path, *overrides: str) -> None:
    run(compose("explore", [f"out={data / 'out'}", *overrides]))


def test_labels_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explore(data, f"labels={data / 'train.csv'}")
    counts = pd.read_csv(data / "out" / "label_counts.csv").set_index("key")
    assert counts.loc["cytosol", "num_fields"] == 1
    assert pd.read_csv(data / "out" / "labels_per_field.csv")["num_fields"].tolist() == [0, 1, 1]
    assert pd.read_csv(data / "out" / "label_co_occurrence.csv").shape == (19, 20)
    assert pd.read_csv(data / "out" / "label_combinations.csv")["classes"].tolist() == ["0|16", "3"]
    assert (data / "out" / "labels.png").stat().st_size > 1000
    assert "2 labelled fields, hpa2021" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [1, 2])
def test_fields_alone(data: Path, capsys: pytest.CaptureFixture[str], workers: int) -> None:
    explore(data, f"fields={data / 'in'}", f"workers={workers}")
    channels = pd.read_csv(data / "out" / "channels.csv")
    assert channels["field_id"].tolist() == [f"f{number}" for number in range(3) for _ in Channel]
    assert set(channels["pixel_size_um"]) == {0.25}
    anomalies = pd.read_csv(data / "out" / "anomalies.csv")
    assert anomalies[["field_id", "channel", "kind"]].to_numpy().tolist() == [["f2", "yellow", "missing"]]
    assert (data / "out" / "intensities.png").stat().st_size > 1000
    assert pd.read_csv(data / "out" / "failures.csv").empty
    assert "3 fields" in capsys.readouterr().out


def test_labels_and_fields_are_compared(data: Path) -> None:
    explore(data, f"labels={data / 'train.csv'}", f"fields={data / 'in'}")
    unmatched = pd.read_csv(data / "out" / "unmatched.csv")
    assert unmatched.to_numpy().tolist() == [["lost", "no field"], ["f1", "no label"], ["f2", "no label"]]


def test_a_broken_field_is_on_record_and_the_others_are_told(data: Path) -> None:
    path = data / "in" / "f1_blue.png"
    path.write_bytes(path.read_bytes()[:-9])
    path.with_name("f3_red.png").touch()
    path.with_name("f3_red.tif").touch()
    with pytest.raises(FieldsFailedError, match=r"2 fields could not be read; see .*failures\.csv"):
        explore(data, f"fields={data / 'in'}")
    failures = pd.read_csv(data / "out" / "failures.csv").set_index("field_id")
    assert "two files for red" in failures.loc["f3", "error"]
    assert "f1_blue.png cannot be used: it is cut off" in failures.loc["f1", "error"]
    assert set(pd.read_csv(data / "out" / "channels.csv")["field_id"]) == {"f0", "f2"}


def test_all_fields_broken_leaves_failures_only(data: Path) -> None:
    for path in (data / "in").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(FieldsFailedError, match="3 fields could not be read"):
        explore(data, f"fields={data / 'in'}")
    assert [path.name for path in (data / "out").iterdir()] == ["failures.csv"]


def test_nothing_to_explore_is_an_error(data: Path) -> None:
    with pytest.raises(ValueError, match=r"give labels=train\.csv, fields=DIR, table=RUN or several"):
        explore(data)


def test_the_real_labels_of_2018(real_data: Path, tmp_path: Path) -> None:
    explore(tmp_path, f"labels={real_data / 'hpa2018' / 'train.csv'}")
    counts = pd.read_csv(tmp_path / "out" / "label_counts.csv")
    assert (len(counts), counts["num_fields"].max()) == (28, 12_885)
