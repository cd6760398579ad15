import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpa_cells.prediction import FAILURES_FILE, segmenting
from hpa_cells.prediction.failures import read_failures
from hpa_cells.table import CellTable, Column, read_table

Program = Callable[..., Any]


def assert_same_table(a: CellTable, b: CellTable) -> None:
    """Equal, but for what the order of sums in a network batch changes."""
    columns = a.cells.columns.drop(Column.EMBEDDING)
    pd.testing.assert_frame_equal(a.cells[columns], b.cells[columns])
    pd.testing.assert_frame_equal(a.fields, b.fields)
    embeddings = (np.stack(table.cells[Column.EMBEDDING].tolist()) for table in (a, b))
    np.testing.assert_allclose(*embeddings, rtol=1e-5, atol=1e-5)


def failures(run: Path) -> list[dict[str, str]]:
    return pd.read_csv(run / FAILURES_FILE).to_dict("records")


def test_the_cell_table(predict: Program, small_world: Any, tmp_path: Path) -> None:
    ended = predict("shard_fields=64")
    assert ended.status == 0
    assert ended.stdout == ""
    assert "5/5" in ended.stderr
    assert f"{tmp_path / 'run'}: 5 fields" in ended.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "cells-000000.parquet", FAILURES_FILE, "fields-000000.parquet", "manifest.json",
    ]  # fmt: skip
    table = read_table(tmp_path / "run")
    assert table.fields.set_index(Column.FIELD_ID)[Column.NUM_CELLS].to_dict() == small_world.num_cells
    assert len(table.cells) == sum(small_world.num_cells.values())
    assert failures(tmp_path / "run") == []


def test_without_a_model_the_one_in_the_package_answers_and_says_what_it_is(
    hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    masks = ["segmenter=precomputed", f"segmenter.folder={small_world.masks}", "device=cpu"]
    ended = hpa_cells("predict", f"fields={small_world.fields}", f"out={tmp_path / 'run'}", *masks)
    assert ended.status == 0
    assert "About the model: Trained on simulated cells only" in ended.stderr
    table = read_table(tmp_path / "run")
    assert table.provenance.settings["about_models"] == [
        "Trained on simulated cells only, with the true labels of each."
    ]
    assert len(table.cells) == sum(small_world.num_cells.values())


def test_provenance_holds_what_changes_the_content_and_nothing_else(
    predict: Program, small_world: Any, tmp_path: Path
) -> None:
    predict("tta=flips", "fusion=product")
    provenance = read_table(tmp_path / "run").provenance
    assert (provenance.source, provenance.class_set, len(provenance.weights_hash)) == ("model", "hpa2021", 64)
    settings = provenance.settings
    assert settings["tta"] == {"num_turns": 2, "mirrored": True}
    assert settings["fusion"]["rule"] == "product"
    assert settings["segmenter"]["folder"] == str(small_world.masks)
    assert settings["crops"]["size_px"] == 32
    assert settings["thresholds"]["negative"] == pytest.approx(0.9)
    ended = predict("tta=flips", "fusion=product", "batch_cells=3", "workers=1", "shard_fields=1")
    assert ended.status == 0
    assert "5 of 5 fields are finished already" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("tta=d4", "settings.tta.num_turns: 1 -> 4"),
        ("fusion=mean", "settings.fusion.cell_weight: 1.0 -> 0.5"),
        ("pixel_size_um=0.1", "settings.pixel_size_um: None -> 0.1"),
        ("area_weight.border_um2=512", "settings.area_weight.border_um2: 0.0 -> 512.0"),
        ("embeddings=false", "settings.embeddings: True -> False"),
    ],
)
def test_a_run_of_other_settings_is_not_gone_on_with(predict: Program, setting: str, named: str) -> None:
    predict()
    ended = predict(setting)
    assert ended.status == 1
    assert named in ended.stderr
    assert "choose another `out`" in ended.stderr


def test_a_run_with_other_masks_at_the_same_path_is_not_gone_on_with(
    predict: Program, small_world: Any, tmp_path: Path
) -> None:
    masks = shutil.copytree(small_world.masks, tmp_path / "masks")
    (masks / "segmentation.json").write_text('{"fingerprint": "a"}')
    assert predict(f"segmenter.folder={masks}").status == 0
    assert predict(f"segmenter.folder={masks}").status == 0
    (masks / "segmentation.json").write_text('{"fingerprint": "b"}')
    ended = predict(f"segmenter.folder={masks}")
    assert ended.status == 1
    assert re.search(r"settings.segmenter_fingerprint: \w{64} -> \w{64}", ended.stderr)


