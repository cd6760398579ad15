"""Lightning's trainer, with one more precision to ask for."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from lightning.pytorch import Trainer

__all__ = ["make_trainer"]


# Who asks for its arguments is told those of Lightning's.
@wraps(Trainer, assigned=())
def make_trainer(*, precision: Any = "32-true", accelerator: str = "auto", **settings: Any) -> Trainer:
    """Make a trainer of these settings.

    Parameters
    ----------
    precision
        As Lightning names it, or ``fastest``: mixed with 16 bits where the device has instructions for them, else of 32
        bits. A processor without imitates them, and takes many times as long.
    accelerator, settings
        See `lightning.pytorch.Trainer`.
    """
    if precision == "fastest":
        precision = _fastest(accelerator)
    return Trainer(precision=precision, accelerator=accelerator, **settings)


def _fastest(accelerator: str) -> str:
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"
