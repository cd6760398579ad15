"""The learning rate over a training: a linear warm-up, then half a cosine down."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["warmup_cosine", "warmup_cosine_factor"]


def warmup_cosine(
    optimizer: Optimizer, *, num_steps: int, warmup_fraction: float, final_factor: float
) -> LambdaLR:
    """Schedule the rates of `optimizer` by `warmup_cosine_factor`, to be advanced once a step."""
    return LambdaLR(
        optimizer,
        lambda step: warmup_cosine_factor(
            step, num_steps=num_steps, warmup_fraction=warmup_fraction, final_factor=final_factor
        ),
    )


def warmup_cosine_factor(step: int, *, num_steps: int, warmup_fraction: float, final_factor: float) -> float:
    """Factor on the learning rate at a step.

    Parameters
    ----------
    step
        From 0.
    num_steps
        Of the whole training; later steps keep the last factor.
    warmup_fraction
        Share of the steps over which the rate rises linearly from near 0, in [0, 1).
    final_factor
        The factor at the end.

    Examples
    --------
    >>> [warmup_cosine_factor(s, num_steps=8, warmup_fraction=0.25, final_factor=0) for s in (0, 1, 2, 5, 8)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    warmup_steps = round(num_steps * warmup_fraction)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))
    return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2
