"""Ctrl-C or SIGTERM during training: the step under way and a validation that is due are finished, and all is saved."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any, Final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

__all__ = ["SaveOnInterrupt", "TrainingInterruptedError"]


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(Exception):
    """The user, or a cluster, stopped the training; its state was saved.

    Attributes
    ----------
    signal_number
        How it was told to stop.
    """

    def __init__(self, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class SaveOnInterrupt(Checkpoint):
    """Saves the training's state after the batch in which Ctrl-C or SIGTERM came; a second one ends it at once.

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
        self._requested: int | None = None
        self._is_saved = False
        self._previous: dict[int, Any] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for the signals; only the main thread may.

        Not earlier: when it begins Lightning sets its own for SIGTERM, which saves nothing, and at the end it puts back
        those it found.
        """
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in _SIGNALS}

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
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals their meanings back, before Lightning does so with its own."""
        self._restore()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals their meanings back."""
        self._restore()

    def _save_if_requested(self, trainer: Trainer) -> None:
        # Several processes must agree, and save together.
        if trainer.strategy.reduce_boolean_decision(self._requested is not None, all=False):
            trainer.save_checkpoint(self._path)
            self._is_saved = True

    def _stop_if_saved(self, trainer: Trainer) -> None:
        if self._is_saved:
            # Another process may have been told so.
            number = signal.SIGINT if self._requested is None else self._requested
            raise TrainingInterruptedError(f"Stopped after step {trainer.global_step}.", number)

    def _request(self, number: int, *_: object) -> None:
        self._requested = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
