"""The command, from fields to a checkpoint, on a handful of drawn fields."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hpa_cells.classes import get_class_set
from hpa_cells.commands import app
from hpa_cells.commands.settings import compose
from hpa_cells.commands.train import run
from hpa_cells.fields import write_field
from hpa_cells.models import CellClassifier, load_checkpoint
from hpa_cells.table import Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Channel, Field, Segmentation

NUM_FIELDS = 10


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def draw(index: int) -> tuple[Field, Segmentation]:
    """Two round cells; the protein fills them in every other field."""
    image = np.random.default_rng(index).integers(5, 15, (4, 64, 96), dtype=np.uint8)
    cells = np.zeros((64, 96), dtype=np.int32)
    for cell_id, middle in ((5, (28, 32)), (300, (68, 32))):
        cv2.circle(cells, middle, 18, cell_id, -1)
    image[Channel.MICROTUBULES][cells > 0] = 150
    image[Channel.ER][cells > 0] = 120
    image[Channel.NUCLEUS][cv2.erode((cells > 0).astype(np.uint8), np.ones((17, 17))) > 0] = 200
    if index % 2:
        image[Channel.PROTEIN][cells > 0] = 200
    field = Field(field_id=f"f{index:02d}", image=image, pixel_size_um=0.5)
    nuclei = np.where(image[Channel.NUCLEUS] == 200, cells, 0)
    return field, Segmentation(field_id=field.field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hpa_cells.cells import cell_rows, field_row

    root = tmp_path_factory.mktemp("data")
    class_set = get_class_set("hpa2021")
    lines = ["ID,Label"]
    with TableWriter(
        root / "truth", provenance=Provenance(version="0", class_set="hpa2021", source="test")
    ) as table:
        for index in range(NUM_FIELDS):
            field, segmentation = draw(index)
            write_field(field, root / "train")
            labels = np.zeros((2, 19), dtype=np.float32)
            labels[:, class_set.index("cytosol" if index % 2 else "negative")] = 1
            lines.append(f"{field.field_id},{labels[0].argmax()}")
            scores = CellScores(
                field_id=field.field_id,
                class_set=class_set,
                cell_ids=segmentation.cell_ids,
                probabilities=labels,
                field_probabilities=labels[0],
                embeddings=np.zeros((2, 0), dtype=np.float32),
            )
            table.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    return root


def overrides(root: Path, out: Path, *more: str) -> list[str]:
    return [
        f"data.root={root}",
        f"out={out}",
        f"crop_store={root / 'crops'}",
        "data.pixel_size_um=0.5",
        "encoder.options={channels:[4,4,8,8],stem_width:4}",
        "crops.size_px=16",
        "bags.fields_per_batch=4",
        "trainer=cpu",
        "trainer.max_epochs=3",
        "optimizer.lr=0.02",
        "logger=csv",
        "workers=1",
        "threads=1",
        *more,
    ]


def train(root: Path, out: Path, *more: str) -> None:
    run(compose("train", overrides(root, out, *more)))


class PressCtrlC(Callback):
    """Somebody presses Ctrl-C after the third step."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            signal.raise_signal(signal.SIGINT)


def main(verb: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["hpa-cells", verb, *arguments])
    with pytest.raises(SystemExit) as end:
        app.main()
    return int(end.value.code)


@pytest.mark.parametrize("method", ["naive", "dual_head"])
def test_a_checkpoint_from_fields_and_labels(root: Path, tmp_path: Path, method: str) -> None:
    train(root, tmp_path / "model", f"method={method}")
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.class_set.name == "hpa2021"
    assert checkpoint.crop_settings["size_px"] == 16
    assert checkpoint.optional_channels == frozenset()
    assert checkpoint.provenance["training"]["steps"] == 6
    assert checkpoint.provenance["data"]["training_fields"] == 8
    assert 0 < checkpoint.provenance["metrics"]["macro_average_precision"] <= 1
    assert (tmp_path / "model" / "training" / "logs" / "csv" / "metrics.csv").exists()
    settings = json.loads((tmp_path / "model" / "training" / "settings.json").read_text())
    assert settings["method"]["field_head"] == ("shared" if method == "naive" else "own")


def validations(out: Path) -> pd.DataFrame:
    """What the CSV log says of the average precision after each epoch."""
    log = pd.read_csv(out / "training" / "logs" / "csv" / "metrics.csv")
    return log[["step", "val/ap", "val/loss"]].dropna().reset_index(drop=True)


def test_it_ends_early_when_validation_no_longer_improves(root: Path, tmp_path: Path) -> None:
    settings = ("optimizer.lr=0", "callbacks.early_stopping.patience=2", "trainer.max_epochs=9")
    train(root, tmp_path / "model", *settings)
    assert len(validations(tmp_path / "model")) == 3
    assert load_checkpoint(tmp_path / "model").provenance["training"]["steps"] == 6


