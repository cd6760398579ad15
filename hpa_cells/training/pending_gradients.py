"""Gradients of a step that is not yet complete, where one gathers them from several batches."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from hpa_cells.training.processes import mean_over_processes

__all__ = ["PendingGradients"]

_KEY = "pending_gradients"


class PendingGradients(Callback):
    """Keeps them with the training's state, so that one stopped between two batches of a step goes on alike.

    Lightning's own state is that after the last whole step, and of the batches since then nothing would count.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Tensor] = {}

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what there is; of several processes their mean, which is what their step is made of."""
        if _is_within_step(trainer):
            checkpoint[_KEY] = {
                name: mean_over_processes(parameter.grad).cpu()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember what there was."""
        self._restored = checkpoint.get(_KEY, {})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from it."""
        for name, parameter in pl_module.named_parameters():
            if name in self._restored:
                parameter.grad = torch.clone(self._restored[name]).to(parameter.device)
        self._restored = {}


def _is_within_step(trainer: Trainer) -> bool:
    """Whether further batches belong to the step of the last one; the last of an epoch ends its step."""
    batches = trainer.fit_loop.batch_idx + 1
    return batches % trainer.accumulate_grad_batches != 0 and not trainer.is_last_batch
