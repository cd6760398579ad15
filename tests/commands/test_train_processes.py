"""A training in two processes of this machine's CPU: what one process does, and what becomes of it when one ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from hpa_cells.commands import training_processes
from hpa_cells.commands.settings import compose
from hpa_cells.models import load_checkpoint
from hpa_cells.training.progress import TrainingProgress

Program = Callable[..., Any]
TWO = ("trainer.devices=2", "trainer.strategy=ddp")
# Nothing that sees the other bags of a batch, and nothing random but the bags.
PLAIN = ("+encoder.options.norm_layer=groupnorm1", "augmentation=none", "init=none")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def log_of(out: Path) -> pd.DataFrame:
    """Without the means of epochs: of one that was stopped they are of its batches since then."""
    table = pd.read_csv(out / "training/logs/csv/metrics.csv")
    return table.drop(columns=["epoch", "train/loss_epoch", "train/loss_cell", "train/loss_field"])


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], None]) -> None:
    """Do something in this process, not in the other, after a step."""

    def on_train_batch_end(self: TrainingProgress, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == step:
            action()

    monkeypatch.setattr(TrainingProgress, "on_train_batch_end", on_train_batch_end)


def test_two_processes_do_what_one_does_also_when_stopped_half_way(
    drawn: Any, hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = (*PLAIN, "trainer.log_every_n_steps=1")
    alone = drawn.train(tmp_path / "one", *settings)
    arguments = drawn.overrides(tmp_path / "two", *settings, *TWO)
    with monkeypatch.context() as patched:
        after_step(patched, 3, lambda: signal.raise_signal(signal.SIGINT))
        ended = hpa_cells("train", *arguments)
    assert ended.status == 130, ended.stderr
    state = torch.load(tmp_path / "two/training/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 3
    assert not (tmp_path / "two/checkpoint.json").exists()

    ended = hpa_cells("train", *arguments)
    assert ended.status == 0, ended.stderr
    # Whoever is not the first says nothing.
    assert ended.stderr.count("training fields with") == 1
    pd.testing.assert_frame_equal(log_of(tmp_path / "two"), log_of(tmp_path / "one"), rtol=1e-4)
    one, two = (load_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert two.provenance["metrics"]["macro_average_precision"] == pytest.approx(alone)
    assert two.provenance["training"] == one.provenance["training"]
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert not {"LOCAL_RANK", "MASTER_PORT"} & set(os.environ)
    assert not torch.distributed.is_initialized()


def test_when_another_process_dies_the_training_says_so_and_ends(
    drawn: Any, hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def remember(*arguments: Any, **named: Any) -> subprocess.Popen[str]:
        started.append(popen(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(training_processes.subprocess, "Popen", remember)
    after_step(monkeypatch, 1, lambda: started[0].kill())
    ended = hpa_cells("train", *drawn.overrides(tmp_path / "two", *PLAIN, *TWO))
    assert ended.status == 1
    assert "hpa-cells: Process 1 of the training ended with status -9" in ended.stderr
    assert started[0].poll() is not None
    assert not torch.distributed.is_initialized()


def test_no_process_outlives_the_first(drawn: Any, tmp_path: Path) -> None:
    cfg = compose("train", drawn.overrides(tmp_path / "two", *PLAIN, *TWO))
    settings = json.dumps(OmegaConf.to_container(cfg, resolve=True))
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(training_processes._free_port())}
    other = subprocess.Popen(
        [sys.executable, "-m", "hpa_cells.commands.training_processes"],
        stdin=subprocess.PIPE,
        text=True,
        env=os.environ | meeting | {"LOCAL_RANK": "1", "HPA_CELLS_JOINS": "1"},
    )
    try:
        assert other.stdin is not None
        other.stdin.write(settings + "\n")
        other.stdin.flush()
        # It gets ready, and then waits for the first one, which never comes.
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.0)
        other.stdin.close()
        assert other.wait(60) == 1
    finally:
        other.kill()
        other.wait()
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["bags.fields_per_batch=1"], "bags.fields_per_batch is 1, for 2 processes: lower trainer.devices"),
        (["trainer.devices=3"], "The number of validation fields is 2, for 3 processes"),
        (["trainer.sync_batchnorm=true"], "trainer.sync_batchnorm is true, which torch has for GPUs only"),
        (["trainer.strategy=ddp_spawn"], "trainer.strategy is 'ddp_spawn', for 2 processes: use auto or ddp"),
    ],
)
def test_what_cannot_be_parted_is_refused_before_a_process_is_started(
    drawn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: list[str], message: str
) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("started")

    monkeypatch.setattr(training_processes.subprocess, "Popen", start)
    with pytest.raises(ValueError, match=message):
        drawn.train(tmp_path / "two", *TWO, *settings)


def test_processes_of_another_starter_are_refused(
    drawn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(
        ValueError, match="The environment has LOCAL_RANK=0, as torchrun sets it: start one hpa-cells"
    ):
        drawn.train(tmp_path / "two", *TWO)


def test_the_segmenter_is_trained_in_one_process(tmp_path: Path) -> None:
    from hpa_cells.commands.train import run

    settings = [
        "experiment=segmentation_unet_base",
        f"out={tmp_path}",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
    ]
    small = ["segmentation.network.encoder=test_resnet", "segmentation.network.decoder_channels=[16,8,8,8]"]
    with pytest.raises(ValueError, match="2 processes: the segmenter is trained in one process"):
        run(
            compose(
                "train",
                [*settings, *small, "segmentation.start=null", "segmentation.real_data=R", "logger=none"],
            )
        )
