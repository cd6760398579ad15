"""The published networks over images of any size, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.segmentation.hpacellseg.networks import STRIDE_PX
from hpa_cells.segmentation.tiles import infer_maps

__all__ = ["predict"]

# Of the pictures that the encoder was first trained on, for pixels from 0 to 1; the same for all networks.
_MEAN: Final = (124 / 255, 117 / 255, 104 / 255)
_STANDARD_DEVIATION: Final = 1 / (0.0167 * 255)

# Margin of a tile. In theory a pixel depends on 500 px around it, hardly on those far away: with random weights,
# normalised layer by layer, 256 px change probabilities by 7e-4 at most, 320 px by no more than rounding does (2e-5).
_TILE_MARGIN_PX: Final = 320


def predict(
    network: nn.Module,
    images: Sequence[NDArray[np.float32]],
    *,
    margin: bool,
    half: bool,
    tile_px: int,
    together: bool = True,
) -> list[NDArray[np.float32]]:
    """What the network finds in each image.

    What is added to an image to make it a multiple of `STRIDE_PX` is
    its mirror image, and is cut off afterwards.

    Parameters
    ----------
    network
        A `DPNUNet` or its like, in evaluation mode, on the device to use.
    images
        (h, w, 3) float32 each, from 0 to 1.
    margin
        Whether to add 32 px above and to the left, and 1 to 32 px below and to the right, in any case.
    half
        Whether to compute in 16 bits: float16 on a GPU, bfloat16 on a CPU.
    tile_px
        Side of the tiles that large images go through in, a multiple of `STRIDE_PX`: bounds the memory.
    together
        Whether images of one size go through at once, see `infer_maps`.

    Returns
    -------
    (h, w, 3) float32 each: probabilities of nothing in use, of a border between cells, and of the interior;
    they add up to 1.
    """
    start_px = STRIDE_PX if margin else 0
    planes = [np.moveaxis(_with_margin(image) if margin else image, 2, 0) for image in images]
    maps = infer_maps(
        _Published(network=network),
        planes,
        device=next(network.parameters()).device,
        half=half,
        tile_px=tile_px,
        margin_px=_TILE_MARGIN_PX,
        together=together,
    )
    return [
        np.moveaxis(each, 0, 2)[start_px : start_px + image.shape[0], start_px : start_px + image.shape[1]]
        for image, each in zip(images, maps, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Published:
    """A published network with what goes before and after it."""

    network: nn.Module

    @property
    def stride_px(self) -> int:
        return STRIDE_PX

    def read_off(self, planes: Tensor) -> Tensor:
        """(N, 3, h, w) from 0 to 1 -> (N, 3, h, w) probabilities."""
        mean = torch.tensor(_MEAN, device=planes.device)[:, None, None]
        logits: Tensor = self.network((planes - mean) / _STANDARD_DEVIATION)
        return logits.float().softmax(dim=1)


def _with_margin(image: NDArray[np.float32]) -> NDArray[np.float32]:
    # The published code adds 1 to 32 px below and to the right, never 0.
    after = [STRIDE_PX - side % STRIDE_PX for side in image.shape[:2]]
    return np.pad(image, [(STRIDE_PX, after[0]), (STRIDE_PX, after[1]), (0, 0)], mode="symmetric")
