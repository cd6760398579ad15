"""A training that takes a step every so many batches may be stopped between two of them."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from hpa_cells.training.bags import BagSettings
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.interruption import SaveOnInterrupt, TrainingInterruptedError
from hpa_cells.training.module import TrainingModule
from hpa_cells.training.pending_gradients import PendingGradients

BAGS = BagSettings(
    fields_per_batch=2,
    cells_per_field=3,
    balance=0.5,
    repeats={},
    mosaic=0.0,
    mosaic_fields=2,
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


class Batches(Callback):
    """Notes the loss of every batch; Ctrl-C is pressed after one of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.losses: list[float] = []
        self.steps: list[int] = []
        self.stop = stop

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        self.steps.append(trainer.global_step)
        if trainer.fit_loop.total_batch_idx + 1 == self.stop:
            signal.raise_signal(signal.SIGINT)


def fit(folder: Path, module: TrainingModule, cells: LabelledCells, *, stop: int | None = None) -> Batches:
    """Two epochs of six batches, of which four make a step, and two more another."""
    batches = Batches(stop)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        accumulate_grad_batches=4,
        logger=False,
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[
            batches,
            EMAWeightAveraging(decay=0.5),
            PendingGradients(),
            SaveOnInterrupt(folder / "last.ckpt"),
        ],
    )
    state = folder / "last.ckpt"
    trainer.fit(module, BagData(cells, cells, BAGS), ckpt_path=state if state.exists() else None)
    return batches


# Within a step, at its end, within the shorter one that ends an epoch, and at that end.
@pytest.mark.parametrize("stop", [2, 4, 5, 6, 7])
def test_batches_before_a_stop_count_in_the_step_that_it_came_into(
    tmp_path: Path, cells: LabelledCells, make_module: Callable[[], TrainingModule], stop: int
) -> None:
    whole, parts = make_module(), make_module()
    expected = fit(tmp_path / "whole", whole, cells)
    assert expected.steps == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4]
    before = make_module()
    with pytest.raises(TrainingInterruptedError):
        fit(tmp_path / "parts", before, cells, stop=stop)
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert ("pending_gradients" in state) == (stop in (2, 5, 7))
    after = fit(tmp_path / "parts", parts, cells)
    assert after.losses == expected.losses[stop:]
    for mine, other in zip(parts.state_dict().values(), whole.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
