"""Weights and pixels by a formula, the same on every machine: the recorded outputs need no file of weights."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def numbers(name: str, count: int) -> NDArray[np.float32]:
    """(count,) float32 from -1 to 1, scattered by the bits of `name` and of the position."""
    bits = np.arange(count, dtype=np.uint32)
    bits *= np.uint32(2_654_435_761)
    bits += np.uint32(zlib.crc32(name.encode()))
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x2C1B3C6D)
    bits ^= bits >> np.uint32(12)
    return bits.astype(np.float32) / np.float32(2**31) - np.float32(1)


@torch.no_grad()
def fill_by_formula(network: nn.Module, seed: str) -> None:
    """Weights of the network by the names of its state dict; sizes of activations are kept from layer to layer."""
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        made_up = torch.from_numpy(numbers(f"{seed} {name}", value.numel())).reshape(value.shape)
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.copy_(1 + made_up / 2)
        elif value.ndim == 1:
            value.copy_(made_up / 5)
        else:
            value.copy_(made_up * math.sqrt(3.6 / value[0].numel()))


def made_up_image(height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: noise over a few stripes."""
    stripes = (np.arange(width) // 24 + np.arange(height)[:, None] // 40) % 2
    noise = numbers("image", height * width * 3).reshape(height, width, 3)
    return (100 + 70 * stripes[..., None] + 60 * noise).astype(np.uint8)
