"""Which settings a training may go on with: all that change nothing of its result."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hpa_cells.commands.settings import compose
from hpa_cells.commands.training_run import settings_with_effect
from hpa_cells.models import load_checkpoint
from hpa_cells.training.run_folder import RunFolder

CLASSIFIER = ("out=m", "data.root=sim", "init=first")
SEGMENTER = ("out=m", "data.root=sim", "experiment=segmentation_unet", "segmentation.real_data=real")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def identity_of(*settings: str) -> dict[str, Any]:
    return settings_with_effect(compose("train", list(settings)))


@pytest.mark.parametrize(
    ("begun", "changes"),
    [
        (CLASSIFIER, ("out=./n", "workers=9", "bags.workers=4", "threads=3", "logger=none")),
        (CLASSIFIER, ("callbacks.progress=null", "callbacks.learning_rate=null")),
        (CLASSIFIER, ("data.root=./sim/", "init=./first", "cell_labels=null")),
        (CLASSIFIER, ("data.fields=[sim//train]", "data.labels=['./sim/train.csv']")),
        (SEGMENTER, ("segmentation.mix.workers=2", "segmentation.store=elsewhere")),
        (SEGMENTER, ("segmentation.real_data=./real/",)),
    ],
)
def test_what_changes_nothing_makes_no_other_training(
    begun: tuple[str, ...], changes: tuple[str, ...]
) -> None:
    assert identity_of(*begun, *changes) == identity_of(*begun)


@pytest.mark.parametrize(
    "change",
    [
        "data.root=sim2",
        "data.root=/sim",
        "init=second",
        "bags.cells_per_field=4",
        "callbacks.early_stopping=null",
        "callbacks.averaging=null",
        "about='./sim'",
    ],
)
def test_what_may_change_something_makes_another(change: str) -> None:
    begun = (*CLASSIFIER, "about=sim")
    assert identity_of(*begun, change) != identity_of(*begun)


def press_ctrl_c(self: object, trainer: Any, *_: object) -> None:
    if trainer.global_step == 3:
        signal.raise_signal(signal.SIGINT)


def logged(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "training/logs/csv/metrics.csv")[["step", "val/ap", "val/loss"]].dropna()


@pytest.mark.slow
def test_more_readers_and_no_bar_lead_to_the_same_weights(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    drawing = ("made_up.share=0.5", "augmentation.er_dropout=0.5", "bags.cells_per_field=1")
    settings = (*drawing, "trainer.max_epochs=2", "trainer.precision=32-true")
    drawn.train(whole, *settings)
    with monkeypatch.context() as patched:
        patched.setattr("hpa_cells.training.progress.TrainingProgress.on_train_batch_end", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            drawn.train(parts, *settings)
    assert torch.load(RunFolder(out=parts).last, weights_only=True)["global_step"] == 3
    changes = ("bags.workers=1", "workers=2", "callbacks.progress=null", "callbacks.learning_rate=null")
    drawn.train(parts, *settings, *changes, f"data.root={drawn.root}/./")
    assert load_checkpoint(parts).weights_hash == load_checkpoint(whole).weights_hash
    pd.testing.assert_frame_equal(logged(parts), logged(whole))
