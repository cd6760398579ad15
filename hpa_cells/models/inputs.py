"""From crops as they are stored to what a network is fed: one function for training and prediction."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["model_input"]


def model_input(images: NDArray[np.uint8] | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Crops as the float tensor that `CellClassifier.forward` takes.

    Parameters
    ----------
    images
        (N, 4, S, S) uint8, normalised to the field as in `CellCrops.images`.
    device
        Where the result lives. The crops travel there as bytes, a quarter of the size of floats.

    Returns
    -------
    (N, 4, S, S) float32 in [0, 1], channels last in memory.

    Raises
    ------
    TypeError
        If the crops are not uint8: values of an unknown range cannot be scaled.

    Examples
    --------
    >>> model_input(np.full((1, 4, 2, 2), 255, dtype=np.uint8)).max()
    tensor(1.)
    """
    crops = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    if crops.dtype != torch.uint8:
        raise TypeError(f"Crops are {crops.dtype}, expected uint8 normalised to the field (0 to 255).")
    crops = crops.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    return crops.float().div_(255)
