"""A training whose process is killed without a word goes on as if nothing had been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hpa_cells.models import load_checkpoint
from hpa_cells.table import read_table

# Starting Python with torch takes longer than these trainings: one process does so, and each training is a fork of it.
_SERVER = """
import json, os, signal, sys
import torch
from hpa_cells.commands.settings import compose
from hpa_cells.commands.train import run
from hpa_cells.training.progress import TrainingProgress
import hpa_cells.training.module, hpa_cells.training.data, hpa_cells.prediction.pipeline

def train(overrides, last):
    seen = 0
    def on_train_batch_end(self, *_):
        nonlocal seen
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
    TrainingProgress.on_train_batch_end = on_train_batch_end
    run(compose("train", overrides))

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        train(**json.loads(line))
        os._exit(0)
    print(os.waitpid(pid, 0)[1], flush=True)
"""

Kill = Callable[[list[str], int], int]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def train_and_kill() -> Iterator[Kill]:
    """Train in a process that is killed after so many batches; gives the signal it ended by."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def train_and_kill(overrides: list[str], last: int) -> int:
        server.stdin.write(json.dumps({"overrides": overrides, "last": last}) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    yield train_and_kill
    server.stdin.close()
    server.stdout.close()
    server.wait()


def log_of(out: Path) -> pd.DataFrame:
    """All that was logged, by step and name: in which rows of the file it stands does not matter."""
    table = pd.read_csv(out / "training/logs/csv/metrics.csv").drop(columns="epoch")
    return table.groupby("step").agg(lambda values: tuple(values.dropna()))[sorted(set(table) - {"step"})]


SETTINGS = {
    # Epochs of two batches, each followed by a validation and a state.
    "plain": [],
    # States lie between the batches of a step, and in the middle of epochs of four batches.
    "accumulated": [
        *("bags.fields_per_batch=2", "trainer.accumulate_grad_batches=2"),
        *("trainer.check_val_every_n_epoch=null", "trainer.val_check_interval=3"),
    ],
    "16 bit, made up cells": [
        *(
            "crops.size_px=32",
            "trainer.precision=bf16-mixed",
            "made_up.share=0.5",
            "callbacks.averaging.decay=0.7",
        ),
        *("scheduler=constant", "augmentation=missing_er"),
    ],
    "whole fields": ["method=cell_cam", "view.stride=8", "view.um_per_px=0.5"],
}


@pytest.fixture(scope="module")
def unbroken(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The training of these settings that nobody stopped."""

    @cache
    def unbroken(name: str) -> Path:
        out = tmp_path_factory.mktemp("unbroken")
        drawn.train(out, *SETTINGS[name], *EVERY_STEP)
        return out

    return unbroken


EVERY_STEP = ("trainer.log_every_n_steps=1",)
MEANS_OF_EPOCHS = ["train/loss_epoch", "train/loss_cell", "train/loss_field"]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        *(("plain", last) for last in (1, 2, 3)),
        *(("accumulated", last) for last in (5, 8)),
        ("16 bit, made up cells", 5),
        ("whole fields", 3),
    ],
)
def test_a_killed_training_goes_on_as_if_it_had_not_been(
    drawn: Any, unbroken: Callable[[str], Path], train_and_kill: Kill, tmp_path: Path, name: str, last: int
) -> None:
    assert train_and_kill(drawn.overrides(tmp_path, *SETTINGS[name], *EVERY_STEP), last) == signal.SIGKILL
    assert not (tmp_path / "checkpoint.json").exists()
    drawn.train(tmp_path, *SETTINGS[name], *EVERY_STEP)
    parts, whole = load_checkpoint(tmp_path), load_checkpoint(unbroken(name))
    assert parts.weights_hash == whole.weights_hash
    assert parts.provenance["metrics"] == whole.provenance["metrics"]
    assert parts.provenance["training"] == whole.provenance["training"]
    # The mean of an epoch is of the batches since a stop within it.
    of_epochs = MEANS_OF_EPOCHS if name == "accumulated" else []
    logs = [log_of(out).drop(columns=of_epochs) for out in (tmp_path, unbroken(name))]
    assert {"val/ap", "val/loss", "train/loss_step"} <= set(logs[0])
    pd.testing.assert_frame_equal(*logs)


def test_a_validation_that_finds_nothing_better_is_gone_on_from_too(
    drawn: Any, tmp_path: Path, train_and_kill: Kill
) -> None:
    # Epochs of two batches; nothing is learned.
    assert train_and_kill(drawn.overrides(tmp_path, "optimizer.lr=1.0e-12"), 5) == signal.SIGKILL
    states = {
        name: torch.load(tmp_path / f"training/checkpoints/{name}.ckpt", weights_only=True)["global_step"]
        for name in ("best", "last")
    }
    assert states == {"best": 2, "last": 4}


def test_a_killed_cross_fit_goes_on_with_the_fold_it_was_at(
    drawn: Any, tmp_path: Path, train_and_kill: Kill
) -> None:
    settings = ["cross_fit=true", "data.num_folds=2", "method=naive"]
    drawn.train(tmp_path / "whole", *settings)
    # Each of two folds has three batches: this is in the second.
    assert train_and_kill(drawn.overrides(tmp_path / "parts", *settings), 5) == signal.SIGKILL
    finished = tmp_path / "parts/fold-0/model.safetensors"
    written = finished.stat().st_mtime_ns
    drawn.train(tmp_path / "parts", *settings)
    assert finished.stat().st_mtime_ns == written
    whole, parts = (read_table(tmp_path / each / "out_of_fold") for each in ("whole", "parts"))
    pd.testing.assert_frame_equal(parts.cells, whole.cells)
    assert parts.provenance.weights_hash == whole.provenance.weights_hash
