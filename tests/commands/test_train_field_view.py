"""Methods that see whole fields, from fields to a cell table, on a few drawn fields."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import compose
from hpa_cells.commands.train import run
from hpa_cells.fields import write_field
from hpa_cells.metrics import average_precision_per_class
from hpa_cells.models import load_checkpoint, load_models
from hpa_cells.segmentation import write_segmentation
from hpa_cells.table import Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Channel, Field, Segmentation

CLASS_SET = get_class_set("hpa2021")
SHOWN = [CLASS_SET.index(key) for key in ("nucleoplasm", "cytosol", "negative")]
METHODS = ["mask_pooled", "cell_cam"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def draw(index: int) -> tuple[Field, Segmentation, NDArray[np.float32]]:
    """Three cells with the protein of the field, and one of another: in the nucleus, around it, or nowhere."""
    rng = np.random.default_rng(index)
    image = rng.integers(5, 15, (4, 72, 80), dtype=np.uint8)
    cells, nuclei = np.zeros((2, 72, 80), dtype=np.int32)
    kinds = np.full(4, index % 3)
    kinds[rng.integers(4)] = (index + 1) % 3
    labels = np.zeros((4, len(CLASS_SET)), dtype=np.float32)
    for cell, kind in enumerate(kinds):
        cell_id = 9 + 100_000 * cell
        middle = (20 + 40 * (cell % 2), 18 + 36 * (cell // 2))
        cv2.circle(cells, middle, 16, cell_id, -1)
        cv2.circle(nuclei, middle, 8, cell_id, -1)
        is_cell, is_nucleus = cells == cell_id, nuclei == cell_id
        image[Channel.PROTEIN][is_nucleus if kind == 0 else is_cell & ~is_nucleus] += 170 if kind < 2 else 0
        labels[cell, SHOWN[kind]] = 1
    image[Channel.MICROTUBULES][cells > 0] = 150
    image[Channel.ER][cells > 0] = 120
    image[Channel.NUCLEUS][nuclei > 0] = 200
    field = Field(field_id=f"f{index:02d}", image=image, pixel_size_um=0.5)
    return field, Segmentation(field_id=field.field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5), labels


def write(root: Path, name: str, indices: range) -> None:
    """Fields, their masks, a truth and a label table that names what most cells show."""
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    lines = ["ID,Label"]
    with TableWriter(root / f"truth_{name}", provenance=provenance) as table:
        for index in indices:
            field, segmentation, labels = draw(index)
            write_field(field, root / name)
            write_segmentation(segmentation, root / f"masks_{name}")
            lines.append(f"{field.field_id},{SHOWN[index % 3]}")
            scores = CellScores(
                field_id=field.field_id,
                class_set=CLASS_SET,
                cell_ids=segmentation.cell_ids,
                probabilities=labels,
                field_probabilities=np.eye(len(CLASS_SET), dtype=np.float32)[SHOWN[index % 3]],
                embeddings=np.zeros((4, 0), dtype=np.float32),
            )
            table.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    (root / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write(root, "train", range(48))
    write(root, "test", range(60, 84))
    return root


def overrides(root: Path, out: Path, *more: str) -> list[str]:
    return [
        "method=naive",
        f"data.root={root}",
        f"out={out}",
        f"crop_store={root / 'store'}",
        "data.pixel_size_um=0.5",
        "segmenter=precomputed",
        f"segmenter.folder={root / 'masks_train'}",
        "encoder.options={channels:[4,8,12,16],stem_width:4}",
        "init=none",
        "bags.fields_per_batch=8",
        "trainer=cpu",
        "trainer.max_epochs=3",
        "optimizer.lr=0.02",
        "logger=csv",
        "workers=1",
        "threads=1",
        *more,
    ]


def train(root: Path, out: Path, *more: str) -> None:
    """With maps of 8 px a place, as fine as cells of 32 px need."""
    run(compose("train", overrides(root, out, "view.um_per_px=0.5", "view.stride=8", *more)))


def predict(hpa_cells: Callable[..., Any], root: Path, out: Path, model: object, *more: str) -> pd.DataFrame:
    ended = hpa_cells(
        "predict",
        f"fields={root / 'test'}",
        f"model={model}",
        f"out={out}",
        "pixel_size_um=0.5",
        "segmenter=precomputed",
        f"segmenter.folder={root / 'masks_test'}",
        *more,
    )
    assert ended.status == 0, ended.stderr
    return read_table(out).cells


def cell_precision(cells: pd.DataFrame, root: Path) -> float:
    """Mean average precision of single cells over the three classes that there are."""
    truth = read_table(root / "truth_test").cells
    both = cells.merge(truth, on=[Column.FIELD_ID, Column.CELL_ID], suffixes=("", "_true"))
    assert len(both) == len(truth) == len(cells)
    columns = np.array(Column.probabilities(CLASS_SET))[SHOWN]
    each = average_precision_per_class(
        both[columns].to_numpy(), both[[f"{name}_true" for name in columns]].to_numpy() > 0.5
    )
    return float(each.mean())


@pytest.mark.parametrize("method", METHODS)
def test_cells_are_learned_from_labels_of_fields(
    root: Path, tmp_path: Path, hpa_cells: Callable[..., Any], method: str
) -> None:
    """Far better than chance, see the test below; each field has a cell that its label is wrong for."""
    more = ["trainer.max_epochs=15", "callbacks.averaging=null", "callbacks.early_stopping=null"]
    train(root, tmp_path / "model", f"method={method}", "view.stride=32", *more)
    log = pd.read_csv(tmp_path / "model" / "training" / "logs" / "csv" / "metrics.csv")
    losses = log["train/loss_epoch"].dropna().to_numpy()
    assert losses[-3:].mean() < 0.5 * losses[:2].mean()
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.model.settings.view == "field"
    assert checkpoint.model.settings.map_stride == 32
    assert checkpoint.field_settings == {"um_per_px": 0.5, "masked": True}
    assert checkpoint.crop_settings == {}
    assert checkpoint.provenance["data"]["training_cells"] == 4 * 38
    cells = predict(hpa_cells, root, tmp_path / "run", tmp_path / "model")
    assert cell_precision(cells, root) > 0.55
    turned = predict(hpa_cells, root, tmp_path / "turned", tmp_path / "model", "tta=d4", "fusion=product")
    assert not np.allclose(turned[Column.probabilities(CLASS_SET)], cells[Column.probabilities(CLASS_SET)])


def test_what_chance_is(root: Path) -> None:
    """What the threshold above is to be compared with: random scores, and a cell's field named for it."""
    truth = read_table(root / "truth_test").cells
    labels = pd.read_csv(root / "test.csv").set_index("ID")["Label"]
    cells = truth.copy()
    columns = Column.probabilities(CLASS_SET)
    cells[columns] = np.eye(len(CLASS_SET))[labels[cells[Column.FIELD_ID]]]
    assert cell_precision(cells, root) < 0.7
    cells[columns] = np.random.default_rng(0).random((len(cells), len(columns)))
    assert cell_precision(cells, root) < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    train(root, tmp_path / "whole", f"method={method}")

    def press_ctrl_c(self: Any, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 5:
            signal.raise_signal(signal.SIGINT)

    name = "hpa_cells.training.progress.TrainingProgress.on_train_batch_end"
    monkeypatch.setattr(name, press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train(root, tmp_path / "stopped", f"method={method}")
    monkeypatch.undo()
    assert not (tmp_path / "stopped" / "checkpoint.json").exists()
    train(root, tmp_path / "stopped", f"method={method}")
    hashes = [load_checkpoint(tmp_path / each).weights_hash for each in ("whole", "stopped")]
    assert hashes[0] == hashes[1]


def test_fields_are_made_ready_once_and_crops_lie_beside_them(root: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    written = []
    for method in METHODS:
        train(root, tmp_path / method, f"method={method}", f"crop_store={store}", "debug=fast")
        written.append({path: path.stat().st_mtime_ns for path in store.rglob("*.npy")})
    assert written[0] == written[1]
    run(compose("train", overrides(root, tmp_path / "c", f"crop_store={store}", "debug=fast")))
    assert len(list(store.iterdir())) == 2


def test_a_second_round_on_whole_fields(root: Path, tmp_path: Path, hpa_cells: Callable[..., Any]) -> None:
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    train(root, teacher, "method=mask_pooled", "cross_fit=true", "data.num_folds=2", "debug=fast")
    table = read_table(teacher / "out_of_fold")
    assert len(table.cells) == 192
    more = ["method=oracle", "view=field", f"cell_labels={teacher / 'out_of_fold'}", "soft_labels=calibrated"]
    train(root, student, *more, "debug=fast")
    assert load_checkpoint(student).model.settings.view == "field"
    run(compose("train", overrides(root, tmp_path / "crops", "debug=fast", "crops.size_px=32")))
    models = f"[{teacher},{student},{tmp_path / 'crops'}]"
    cells = predict(hpa_cells, root, tmp_path / "run", models)
    members = load_models([teacher, student, tmp_path / "crops"]).members
    assert [each.model.settings.view for each in members] == ["field"] * 3 + ["crops"]
    assert len(cells) == 96


def test_true_labels_of_cells_are_learned(root: Path, tmp_path: Path, hpa_cells: Callable[..., Any]) -> None:
    more = ["method=oracle", "view=field", f"cell_labels={root / 'truth_train'}", "view.stride=32"]
    still = ["trainer.max_epochs=15", "callbacks.averaging=null", "callbacks.early_stopping=null"]
    train(root, tmp_path / "model", *more, *still)
    cells = predict(hpa_cells, root, tmp_path / "run", tmp_path / "model")
    assert cell_precision(cells, root) > 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["method=mask_pooled", "encoder=vit_small"], "makes no map of a field"),
        (["method=mask_pooled", "encoder=densenet121", "view.stride=8"], "set view.stride=null"),
        (["method=mask_pooled", "view.stride=12"], "view.stride is 12: use 8, 16, 32, or null"),
        (["method=mask_pooled", "made_up.share=0.1"], "made_up.share is 0.1, but cells are made up of crops"),
        (["method=cell_cam", "view=crops"], "method.consistency is 0.25, which compares a field"),
        (["method=mask_pooled", "view.um_per_px=0"], "view.um_per_px is 0.0: give a positive number"),
        (["view.masked=false"], "`view.masked` is not a setting of train"),
    ],
)
def test_what_cannot_be_is_said_before_any_field_is_read(
    root: Path, tmp_path: Path, hpa_cells: Callable[..., Any], arguments: list[str], message: str
) -> None:
    place = tmp_path / "store"
    given = [f"out={tmp_path / 'model'}", f"data.root={root}", "init=none", f"crop_store={place}", *arguments]
    ended = hpa_cells("train", *given)
    assert ended.status in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not place.exists()
