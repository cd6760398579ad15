"""The command, from fields to a checkpoint, on a handful of drawn fields."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hpa_cells.commands import app
from hpa_cells.commands.settings import compose, conf_folder, to_settings
from hpa_cells.commands.train import run
from hpa_cells.commands.training_model import first_weights as weights_to_start_from
from hpa_cells.fields import find_fields
from hpa_cells.models import CellClassifier, EncoderSettings, Ensemble, load_checkpoint, load_models
from hpa_cells.prediction import Finished, LocalRunner, PredictionSettings, predict_fields
from hpa_cells.segmentation import TableMasks
from hpa_cells.table import Provenance, TableWriter, read_table
from hpa_cells.training.labelled import DataSettings, find_labelled_fields
from hpa_cells.types import Channel

NUM_FIELDS = 10


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(drawn: Any) -> Path:
    """Drawn fields, labels and truth."""
    assert drawn.num_fields == NUM_FIELDS
    return drawn.root  # type: ignore[no-any-return]


def overrides(root: Path, out: Path, *more: str) -> list[str]:
    return [
        f"data.root={root}",
        f"out={out}",
        f"crop_store={root / 'crops'}",
        "method=dual_head",
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


ONE_STEP = ("trainer.max_steps=1", "method=naive")


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


def test_cross_fitting_scores_every_field_by_the_model_that_has_not_seen_it(
    root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "round"
    settings = [
        "cross_fit=true",
        "data.num_folds=2",
        "segmenter=cell_table",
        f"segmenter.folder={root / 'truth'}",
    ]
    train(root, out, "method=naive", *settings)
    table = read_table(out / "out_of_fold")
    assert sorted(table.fields["field_id"]) == [f"f{index:02d}" for index in range(NUM_FIELDS)]
    models = [load_models(out / f"fold-{fold}") for fold in range(2)]
    assert models[0].weights_hash != models[1].weights_hash
    assert table.provenance.settings["weights_of_folds"] == [each.weights_hash for each in models]
    for fold, model in enumerate(models):
        unseen = out_of_fold_ids(out / f"fold-{fold}", root)
        own = predict_with(model, root, unseen, tmp_path / f"own-{fold}")
        theirs = table.cells[table.cells["field_id"].isin(unseen)].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, theirs)

    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    train(root, out, "method=naive", *settings)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == written

    # The second round: its labels are those scores, constrained by the field's.
    student = [f"cell_labels={out / 'out_of_fold'}", "soft_labels=calibrated", "method=oracle", *settings[2:]]
    train(root, tmp_path / "student", *student)
    assert load_checkpoint(tmp_path / "student").provenance["settings"]["soft_labels"]["rule"] == "calibrated"


def out_of_fold_ids(model: Path, root: Path) -> list[str]:
    """Fields that were for validation in this training."""
    data = load_checkpoint(model).provenance["settings"]["data"]
    fields = find_labelled_fields(DataSettings(**data), optional=frozenset())
    chosen = np.flatnonzero(fields.folds == data["fold"])
    return [fields.table.field_ids[row] for row in chosen]


def predict_with(models: Ensemble, root: Path, field_ids: list[str], out: Path) -> pd.DataFrame:
    """Cells of these fields by the way of the other command."""
    sources = [source for source in find_fields(root / "train") if source.field_id in field_ids]
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(out, provenance=provenance) as writer:
        outcomes = predict_fields(
            sources,
            segmenter=TableMasks(folder=str(root / "truth")),
            models=models,
            writer=writer,
            settings=PredictionSettings(pixel_size_um=0.5, embeddings=False),
            runner=LocalRunner(),
        )
        assert all(isinstance(each, Finished) for each in outcomes)
    return read_table(out).cells


def test_another_loss(root: Path, tmp_path: Path) -> None:
    chosen = {"gamma": 1.5, "class_weights": "one_minus_share", "smoothing": 0.1, "weigh_equally": "fields"}
    settings = [f"loss.{name}={value}" for name, value in chosen.items()]
    train(root, tmp_path / "model", "debug=fast", "loss=focal", *settings)
    trained_with = load_checkpoint(tmp_path / "model").provenance["settings"]["loss"]
    assert trained_with["name"] == "focal"
    assert chosen.items() <= trained_with.items()


def first_weights(out: Path) -> dict[str, torch.Tensor]:
    """The weights after a step that changes nothing."""
    return load_checkpoint(out).model.state_dict()


def test_a_training_goes_on_from_another_model(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "earlier", "method=naive")
    still = [
        "optimizer.lr=0",
        "trainer.max_epochs=1",
        "callbacks.averaging=null",
        f"init={tmp_path / 'earlier'}",
    ]
    train(root, tmp_path / "later", "method=dual_head", *still)
    earlier, later = first_weights(tmp_path / "earlier"), first_weights(tmp_path / "later")
    learned = [name for name, value in earlier.items() if value.ndim > 1]
    assert any(name.startswith("encoder.") for name in learned)
    for name in learned:
        torch.testing.assert_close(later[name], earlier[name])
    # The first has no head of its own for fields: that of cells is where the other begins.
    torch.testing.assert_close(later["field_head.weight"], earlier["cell_head.weight"])

    train(root, tmp_path / "fresh", "method=naive", *still[:3], "init=none")
    assert not torch.equal(first_weights(tmp_path / "fresh")["cell_head.weight"], earlier["cell_head.weight"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "shipped"),
        (["encoder=tiny"], "encoder"),
        (["encoder=resnet18"], "encoder"),
        (["init=none"], "none"),
        (["encoder.weights_file=mine.safetensors"], "encoder"),
        (["init=timm"], "timm"),
        (["init=runs/mine"], "runs/mine"),
    ],
)
def test_where_the_first_weights_come_from(overrides: list[str], expected: str) -> None:
    cfg = compose("train", ["out=x", "data.root=y", *overrides])
    assert weights_to_start_from(cfg.init, to_settings(EncoderSettings, cfg.encoder)) == expected


def test_a_start_that_does_not_fit(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "earlier", "method=naive", "trainer.max_epochs=1")
    with pytest.raises(ValueError, match="choose the same `encoder`, or init=none"):
        train(root, tmp_path / "later", "encoder.options.stem_width=8", f"init={tmp_path / 'earlier'}")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(root, tmp_path / "later", f"init={tmp_path / 'nowhere'}")


def test_first_weights_of_the_same_name_that_were_trained_again_are_others(
    root: Path, tmp_path: Path
) -> None:
    start = [*ONE_STEP, f"init={tmp_path / 'earlier'}"]
    train(root, tmp_path / "earlier", *ONE_STEP)
    train(root, tmp_path / "later", *start)
    train(root, tmp_path / "later", *start)
    train(root, tmp_path / "earlier", *ONE_STEP, "seed=5", "resume=false")
    with pytest.raises(ValueError, match=r"other settings \(sha256_of\.init: "):
        train(root, tmp_path / "later", *start)


# An epoch has two batches: less than one, and one and a half.
@pytest.mark.parametrize("steps", [1, 3])
def test_the_last_step_is_validated_and_saved_wherever_it_is(root: Path, tmp_path: Path, steps: int) -> None:
    train(root, tmp_path, f"trainer.max_steps={steps}", "trainer.max_epochs=-1")
    saved = torch.load(tmp_path / "training/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == steps
    assert load_checkpoint(tmp_path).provenance["training"]["steps"] == steps
    # Lightning counts the steps before that of a row.
    assert validations(tmp_path)["step"].tolist()[-1] == steps - 1


def test_edited_labels_are_another_training(root: Path, tmp_path: Path) -> None:
    labels = tmp_path / "train.csv"
    labels.write_text((root / "train.csv").read_text())
    settings = (f"data.labels=[{labels}]", "trainer.max_epochs=1")
    train(root, tmp_path / "model", *settings)
    train(root, tmp_path / "model", *settings)
    head, first, *others = labels.read_text().splitlines()
    labels.write_text("\n".join([head, f"{first.split(',')[0]},0", *others]) + "\n")
    with pytest.raises(ValueError, match=r"holds a training with other settings \(sha256_of\.data\.labels"):
        train(root, tmp_path / "model", *settings)


def test_what_the_fields_are_is_in_the_card(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "model", "about=Drawn by a test.", "trainer.max_epochs=1")
    assert load_checkpoint(tmp_path / "model").provenance["about"] == "Drawn by a test."
    card = (tmp_path / "model" / "README.md").read_text()
    assert "\nDrawn by a test.\n" in card
    assert "| first weights | none |" in card


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
        ("pooling.name=median", "Pooling 'median' is unknown"),
        ("pooling=by_class", "method.field_head=shared"),
        ("+pooling.exceptions.spindle=max", "Class 'spindle' is not in class set hpa2021"),
        ("loss.smoothing=1", "loss.smoothing is 1.0"),
        ("method.cell_weight=-1", "method.cell_weight -1.0"),
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


POOLINGS = sorted(path.stem for path in (conf_folder() / "pooling").glob("*.yaml"))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_trains(root: Path, tmp_path: Path, pooling: str) -> None:
    train(root, tmp_path / "model", f"pooling={pooling}", "method.field_head=shared", "debug=fast")
    settings = load_checkpoint(tmp_path / "model").model.settings.pooling
    assert settings.name == ("mean" if pooling == "by_class" else pooling)
    assert settings.exceptions == ({"11": "max"} if pooling == "by_class" else {})


# Those of the segmenter are trained in test_train_segmenter.py, those of 2018 in test_train_2018.py.
EXPERIMENTS = sorted(
    path.stem
    for path in (Path(app.conf_folder()) / "experiment").glob("*.yaml")
    if not path.stem.startswith("segmentation_") and not path.stem.endswith("_2018")
)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains(root: Path, tmp_path: Path, experiment: str) -> None:
    # In 16 bits a network as narrow as this one gave NaN now and then.
    arguments = [
        f"experiment={experiment}",
        "debug=fast",
        "encoder=tiny",
        "trainer.precision=32-true",
        "data.num_folds=5",
    ]
    if "oracle" in experiment:
        arguments.append(f"cell_labels={root / 'truth'}")
    train(root, tmp_path / "model", *arguments)
    load_checkpoint(tmp_path / "model")