def test_a_device_that_is_not_here_is_told_before_there_is_a_folder(
    predict: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ended = predict("device=cuda")
    assert ended.status == 1
    assert "Device 'cuda' is not there" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_with_another_model_is_not_gone_on_with(
    predict: Program, small_world: Any, tmp_path: Path
) -> None:
    from dataclasses import replace

    from hpa_cells.models import load_checkpoint, save_checkpoint

    predict()
    other = load_checkpoint(small_world.model)
    other.model.cell_head.bias.data += 1
    save_checkpoint(tmp_path / "other", replace(other))
    ended = predict(f"model={tmp_path / 'other'}")
    assert ended.status == 1
    assert "weights_hash" in ended.stderr


def test_failed_fields_are_on_record_and_tried_again(
    predict: Program, small_world: Any, tmp_path: Path
) -> None:
    """One field lacks a channel, one has a broken file, one has no mask; two are well."""
    fields, masks = (
        shutil.copytree(folder, tmp_path / folder.name) for folder in (small_world.fields, small_world.masks)
    )
    (fields / "f0_red.png").rename(tmp_path / "f0_red.png")
    (fields / "f2_blue.png").write_bytes(b"\x89PNG\r\n")
    (masks / "f3_cells.png").rename(tmp_path / "f3_cells.png")
    changed = (f"fields={fields}", f"segmenter.folder={masks}", "shard_fields=1")

    ended = predict(*changed)
    run = tmp_path / "run"
    assert ended.status == 1
    assert f"3 of 5 fields failed; see {run / FAILURES_FILE}." in ended.stderr
    assert "f2 failed to read: " in ended.stderr
    assert "Traceback" not in ended.stderr
    found = {row["field_id"]: row for row in failures(run)}
    assert {name: row["stage"] for name, row in found.items()} == {
        "f0": "find",
        "f2": "read",
        "f3": "segment",
    }
    assert "red" in found["f0"]["error"]
    assert "f2_blue.png" in found["f2"]["error"]
    assert read_table(run).fields[Column.FIELD_ID].tolist() == ["f1", "f4"]

    (tmp_path / "f0_red.png").rename(fields / "f0_red.png")
    (tmp_path / "f3_cells.png").rename(masks / "f3_cells.png")
    ended = predict(*changed)
    assert ended.status == 1
    assert "1 of 5 fields failed" in ended.stderr
    assert [row["field_id"] for row in failures(run)] == ["f2"]

    shutil.copy(small_world.fields / "f2_blue.png", fields)
    ended = predict(*changed)
    assert ended.status == 0
    assert failures(run) == []
    assert len(read_table(run).fields) == 5


def test_er_may_be_missing_where_the_model_allows_it(
    predict: Program, small_world: Any, tmp_path: Path
) -> None:
    from dataclasses import replace

    from hpa_cells.models import load_checkpoint, save_checkpoint
    from hpa_cells.types import Channel

    fields = shutil.copytree(small_world.fields, tmp_path / "fields")
    for path in fields.glob("*_yellow.png"):
        path.unlink()
    ended = predict(f"fields={fields}", f"out={tmp_path / 'refused'}")
    assert ended.status == 1
    assert {row["stage"] for row in failures(tmp_path / "refused")} == {"find"}
    assert "has no yellow file" in ended.stderr

    tolerant = replace(load_checkpoint(small_world.model), optional_channels=frozenset({Channel.ER}))
    save_checkpoint(tmp_path / "tolerant", tolerant)
    assert predict(f"fields={fields}", f"model={tmp_path / 'tolerant'}").status == 0
    assert len(read_table(tmp_path / "run").fields) == 5


def test_two_files_for_one_channel(predict: Program, small_world: Any, tmp_path: Path) -> None:
    fields = shutil.copytree(small_world.fields, tmp_path / "fields")
    shutil.copy(fields / "f2_red.png", fields / "f2_red.tif")
    ended = predict(f"fields={fields}")
    assert ended.status == 1
    assert (
        f"Field f2 has two files for red ({fields / 'f2_red.png'} and {fields / 'f2_red.tif'})"
        in ended.stderr
    )
    assert len(read_table(tmp_path / "run").fields) == 4


_INTERRUPTED = """
import os, signal, sys, time
import hpa_cells.prediction.segmenting as segmenting
from hpa_cells.commands.app import main

read_field = segmenting.read_field

def read_and_press_ctrl_c(source, **settings):
    if source.field_id == "f3":
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        # The main thread answers it when its turn comes; all else could be done by then.
        time.sleep(0.5)
    return read_field(source, **settings)

segmenting.read_field = read_and_press_ctrl_c
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_finished_fields_and_the_same_command_completes_the_table(
    predict: Program, small_world: Any, tmp_path: Path, number: int
) -> None:
    predict()
    expected = read_table(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    settings = [
        f"fields={small_world.fields}",
        f"model={small_world.model}",
        f"out={tmp_path / 'run'}",
        "segmenter=precomputed",
        f"segmenter.folder={small_world.masks}",
        "device=cpu",
    ]
    slowly = ["workers=1", "fields_under_way=1"]
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, "predict", *settings, *slowly],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SIGNAL": str(int(number))},
    )
    assert ended.returncode == 128 + number, ended.stderr
    assert "Stopped. Finished work is kept: the same command goes on from there." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert {"f0"} <= set(read_table(tmp_path / "run").fields[Column.FIELD_ID]) < set(small_world.num_cells)
    assert not list((tmp_path / "run").glob(".*"))

    assert predict().status == 0
    assert_same_table(read_table(tmp_path / "run"), expected)


def test_a_folder_of_fields_that_vanishes_in_the_middle(
    predict: Program, small_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(f"out={tmp_path / 'expected'}")
    fields, elsewhere = tmp_path / "fields", tmp_path / "elsewhere"
    shutil.copytree(small_world.fields, fields)

    def read(source: Any, **settings: Any) -> Any:
        if source.field_id == "f2" and fields.exists():
            fields.rename(elsewhere)
        return read_field(source, **settings)

    read_field = segmenting.read_field
    monkeypatch.setattr(segmenting, "read_field", read)
    ended = predict(f"fields={fields}", "workers=1", "fields_under_way=1")
    assert ended.status == 1
    assert "3 of 5 fields failed" in ended.stderr
    assert [(each.field_id, each.stage) for each in read_failures(tmp_path / "run")] == [
        (name, "read") for name in ("f2", "f3", "f4")
    ]
    assert str(fields / "f2_red.png") in read_failures(tmp_path / "run")[0].error

    elsewhere.rename(fields)
    monkeypatch.undo()
    assert predict(f"fields={fields}").status == 0
    assert_same_table(read_table(tmp_path / "run"), read_table(tmp_path / "expected"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fields=nowhere", "nowhere does not exist"),
        ("model=nowhere", "nowhere/checkpoint.json does not exist: give the folder that `hpa-cells train`"),
        ("segmenter.folder=nowhere", "nowhere does not exist"),
        ("batch_cells=0", "batch_cells is 0: give at least 1"),
        ("batch_cells=many", "many"),
        ("shard_fields=0", "shard_fields is 0: give at least 1"),
        ("segment_fields=0", "segment_fields is 0: give at least 1"),
        ("pixel_size_um=-0.1", "pixel_size_um is -0.1"),
        ("fusion.rule=sum", "fusion.rule is 'sum': use one of weighted, product"),
        ("workers=0", "workers is 0: give at least 1, or null"),
        ("device=gpu", "The device is 'gpu': give auto, cpu, cuda or cuda:0"),
        ("tta.num_turns=three", "three"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(
    predict: Program, tmp_path: Path, setting: str, message: str
) -> None:
    ended = predict(setting)
    assert ended.status == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "run").exists()


def test_an_empty_folder(predict: Program, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = predict(f"fields={tmp_path / 'empty'}")
    assert ended.status == 1
    assert f"No fields in {tmp_path / 'empty'}" in ended.stderr


@pytest.mark.slow
def test_the_real_fields(real_data: Path, hpa_cells: Program, small_world: Any, tmp_path: Path) -> None:
    ended = hpa_cells(
        "predict",
        f"fields={real_data / 'hpa2021/fields'}",
        f"model={small_world.model}",
        f"out={tmp_path / 'run'}",
        "device=cpu",
    )
    assert ended.status == 0
    table = read_table(tmp_path / "run")
    assert len(table.fields) == 4
    assert set(table.fields[Column.HEIGHT_PX]) == {2048}
    assert 20 < len(table.cells) < 400


_TWICE = """
import threading, time
from hpa_cells.commands import app

def stop_twice(_):
    threading.Thread(target=time.sleep, args=(600,), name="hpa-cells read", daemon=True).start()
    raise KeyboardInterrupt

app._dispatch = stop_twice
app.main()
"""


def test_a_second_ctrl_c_while_threads_end_stops_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", _TWICE], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert ended.stderr == (
        "hpa-cells: Stopped at once. Finished work is kept: the same command goes on from there.\n"
    )


def test_a_disk_that_is_full_is_no_fault_of_the_fields(
    predict: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    # The marks of what is being read are all that is written this way.
    monkeypatch.setattr(Path, "write_bytes", full)
    ended = predict()
    assert ended.status == 1
    assert "No space left on device" in ended.stderr
    assert "fields failed" not in ended.stderr
    monkeypatch.undo()
    assert failures(tmp_path / "run") == []
