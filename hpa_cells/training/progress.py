"""The bar that a training shows on standard error: one for all of its steps."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from typing_extensions import override

from hpa_cells.shown import bar_console

__all__ = ["TrainingProgress"]


class TrainingProgress(ProgressBar):
    """Steps done and left, the loss, and the score of the last and the best validation.

    Parameters
    ----------
    monitor
        The score, such as ``val/ap``.
    """

    def __init__(self, monitor: str = "val/ap") -> None:
        super().__init__()
        self._monitor = monitor
        columns = (
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=bar_console())
        self._task = self._progress.add_task("", total=None)
        self._loss = self._last = self._best = float("nan")

    @override
    def disable(self) -> None:
        """Show nothing; Lightning asks for it in all processes but the first."""
        self._progress.disable = True

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar, at the step a resumed training starts from, with the best it had."""
        for saved in trainer.checkpoint_callbacks:
            if not isinstance(saved, ModelCheckpoint) or saved.monitor != self._monitor:
                continue
            if saved.best_model_score is not None:
                self._best = float(saved.best_model_score)
        total = int(trainer.estimated_stepping_batches)
        self._progress.update(self._task, total=total, completed=trainer.global_step)
        self._progress.start()

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Count a step."""
        self._loss = float(trainer.callback_metrics.get("train/loss", self._loss))
        self._progress.update(self._task, completed=trainer.global_step, description=self._describe())

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell how good the model is."""
        self._last = float(trainer.callback_metrics[self._monitor])
        self._best = max(self._last, self._best) if self._best == self._best else self._last
        self._progress.update(self._task, description=self._describe())

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()

    def _describe(self) -> str:
        name = self._monitor.rpartition("/")[2].upper()
        return f"loss {self._loss:.3f} {name} {self._last:.3f} best {self._best:.3f}"