def test_mixed_precision_and_both_logs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    types: set[torch.dtype] = set()
    forward = CellClassifier.forward

    def spy(self: CellClassifier, *arguments: Any) -> Any:
        outputs = forward(self, *arguments)
        types.add(outputs.cell_logits.dtype)
        return outputs

    monkeypatch.setattr(CellClassifier, "forward", spy)
    # On maps of one pixel, as of crops of 16 px, a CPU's bfloat16 convolution may give gradients of NaN.
    settings = ("crops.size_px=32", "trainer.precision=bf16-mixed", "logger=csv_tensorboard")
    train(root, tmp_path / "model", *settings)
    assert torch.bfloat16 in types
    assert {each.dtype for each in load_checkpoint(tmp_path / "model").model.parameters()} == {torch.float32}
    events = EventAccumulator(str(tmp_path / "model" / "training" / "logs" / "tensorboard"))
    events.Reload()
    shown = [event.value for event in events.Scalars("val/ap")]
    np.testing.assert_allclose(shown, validations(tmp_path / "model")["val/ap"], rtol=1e-6)


def test_cell_labels_from_a_table_with_its_masks(root: Path, tmp_path: Path) -> None:
    truth = root / "truth"
    arguments = ["method=oracle", f"cell_labels={truth}", "segmenter=cell_table", f"segmenter.folder={truth}"]
    train(root, tmp_path / "model", *arguments, "augmentation.er_dropout=0.3")
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.provenance["data"]["training_cells"] == 16
    assert checkpoint.optional_channels == frozenset({Channel.ER})
    assert len(read_table(root / "truth").cells) == 2 * NUM_FIELDS


def test_cell_ids_that_do_not_match(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cells have no label .*segmenter=cell_table"):
        train(root, tmp_path / "model", "method=oracle", f"cell_labels={root / 'truth'}")


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(root, tmp_path / "whole")
    arguments = overrides(root, tmp_path / "model")
    monkeypatch.setattr(
        "hpa_cells.training.progress.TrainingProgress.on_train_batch_end",
        PressCtrlC.on_train_batch_end,
    )
    assert main("train", arguments, monkeypatch) == 130
    monkeypatch.undo()
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not (tmp_path / "model" / "checkpoint.json").exists()
    state = torch.load(tmp_path / "model" / "training" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3
    assert main("train", arguments, monkeypatch) == 0
    resumed, whole = (load_checkpoint(tmp_path / name) for name in ("model", "whole"))
    assert resumed.weights_hash == whole.weights_hash
    pd.testing.assert_frame_equal(validations(tmp_path / "model"), validations(tmp_path / "whole"))
    assert main("train", arguments, monkeypatch) == 0


def test_the_folder_may_be_named_in_another_way(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(root, tmp_path / "model", "debug=fast")
    monkeypatch.chdir(tmp_path)
    train(root, Path("model"), "debug=fast")


def test_a_stop_after_the_last_step_costs_no_step(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "model")
    before = load_checkpoint(tmp_path / "model")
    (tmp_path / "model" / "checkpoint.json").unlink()
    train(root, tmp_path / "model")
    assert load_checkpoint(tmp_path / "model").weights_hash == before.weights_hash
    assert load_checkpoint(tmp_path / "model").provenance == before.provenance


def test_other_settings_in_the_same_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(root, tmp_path / "model", "debug=fast")
    assert main("train", overrides(root, tmp_path / "model", "debug=fast", "seed=1"), monkeypatch) == 1
    assert "other settings (bags.seed: 0 -> 1; seed: 0 -> 1)" in capsys.readouterr().err
    train(root, tmp_path / "model", "debug=fast", "seed=1", "resume=false")
    assert load_checkpoint(tmp_path / "model").provenance["training"]["seed"] == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("encoder.name=resnt18", "timm has no network 'resnt18': did you mean"),
        ("method.pooling=median", "Pooling 'median' is unknown"),
        ("data.fold=7", "data.fold is 7"),
        ("bags.fields_per_batch=0", "bags.fields_per_batch is 0"),
        ("augmentation.zoom=-1", "augmentation.zoom is -1.0"),
        ("crops.sise_px=3", "crops.sise_px"),
        ("data.labels=[absent.csv]", "absent.csv does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argument: str,
    message: str,
) -> None:
    assert main("train", overrides(root, tmp_path / "model", argument), monkeypatch) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda fields: (fields / "f03_green.png").write_bytes(b"\x89PNG\r\n"),
            "f03_green.png cannot be used",
        ),
        (lambda fields: (fields / "f03_red.png").unlink(), "Field f03 has no red file"),
        (lambda fields: [path.unlink() for path in fields.iterdir()], "No fields in"),
    ],
    ids=["broken PNG", "missing channel", "empty folder"],
)
def test_fields_that_cannot_be_used(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    harm: Any,
    message: str,
) -> None:
    shutil.copytree(root / "train", tmp_path / "train")
    shutil.copy(root / "train.csv", tmp_path)
    harm(tmp_path / "train")
    arguments = overrides(tmp_path, tmp_path / "model")
    assert main("train", arguments, monkeypatch) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "model" / "checkpoint.json").exists()


# Those of the segmenter are trained in test_train_segmenter.py.
EXPERIMENTS = sorted(
    path.stem
    for path in (Path(app.conf_folder()) / "experiment").glob("*.yaml")
    if not path.stem.startswith("segmentation_")
)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains(root: Path, tmp_path: Path, experiment: str) -> None:
    arguments = [f"experiment={experiment}", "debug=fast", "encoder=tiny"]
    if "oracle" in experiment:
        arguments.append(f"cell_labels={root / 'truth'}")
    train(root, tmp_path / "model", *arguments)
    load_checkpoint(tmp_path / "model")
