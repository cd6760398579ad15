"""Models that see squares of fields and know no cells, from fields of 2018 to a submission."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hpa_cells.commands import predict, train
from hpa_cells.commands.settings import compose
from hpa_cells.export import read_kaggle2018
from hpa_cells.fields import read_label_table, write_field
from hpa_cells.metrics import average_precision_per_class
from hpa_cells.models import load_checkpoint
from hpa_cells.table import Column, read_table
from hpa_cells.types import Channel, Field

Program = Callable[..., Any]
# Classes of 2018: nucleoplasm, cytosol, mitotic spindle.
SHOWN = (0, 25, 17)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def draw(index: int) -> Field:
    """Protein in few places, in most, or nowhere: every square of a field shows what the field does."""
    rng = np.random.default_rng(index)
    image = rng.integers(5, 60, (4, 80, 96), dtype=np.uint8)
    image[Channel.PROTEIN] = 240 * (rng.random((80, 96)) < (0.1, 0.7, 0.0)[index % 3])
    return Field(field_id=f"f{index:02d}", image=image, pixel_size_um=0.5)


def write(root: Path, name: str, indices: range) -> None:
    lines = ["Id,Target"]
    for index in indices:
        write_field(draw(index), root / name)
        lines.append(f"f{index:02d},{SHOWN[index % 3]}")
    (root / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write(root, "train", range(30))
    write(root, "test", range(60, 72))
    return root


def overrides(root: Path, out: Path, *more: str) -> list[str]:
    """Without any cells: the table that shall have them does not exist."""
    return [
        "data=hpa2018",
        f"data.root={root}",
        f"out={out}",
        f"crop_store={root / 'store'}",
        "data.pixel_size_um=0.5",
        "segmenter=cell_table",
        f"segmenter.folder={root / 'nowhere'}",
        "view=squares",
        "view.um_per_px=0.5",
        "view.size_px=32",
        "view.num_training=6",
        "view.num_predicted=4",
        "method=naive",
        "pooling=max",
        "encoder.options={channels:[4,8,12,16],stem_width:4}",
        "init=none",
        "bags.fields_per_batch=6",
        "bags.cells_per_field=2",
        "trainer=cpu",
        "optimizer.lr=0.02",
        "callbacks.averaging=null",
        "callbacks.early_stopping=null",
        "logger=csv",
        "workers=1",
        "threads=1",
        *more,
    ]


def run_train(root: Path, out: Path, *more: str) -> None:
    train.run(compose("train", overrides(root, out, *more)))


def run_predict(root: Path, out: Path, model: object, *more: str) -> None:
    settings = [
        "pixel_size_um=0.5",
        "segmenter=cell_table",
        f"segmenter.folder={root / 'nowhere'}",
        "device=cpu",
    ]
    predict.run(
        compose("predict", [f"fields={root / 'test'}", f"model={model}", f"out={out}", *settings, *more])
    )


@pytest.fixture(scope="module")
def model(root: Path) -> Path:
    run_train(root, root / "model", "trainer.max_epochs=20")
    return root / "model"


@pytest.fixture(scope="module")
def table(root: Path, model: Path) -> Path:
    run_predict(root, root / "run", model)
    return root / "run"


def test_fields_are_learned_without_cells(root: Path, model: Path, table: Path) -> None:
    """Far better than chance, which is a third."""
    checkpoint = load_checkpoint(model)
    assert checkpoint.model.settings.view == "squares"
    assert checkpoint.square_settings == {
        "um_per_px": 0.5,
        "field_px": None,
        "size_px": 32,
        "num_training": 6,
        "num_predicted": 4,
        "seed": 0,
    }
    assert (checkpoint.crop_settings, checkpoint.field_settings) == ({}, None)
    assert checkpoint.provenance["data"]["training_squares"] == 6 * 24
    assert "training_cells" not in checkpoint.provenance["data"]
    said = read_table(table)
    assert len(said.cells) == 0
    labels = read_label_table(root / "test.csv")
    assert list(labels.field_ids) == list(said.fields[Column.FIELD_ID])
    precision = average_precision_per_class(said.field_probabilities(), labels.labels)
    assert np.mean([precision[index] for index in SHOWN]) > 0.8
    assert said.provenance.settings["segmenter"] is None
    assert said.provenance.settings["squares"] == checkpoint.square_settings


def test_validation_pools_as_many_squares_as_prediction(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    original = train._validate

    def spy(cfg: Any, trainer: Any, module: Any, data: Any) -> Any:
        seen.extend((len(bags.images), len(bags.field_labels)) for bags in data.val_dataloader())
        return original(cfg, trainer, module, data)

    monkeypatch.setattr(train, "_validate", spy)
    run_train(root, tmp_path / "model", "debug=fast")
    assert sum(fields for _, fields in seen) == 6
    assert all(squares == 4 * fields for squares, fields in seen)


def test_other_poolings_and_the_whole_field(root: Path, tmp_path: Path) -> None:
    """Shrunk instead of cut: one square, of which mean and maximum are the same."""
    whole = ("view.um_per_px=null", "view.field_px=32", "view.num_training=1", "view.num_predicted=1")
    run_train(root, tmp_path / "model", *whole, "bags.cells_per_field=1", "debug=fast")
    run_predict(root, tmp_path / "run", tmp_path / "model")
    config = tmp_path / "model" / "checkpoint.json"
    changed = json.loads(config.read_text())
    changed["model"]["pooling"]["name"] = "mean"
    config.write_text(json.dumps(changed))
    run_predict(root, tmp_path / "mean", tmp_path / "model")
    np.testing.assert_allclose(
        read_table(tmp_path / "run").field_probabilities(),
        read_table(tmp_path / "mean").field_probabilities(),
        atol=1e-6,
    )


def test_the_log_says_that_there_are_no_cells(
    root: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run_predict(root, tmp_path / "run", model)
        run_train(root, tmp_path / "model", "debug=fast")
    assert "no cell is looked for, the table has fields only" in caplog.text
    assert "24 training fields with 144 squares." in caplog.text


def test_a_submission_of_2018_and_its_scores(
    root: Path, model: Path, table: Path, tmp_path: Path, hpa_cells: Program
) -> None:
    ended = hpa_cells(
        "export",
        f"table={table}",
        f"out={tmp_path / 'mine.csv'}",
        "format=kaggle2018",
        f"format.model={model}",
    )
    assert ended.status == 0, ended.stderr
    called = read_kaggle2018(tmp_path / "mine.csv")
    said, truth = read_table(table), read_label_table(root / "test.csv")
    assert called.field_ids == truth.field_ids
    thresholds = np.nan_to_num(load_checkpoint(model).thresholds, nan=0.5)
    expected = said.field_probabilities() >= thresholds
    assert (called.labels[expected.any(axis=1)] == expected[expected.any(axis=1)]).all()
    rules = (f"thresholds.labels={root / 'train.csv'}", "thresholds=ratio")
    ended = hpa_cells(
        "evaluate", f"table={table}", f"truth={root / 'test.csv'}", f"out={tmp_path / 'scores'}", *rules
    )
    assert ended.status == 0, ended.stderr
    scores = pd.read_csv(tmp_path / "scores" / "per_class.csv").set_index("class_key")
    assert scores["field_ap"].iloc[list(SHOWN)].mean() > 0.8


def test_what_is_about_cells_has_none(
    root: Path, model: Path, table: Path, tmp_path: Path, hpa_cells: Program
) -> None:
    """A clear error, or a file that says so."""
    ended = hpa_cells("export", f"table={table}", f"out={tmp_path / 'cells.csv'}", "format=csv")
    assert ended.status == 0, ended.stderr
    assert "0 cells of 12 fields" in ended.stdout + ended.stderr
    assert len((tmp_path / "cells.csv").read_text().splitlines()) == 1
    report = (f"table={table}", f"fields={root / 'test'}", f"out={tmp_path / 'report'}")
    ended = hpa_cells("report", *report)
    assert ended.status == 0, ended.stderr
    ended = hpa_cells("explore", f"out={tmp_path / 'look'}", f"embedding={model}", f"fields={root / 'test'}")
    assert ended.status == 1
    assert "is a model of squares of fields, which embeds no cells" in ended.stderr


def test_2021_wants_cells(root: Path, tmp_path: Path, hpa_cells: Program) -> None:
    labels = pd.read_csv(root / "train.csv").rename(columns={"Id": "ID", "Target": "Label"})
    labels["Label"] = labels["Label"].map({0: 0, 25: 16, 17: 11})
    labels.to_csv(tmp_path / "train.csv", index=False)
    run_train(
        root, tmp_path / "model", "data=hpa2021", f"data.labels=[{tmp_path / 'train.csv'}]", "debug=fast"
    )
    run_predict(root, tmp_path / "run", tmp_path / "model")
    ended = hpa_cells(
        "export", f"table={tmp_path / 'run'}", f"out={tmp_path / 'mine.csv'}", "format=kaggle2021"
    )
    assert ended.status == 1
    assert "12 fields with probabilities and no cell, as of a model that sees squares" in ended.stderr
    assert not (tmp_path / "mine.csv").exists()


def test_folds_and_heads(root: Path, tmp_path: Path) -> None:
    """Cross-fitted, and on an encoder that stays as it is."""
    more = ("cross_fit=true", "data.num_folds=3", "heads=one_vs_rest", "method=dual_head")
    run_train(root, tmp_path / "round", *more, "pooling=mean", "heads.C=[0.1]")
    said = read_table(tmp_path / "round" / "out_of_fold")
    assert (len(said.fields), len(said.cells)) == (30, 0)
    assert np.isfinite(said.field_probabilities()).all()
    run_predict(root, tmp_path / "run", tmp_path / "round")
    assert np.isfinite(read_table(tmp_path / "run").field_probabilities()).all()


def test_a_store_is_cut_as_it_was(root: Path, tmp_path: Path) -> None:
    """A store of its own, and the shared one that is there already: the same weights."""
    run_train(root, tmp_path / "shared", "debug=fast")
    run_train(root, tmp_path / "own", "debug=fast", f"crop_store={tmp_path / 'store'}")
    hashes = {load_checkpoint(tmp_path / name).weights_hash for name in ("shared", "own")}
    assert len(hashes) == 1


def test_a_network_that_cannot_read_squares_of_this_size(tmp_path: Path, hpa_cells: Program) -> None:
    (tmp_path / "train.csv").write_text("ID,Label\n")
    settings = ["method=naive", "view=squares", "view.size_px=64", "encoder=inception_resnet_v2", "init=none"]
    ended = hpa_cells("train", f"data.root={tmp_path}", f"out={tmp_path / 'model'}", *settings)
    assert ended.status == 1
    assert "inception_resnet_v2" in ended.stderr
    assert "64" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["view.um_per_px=0.5", "view.field_px=64"], "view.um_per_px is 0.5 and view.field_px 64"),
        (["view.size_px=4"], "view.size_px is 4"),
        (["view.size_px=null"], "view.size_px is null: view=squares needs a value"),
        (["view.num_predicted=9"], "view.num_predicted is 9, more than view.num_training, 6"),
        (["method=cell_cam", "view=squares"], "method.consistency is 0.25, which compares a field"),
        (["cell_labels=somewhere"], "cell_labels is somewhere, but view=squares knows no cells"),
        (["area_weight.inner_um2=200"], "area_weight goes up to 200 um2, but view=squares knows no cells"),
        (["view.masked=true"], "`view.masked` is not a setting of train"),
        (["+view.masked=true"], "view.masked is True, but view=squares has no such setting: use view=field"),
    ],
)
def test_what_cannot_be_is_said_before_any_field_is_read(
    root: Path, tmp_path: Path, hpa_cells: Program, arguments: list[str], message: str
) -> None:
    ended = hpa_cells(
        "train", *overrides(root, tmp_path / "model", f"crop_store={tmp_path / 'store'}", *arguments)
    )
    assert ended.status in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "store").exists()
