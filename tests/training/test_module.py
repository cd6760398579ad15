"""Whole trainings on a few fields: they learn, and a stop anywhere changes nothing."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from hpa_cells.classes import get_class_set
from hpa_cells.training.bags import BagSettings
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.interruption import SaveOnInterrupt, TrainingInterruptedError
from hpa_cells.training.module import TrainingModule, macro_average_precision
from hpa_cells.training.outcome import load_best_weights, score_fields
from hpa_cells.training.progress import TrainingProgress
from hpa_cells.types import Channel

CLASS_SET = get_class_set("hpa2021")
BAGS = BagSettings(
    fields_per_batch=4,
    cells_per_field=3,
    balance=0.5,
    repeats={},
    mosaic=0.0,
    mosaic_fields=4,
    cutmix=0.0,
    cutmix_alpha=1.0,
    validation_cells_per_field=8,
    workers=0,
    seed=0,
)


@pytest.fixture(autouse=True)
def lightning_may_advise() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield


class Curve(Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.losses[trainer.global_step] = float(outputs["loss"])


class At(Callback):
    """Does something after a step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.action()


def kill() -> None:
    raise RuntimeError("killed")


def make_trainer(folder: Path, *extra: Callback, epochs: int = 4) -> tuple[Trainer, Curve]:
    curve = Curve()
    best = ModelCheckpoint(
        folder, filename="best", monitor="val/ap", mode="max", save_last=True, enable_version_counter=False
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[*extra, curve, EMAWeightAveraging(decay=0.9), best, SaveOnInterrupt(folder / "last.ckpt")],
    )
    return trainer, curve


def weights_of(module: TrainingModule) -> list[np.ndarray]:
    return [value.numpy().copy() for value in module.classifier.state_dict().values()]


def test_learns_a_few_fields_by_heart(
    tmp_path: Path, cells: LabelledCells, make_module: Callable[[], TrainingModule]
) -> None:
    trainer, curve = make_trainer(tmp_path, epochs=15)
    module = make_module()
    trainer.fit(module, BagData(cells, cells, BAGS))
    assert curve.losses[45] < curve.losses[1] / 4
    probabilities, labels = score_fields(
        module.classifier, BagData(cells, cells, BAGS).val_dataloader(), torch.device("cpu")
    )
    assert macro_average_precision(probabilities, labels) > 0.95


def test_made_up_cells_teach_what_no_field_is_labelled_with(
    tmp_path: Path, cells: LabelledCells, make_module: Callable[..., TrainingModule]
) -> None:
    negative = CLASS_SET.index("negative")
    assert not cells.labels[:, negative].any()
    dark = torch.rand(8, 4, 16, 16) * 40 / 255
    dark[:, Channel.PROTEIN] = 0
    said = []
    for made_up in (0.0, 1.0):
        module = make_module(made_up)
        make_trainer(tmp_path / str(made_up), epochs=40)[0].fit(module, BagData(cells, cells, BAGS))
        module.eval()
        logits = module(dark, torch.zeros(8, dtype=torch.int64)).cell_logits
        said.append(logits[:, negative].sigmoid().mean().item())
    assert said[0] < 0.1
    assert said[1] > 0.4


# An epoch has 3 steps: before the first validation, in the middle of an epoch, at its end, at its beginning.
@pytest.mark.parametrize(
    ("stop", "number"), [(1, signal.SIGINT), (5, signal.SIGTERM), (6, signal.SIGINT), (7, signal.SIGINT)]
)
def test_ctrl_c_and_resume_give_the_same_curve(
    tmp_path: Path, cells: LabelledCells, make_module: Callable[[], TrainingModule], stop: int, number: int
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    data = partial(BagData, cells, cells, BAGS)
    whole = make_module()
    trainer, expected = make_trainer(tmp_path / "whole")
    trainer.fit(whole, data())

    trainer, before = make_trainer(tmp_path / "parts", At(stop, lambda: signal.raise_signal(number)))
    with pytest.raises(TrainingInterruptedError, match=rf"Stopped after step {stop}") as stopped:
        trainer.fit(make_module(), data())
    assert stopped.value.signal_number == number
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    trainer, after = make_trainer(tmp_path / "parts")
    resumed = make_module()
    trainer.fit(resumed, data(), ckpt_path=tmp_path / "parts" / "last.ckpt")

    assert sorted(before.losses) == list(range(1, stop + 1))
    assert before.losses | after.losses == expected.losses
    for mine, theirs in zip(weights_of(resumed), weights_of(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    best = [torch.load(tmp_path / each / "best.ckpt", weights_only=True) for each in ("whole", "parts")]
    assert best[0]["global_step"] == best[1]["global_step"]


def test_a_kill_loses_no_more_than_an_epoch(
    tmp_path: Path, cells: LabelledCells, make_module: Callable[[], TrainingModule]
) -> None:
    data = partial(BagData, cells, cells, BAGS)
    trainer, expected = make_trainer(tmp_path / "whole")
    trainer.fit(make_module(), data())
    trainer, _ = make_trainer(tmp_path / "parts", At(8, kill))
    with pytest.raises(RuntimeError, match="killed"):
        trainer.fit(make_module(), data())
    trainer, after = make_trainer(tmp_path / "parts")
    trainer.fit(make_module(), data(), ckpt_path=tmp_path / "parts" / "last.ckpt")
    assert sorted(after.losses) == [7, 8, 9, 10, 11, 12]
    assert after.losses.items() <= expected.losses.items()


def test_best_weights_are_the_averaged_ones(
    tmp_path: Path, cells: LabelledCells, make_module: Callable[[], TrainingModule]
) -> None:
    data = partial(BagData, cells, cells, BAGS)
    trainer, _ = make_trainer(tmp_path, epochs=2)
    module = make_module()
    trainer.fit(module, data())
    load_best_weights(module.classifier, tmp_path / "best.ckpt")
    scores = score_fields(module.classifier, data().val_dataloader(), torch.device("cpu"))
    found = macro_average_precision(*scores)
    best = trainer.checkpoint_callback.best_model_score
    assert found == pytest.approx(float(best))


def test_progress_tells_steps_loss_and_precision(
    tmp_path: Path,
    cells: LabelledCells,
    make_module: Callable[[], TrainingModule],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1)
    trainer.enable_progress_bar = True
    progress = TrainingProgress()
    trainer.callbacks.insert(0, progress)
    trainer.fit(make_module(), BagData(cells, cells, BAGS))
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert "AP 0." in shown.err
    assert not shown.out


def test_macro_average_precision_leaves_absent_classes_out() -> None:
    labels = np.array([[1, 0], [0, 0]], dtype=bool)
    assert macro_average_precision(np.array([[0.9, 0.9], [0.1, 0.8]], dtype=np.float32), labels) == 1
    assert macro_average_precision(np.zeros((2, 2), dtype=np.float32), np.zeros((2, 2), dtype=bool)) == 0
