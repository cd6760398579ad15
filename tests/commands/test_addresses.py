"""Runs whose fields, masks and tables are not on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hpa_cells as package
from hpa_cells.addresses import Address
from hpa_cells.commands.app import VERBS
from hpa_cells.prediction import FAILURES_FILE
from hpa_cells.segmentation import read_segmentation
from hpa_cells.table import read_table

Program = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_folder_called_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert list(here.iterdir()) == []


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_is_that_of_this_machine_to_the_byte(
    predict: Program, hpa_cells: Program, small_world: Any, tmp_path: Path, far: Any
) -> None:
    assert predict(f"out={tmp_path / 'run'}").status == 0
    expected = files(tmp_path / "run")
    far_fields = (f"fields={far.put(small_world.fields, 'plate1')}", f"out={far.url}/run")
    ended = predict(*far_fields)
    assert (ended.status, far.files("run")) == (0, expected), ended.stderr
    assert f"{far.url}/run: 5 fields" in ended.stderr

    # The last shard was not put up.
    for name in ("fields-000002.parquet", "cells-000002.parquet"):
        Address(f"{far.url}/run/{name}").unlink()
    ended = predict(*far_fields)
    assert "4 of 5 fields are finished already" in ended.stderr
    assert far.files("run") == expected
    ended = predict(*far_fields, "tta=d4")
    assert ended.status == 1
    assert f"{far.url}/run holds a run with other settings (settings.tta." in ended.stderr

    for number in (2, 1):
        assert hpa_cells("merge", f"out={far.url}/parts").status == 1
        assert predict(*far_fields, f"out={far.url}/parts", f"part={number}/2").status == 0
    for _ in range(2):
        assert hpa_cells("merge", f"out={far.url}/parts", "shard_fields=2").status == 0
        assert far.files("parts") == expected

    exported = []
    for table in (f"{far.url}/run", str(tmp_path / "run")):
        out = tmp_path / f"{len(exported)}.csv"
        assert hpa_cells("export", f"table={table}", f"out={out}").status == 0
        exported.append(out.read_bytes())
    assert exported[0] == exported[1]


def test_what_failed_is_on_record_and_tried_again(predict: Program, small_world: Any, far: Any) -> None:
    fields = far.put(small_world.fields, "plate1")
    whole = Address(f"{fields}/f2_blue.png").read_bytes()
    Address(f"{fields}/f2_blue.png").write_bytes(whole[:50])
    Address(f"{fields}/f4_blue.png").unlink()
    ended = predict(f"fields={fields}", f"out={far.url}/run")
    assert ended.status == 1
    assert f"2 of 5 fields failed; see {far.url}/run/{FAILURES_FILE}" in ended.stderr
    failures = far.files("run")[FAILURES_FILE].decode()
    assert f"Field f2: {fields}/f2_blue.png cannot be used: it is cut off" in failures
    assert "Field f4 has no blue file" in failures
    Address(f"{fields}/f2_blue.png").write_bytes(whole)
    assert "1 of 5 fields failed" in predict(f"fields={fields}", f"out={far.url}/run").stderr
    assert read_table(f"{far.url}/run").fields["field_id"].tolist() == ["f0", "f1", "f2", "f3"]


def test_label_images_are_those_of_this_machine_to_the_byte(
    hpa_cells: Program, predict: Program, small_world: Any, tmp_path: Path, far: Any
) -> None:
    def segment(fields: Any, out: Any, segmenter: str = "watershed", *more: str) -> Any:
        return hpa_cells("segment", f"fields={fields}", f"out={out}", f"segmenter={segmenter}", *more)

    fields = far.put(small_world.fields, "plate1")
    assert segment(small_world.fields, tmp_path / "masks").status == 0
    assert segment(fields, f"{far.url}/masks").status == 0
    assert far.files("masks") == files(tmp_path / "masks")

    Address(f"{far.url}/masks/f3_cells.png").unlink()
    assert "4 of 5 fields are finished already" in segment(fields, f"{far.url}/masks").stderr
    assert far.files("masks") == files(tmp_path / "masks")
    ended = segment(fields, f"{far.url}/masks", "watershed", "pixel_size_um=0.3")
    assert "holds label images made with other settings" in ended.stderr

    # Masks of 16 and of 32 bit, which are other files.
    masks = far.put(small_world.masks, "given")
    assert segment(fields, f"{far.url}/taken", "precomputed", f"segmenter.folder={masks}").status == 0
    taken = {name: data for name, data in far.files("taken").items() if name[0] == "f" and name[1].isdigit()}
    assert taken == files(small_world.masks)
    assert read_segmentation(f"{far.url}/taken", "f4", pixel_size_um=0.5).cell_ids.max() > 65_535

    assert predict(f"out={tmp_path / 'run'}").status == 0
    assert predict(f"out={far.url}/run", f"segmenter.folder={masks}").status == 0
    near, distant = read_table(tmp_path / "run"), read_table(f"{far.url}/run")
    assert near.cells.equals(distant.cells)


def test_masks_at_an_address_are_listed_once(
    hpa_cells: Program, small_world: Any, bucket: Any, tmp_path: Path
) -> None:
    for path in small_world.masks.iterdir():
        Address(f"s3://bucket/masks/{path.name}").write_bytes(path.read_bytes())
    settings = [f"fields={small_world.fields}", f"out={tmp_path / 'out'}", "segmenter=precomputed"]
    bucket.requests.clear()
    assert hpa_cells("segment", *settings, "segmenter.folder=s3://bucket/masks").status == 0
    asked = [verb for verb, _ in bucket.requests]
    assert asked.count("LIST") == 1
    assert asked.count("GET") == len(asked) - 1 == 10
    ended = hpa_cells("segment", *settings, "segmenter.folder=s3://bucket/nothing")
    assert "segmenter folder s3://bucket/nothing does not exist" in ended.stderr


def test_a_run_asks_for_each_file_once_and_writes_each_once(
    predict: Program, small_world: Any, bucket: Any
) -> None:
    for path in small_world.fields.iterdir():
        bucket.objects[f"bucket/plate1/{path.name}"] = path.read_bytes()
    assert predict("fields=s3://bucket/plate1", "out=s3://bucket/run").status == 0
    asked = [path for verb, path in bucket.requests if verb == "GET"]
    assert sorted(asked) == sorted(f"bucket/plate1/{path.name}" for path in small_world.fields.iterdir())
    put = [path for verb, path in bucket.requests if verb == "PUT"]
    # What is done is said after each shard.
    assert put.count("bucket/run/manifest.json") == 3
    marks = [path for path in put if "/.reading/" in path]
    # One a field, and one that they are begun.
    assert len(marks) == len(set(marks)) == 6
    once = [path for path in put if path not in {"bucket/run/manifest.json", *marks}]
    # Three shards of two tables, failures.csv, and the question whether anything may be put there.
    assert len(once) == len(set(once)) == 8
    assert ("LIST", "bucket/plate1") in bucket.requests
    assert not [path for verb, path in bucket.requests if verb == "HEAD" and "plate1" in path]


def test_secrets_in_addresses_are_told_to_nobody(
    predict: Program, hpa_cells: Program, small_world: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = type(bucket)._strip_protocol
    bare = classmethod(lambda _, path: plain(path).removeprefix("key:sec/ret@"))
    monkeypatch.setattr(type(bucket), "_strip_protocol", bare)
    for folder in (small_world.fields, small_world.masks):
        for path in folder.iterdir():
            bucket.objects[f"bucket/{folder.name}/{path.name}"] = path.read_bytes()
    bucket.objects["bucket/fields/f2_blue.png"] = b"cut"
    url = "s3://key:sec/ret@bucket"
    settings = [f"fields={url}/fields", "segmenter=precomputed", f"segmenter.folder={url}/masks"]
    told = [
        predict(*settings, f"out={url}/run"),
        predict(*settings, f"out={url}/run", "tta=d4"),
        hpa_cells("segment", *settings, f"out={url}/labels"),
        predict(*settings, f"fields={url}/nothing", f"out={url}/run"),
        predict(*settings, f"model={url}/model", f"out={url}/run"),
    ]
    assert [each.status for each in told] == [1] * 5
    assert all("s3://***@bucket/" in each.stderr for each in told)
    written = {path: data for path, data in bucket.objects.items() if path.split("/")[1] in ("run", "labels")}
    assert len(written) > 10
    for text in (*(each.stderr.encode() for each in told), *written.values()):
        assert b"sec/ret" not in text
    # With another password it is the same run.
    bucket.objects["bucket/fields/f2_blue.png"] = (small_world.fields / "f2_blue.png").read_bytes()
    bare = classmethod(lambda _, path: plain(path).removeprefix("key:new@").removeprefix("key:sec/ret@"))
    monkeypatch.setattr(type(bucket), "_strip_protocol", bare)
    ended = predict(*(each.replace("sec/ret", "new") for each in settings), f"out={url}/run")
    assert ended.status == 0, ended.stderr


@pytest.mark.parametrize("far", ["s3://bucket"], indirect=True)
def test_tables_and_fields_at_addresses_are_looked_at(
    predict: Program, hpa_cells: Program, small_world: Any, tmp_path: Path, far: Any
) -> None:
    fields = far.put(small_world.fields, "plate1")
    assert predict(f"out={tmp_path / 'run'}").status == 0
    table = far.put(tmp_path / "run", "run")
    ended = hpa_cells("report", f"table={table}", f"fields={fields}", f"out={tmp_path / 'report'}")
    assert ended.status == 0, ended.stderr
    assert "<h1>run</h1>" in (tmp_path / "report" / "report.html").read_text("utf-8")
    truth = f"truth={tmp_path / 'run'}"
    ended = hpa_cells("evaluate", f"table={table}", truth, f"out={tmp_path / 'scores'}")
    assert ended.status == 0, ended.stderr
    assert list(json.loads((tmp_path / "scores" / "scores.json").read_text())["runs"]) == ["run"]
    ended = hpa_cells("explore", f"fields={fields}", f"out={tmp_path / 'look'}")
    assert ended.status == 0, ended.stderr


def test_in_python(small_world: Any, tmp_path: Path, far: Any) -> None:
    out = f"{far.url}/run"
    settings = {"model": small_world.model, "segmenter": "precomputed", "device": "cpu"}
    masks = [f"segmenter.folder={small_world.masks}"]
    cells = package.predict(fields=small_world.fields, out=out, overrides=masks, **settings)
    assert cells.equals(package.read_table(out).cells)
    exported = package.export(table=Address(out), out=tmp_path / "cells.csv", format="csv")
    assert exported.read_text().count("\n") == 1 + len(cells)
    found = package.segment(fields=small_world.fields, out=f"{out}/masks", segmenter="watershed")
    assert found == Address(f"{out}/masks")


@pytest.mark.parametrize("verb", ["predict", "segment", "merge"])
@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("s4://bucket/run", "s4:// is not a protocol that is known: use s3, gs,"),
        ("s3:/bucket/run", "s3:/bucket/run is no whole address: write it as in s3://bucket/folder"),
        ("s3://bukcet/run", "since s3://bukcet is not there: make it first"),
        ("s3://locked/run", "s3://locked/run cannot be reached (NoCredentialsError: Unable to locate credentials)"),
        ("s3://bucket/file", "s3://bucket/file is a file where out=s3://bucket/file needs a folder"),
        ("https://example.org/run", "is on a web server, which takes no files: choose another `out`"),
    ],
)  # fmt: skip
def test_an_out_that_nothing_can_be_put_to_is_refused_before_any_work(
    hpa_cells: Program, bucket: Any, monkeypatch: pytest.MonkeyPatch, verb: str, out: str, told: str
) -> None:
    monkeypatch.setattr(import_module(f"hpa_cells.commands.{verb}"), "run", pytest.fail)
    bucket.objects["bucket/file"] = b"x"
    ended = hpa_cells(verb, *([] if verb == "merge" else ["fields=F"]), f"out={out}")
    assert ended.status == 1
    assert told in ended.stderr


def test_the_question_whether_anything_may_be_put_leaves_nothing(
    hpa_cells: Program, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("hpa_cells.commands.predict"), "run", lambda cfg: None)
    assert hpa_cells("predict", "fields=F", "out=s3://bucket/run").status == 0
    assert bucket.objects == {}


@pytest.mark.parametrize(
    ("verb", "settings"),
    [
        ("simulate", {"out": "s3://bucket/a"}),
        ("train", {"out": "s3://bucket/a"}),
        ("train", {"out": "O", "data.root": "s3://bucket/a"}),
        ("train", {"out": "O", "segmenter": "cell_table", "segmenter.folder": "s3://bucket/a"}),
        ("predict", {"fields": "F", "out": "O", "model": "s3://bucket/a"}),
        ("predict", {"fields": "F", "out": "O", "model": "[M,s3://bucket/a]"}),
        ("evaluate", {"table": "T", "truth": "s3://bucket/a", "out": "O"}),
        ("calibrate", {"table": "s3://bucket/a", "truth": "T", "out": "O"}),
        ("export", {"table": "T", "out": "s3://bucket/a"}),
        ("report", {"table": "T", "fields": "F", "out": "s3://bucket/a"}),
        ("explore", {"table": "s3://bucket/a", "out": "O"}),
    ],
)
def test_settings_that_take_no_address(
    hpa_cells: Program,
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    settings: dict[str, str],
) -> None:
    monkeypatch.setattr(import_module(f"hpa_cells.commands.{verb}"), "run", pytest.fail)
    ended = hpa_cells(verb, *(f"{name}={value}" for name, value in settings.items()))
    [name] = [name for name, value in settings.items() if "s3://" in value]
    assert ended.status == 1
    assert (
        f"`{name}` of {verb} is s3://bucket/a, and takes a path of this machine: copy the files, or mount the store."
        in ended.stderr
    )


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_sweep_keeps_its_record_here(hpa_cells: Program, verb: str) -> None:
    ended = hpa_cells(verb, "out=s3://bucket/run", "--multirun")
    assert ended.status == 2
    assert "`out=s3://bucket/run` is an address, and a sweep keeps its record on this machine" in ended.stderr
