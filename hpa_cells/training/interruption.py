"""Ctrl-C during training: the step under way, and a validation that is due, are finished and the state is saved."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

__all__ = ["SaveOnInterrupt", "TrainingInterruptedError"]


class TrainingInterruptedError(Exception):
    """The user stopped the training; its state was saved."""


class SaveOnInterrupt(Checkpoint):
    """Saves the training's state after the batch in which Ctrl-C was pressed; a second one ends it at once.

    Of several processes it is enough that one hears of it.

    It is a `Checkpoint` so that Lightning calls it after all others, when the averaged weights are up to
    date.

    Parameters
    ----------
    path
        Where the state is saved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._requested = False
        self._is_saved = False
        self._previous: Any = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for Ctrl-C; only the main thread may.

        Not earlier: at the end Lightning puts back the handlers it found when it began.
        """
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._request)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save, if the user asked for a stop."""
        self._save_if_requested(trainer)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop, now that what the batch had to log is logged."""
        self._stop_if_saved(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, where validation comes before another batch: a training that goes on would leave it out."""
        self._save_if_requested(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop, where there is no other batch."""
        self._stop_if_saved(trainer)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give Ctrl-C its meaning back."""
        self._restore()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give Ctrl-C its meaning back."""
        self._restore()

    def _save_if_requested(self, trainer: Trainer) -> None:
        # Several processes must agree, and save together.
        if trainer.strategy.reduce_boolean_decision(self._requested, all=False):
            trainer.save_checkpoint(self._path)
            self._is_saved = True

    def _stop_if_saved(self, trainer: Trainer) -> None:
        if self._is_saved:
            raise TrainingInterruptedError(f"Stopped after step {trainer.global_step}.")

    def _request(self, *_: object) -> None:
        self._requested = True
        self._restore()

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
