import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpa_cells as package
from hpa_cells.prediction import FAILURES_FILE
from hpa_cells.prediction.parts import Part
from hpa_cells.table import read_table

Program = Callable[..., Any]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("of", [1, 2, 7])
def test_the_parts_together_are_the_run_to_the_byte(
    predict: Program, hpa_cells: Program, tmp_path: Path, of: int
) -> None:
    predict(f"out={tmp_path / 'whole'}")
    for number in range(1, of + 1):
        assert predict(f"part={number}/{of}").status == 0
    assert not list((tmp_path / "run").glob("*.parquet"))
    merge = ("merge", f"out={tmp_path / 'run'}", "shard_fields=2")
    assert hpa_cells(*merge).status == 0
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    # Once more changes nothing.
    assert hpa_cells(*merge).status == 0
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_field_is_of_one_part_whatever_others_there_are() -> None:
    parts = [Part(number, 3) for number in (1, 2, 3)]
    owners = [[part.number for part in parts if part.has(f"field-{index}")] for index in range(3000)]
    assert all(len(owner) == 1 for owner in owners)
    for part in parts:
        assert 900 < sum(owner == [part.number] for owner in owners) < 1100


def test_missing_and_unfinished_parts_are_named(predict: Program, hpa_cells: Program, tmp_path: Path) -> None:
    run = tmp_path / "run"
    merge = ("merge", f"out={run}")
    run.mkdir()
    ended = hpa_cells(*merge)
    assert ended.status == 1
    assert f"{run} has no parts: make them with `hpa-cells predict part=1/8" in ended.stderr
    predict("part=2/3")
    (run / "part-3-of-3").mkdir()
    ended = hpa_cells(*merge)
    assert ended.status == 1
    assert "2 of the 3 parts" in ended.stderr
    assert "with part=1/3, and with 3/3." in ended.stderr
    predict("part=1/2")
    assert "has parts of 2 and of 3" in hpa_cells(*merge).stderr


def test_parts_of_other_settings_are_not_joined(predict: Program, hpa_cells: Program, tmp_path: Path) -> None:
    predict("part=1/2")
    predict("part=2/2", "tta=d4")
    ended = hpa_cells("merge", f"out={tmp_path / 'run'}")
    assert ended.status == 1
    assert "settings.tta.num_turns: 1 -> 4" in ended.stderr


def test_what_failed_in_a_part_is_on_record_and_comes_later(
    predict: Program, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    fields = shutil.copytree(small_world.fields, tmp_path / "fields")
    (fields / "f2_blue.png").write_bytes(b"cut")
    run = tmp_path / "run"
    statuses = [predict(f"fields={fields}", f"part={number}/2").status for number in (1, 2)]
    assert sorted(statuses) == [0, 1]
    ended = hpa_cells("merge", f"out={run}")
    assert ended.status == 1
    assert "1 of 5 fields failed" in ended.stderr
    assert "f2" in (run / FAILURES_FILE).read_text()
    assert len(read_table(run).fields) == 4

    shutil.copy(small_world.fields / "f2_blue.png", fields)
    for number in (1, 2):
        assert predict(f"fields={fields}", f"part={number}/2").status == 0
    assert hpa_cells("merge", f"out={run}").status == 0
    assert len(read_table(run).fields) == 5


def test_a_part_that_was_begun_again_is_not_at_its_end(
    predict: Program, hpa_cells: Program, small_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        assert predict(f"part={number}/2").status == 0

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hpa_cells.commands.predict.predict_fields", stop)
    assert predict("part=2/2").status == 130
    ended = hpa_cells("merge", f"out={tmp_path / 'run'}")
    assert ended.status == 1
    assert "with part=2/2." in ended.stderr


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_what_is_no_part(predict: Program, tmp_path: Path, text: str) -> None:
    ended = predict(f"part={text}")
    assert ended.status == 1
    assert "give its number and how many there are, such as 2/8" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_in_python(small_world: Any, tmp_path: Path) -> None:
    settings = {
        "fields": small_world.fields,
        "model": small_world.model,
        "out": tmp_path / "run",
        "segmenter": "precomputed",
        "overrides": [f"segmenter.folder={small_world.masks}"],
        "device": "cpu",
    }
    cells = [package.predict(**settings, part=f"{number}/2") for number in (1, 2)]
    assert (
        len(package.merge(out=tmp_path / "run"))
        == sum(map(len, cells))
        == sum(small_world.num_cells.values())
    )


def test_a_part_that_lacks_a_shard_is_refused(predict: Program, hpa_cells: Program, tmp_path: Path) -> None:
    for number in (1, 2):
        assert predict(f"part={number}/2", "shard_fields=1").status == 0
    part = tmp_path / "run" / "part-2-of-2"
    lost = sorted(part.glob("fields-*.parquet"))[-1]
    content = lost.read_bytes()
    lost.unlink()
    ended = hpa_cells("merge", f"out={tmp_path / 'run'}")
    assert ended.status == 1
    assert f"{part} has" in ended.stderr
    assert "by its manifest.json there were" in ended.stderr
    assert not list((tmp_path / "run").glob("*.parquet"))
    lost.write_bytes(content[:-9])
    assert f"{lost} is no whole Parquet file" in hpa_cells("merge", f"out={tmp_path / 'run'}").stderr


def test_parts_that_were_tried_again_are_in_order_too(
    predict: Program, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    fields = shutil.copytree(small_world.fields, tmp_path / "fields")
    predict(f"out={tmp_path / 'whole'}")
    for field in ("f0", "f2"):
        (fields / f"{field}_blue.png").write_bytes(b"cut")
    for number in (1, 2):
        predict(f"fields={fields}", f"part={number}/2")
    for field in ("f0", "f2"):
        shutil.copy(small_world.fields / f"{field}_blue.png", fields)
    for number in (1, 2):
        assert predict(f"fields={fields}", f"part={number}/2").status == 0
    assert hpa_cells("merge", f"out={tmp_path / 'run'}", "shard_fields=2").status == 0
    assert files(tmp_path / "run") == files(tmp_path / "whole")
