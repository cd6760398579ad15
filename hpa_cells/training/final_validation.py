"""Validation of the last weights, wherever in an epoch the last step lies."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

__all__ = ["FinalValidation"]


class FinalValidation(Callback):
    """Validates after the last of `max_steps`, which Lightning leaves out where no epoch or interval ends there.

    Nothing would be saved of the steps since the validation before it, and of a shorter training nothing at all.
    """

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Ask for a stop, before which Lightning validates."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
