"""A network over images of any size: what does not fit at once goes through in tiles, and no seam is left.

Each tile is seen with a margin as wide as the network looks, so that its pixels get the values that the whole
image would give them; only these are kept. Cells are read from the maps of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hpa_cells.segmentation.network import CellUNet

__all__ = ["infer_maps"]


def infer_maps(
    network: CellUNet,
    images: Sequence[NDArray[np.float32]],
    *,
    device: torch.device,
    half: bool,
    tile_px: int,
    margin_px: int,
) -> list[NDArray[np.float32]]:
    """The network's maps of each image.

    Images of one size go through together.

    Parameters
    ----------
    images
        (3, h, w) float32 each, from `network_input`.
    half
        Whether to compute in 16 bits.
    tile_px, margin_px
        Side of a tile and width of its margin, multiples of the network's stride. An image with no side above
        a tile and its two margins goes through whole.

    Returns
    -------
    (T, h, w) float32 each; probabilities as such.
    """
    padded = [_padded(image, network.stride_px) for image in images]
    maps: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(images)
    for indices in _alike([image.shape for image in padded]):
        batch = np.stack([padded[index] for index in indices])
        together = _infer_batch(network, batch, device, half, tile_px, margin_px)
        for index, each in zip(indices, together, strict=True):
            height, width = images[index].shape[1:]
            maps[index] = each[:, :height, :width]
    return maps


def _infer_batch(
    network: CellUNet,
    batch: NDArray[np.float32],
    device: torch.device,
    half: bool,
    tile_px: int,
    margin_px: int,
) -> NDArray[np.float32]:
    """(N, T, h, w) maps of (N, 3, h, w)."""
    height, width = batch.shape[2:]
    if max(height, width) <= tile_px + 2 * margin_px:
        return _infer(network, batch, device, half)
    maps = np.empty((len(batch), len(network.representation.maps), height, width), dtype=np.float32)
    for top in range(0, height, tile_px):
        for left in range(0, width, tile_px):
            rows, inner_rows = _window(top, height, tile_px, margin_px)
            columns, inner_columns = _window(left, width, tile_px, margin_px)
            tile = _infer(network, batch[:, :, rows, columns], device, half)
            maps[:, :, top : top + tile_px, left : left + tile_px] = tile[:, :, inner_rows, inner_columns]
    return maps


def _window(start: int, length: int, tile_px: int, margin_px: int) -> tuple[slice, slice]:
    """What a tile sees along one side, and the part of that which is kept."""
    first, last = max(0, start - margin_px), min(length, start + tile_px + margin_px)
    return slice(first, last), slice(start - first, min(start + tile_px, length) - first)


@torch.inference_mode()
def _infer(
    network: CellUNet, batch: NDArray[np.float32], device: torch.device, half: bool
) -> NDArray[np.float32]:
    planes = torch.from_numpy(np.ascontiguousarray(batch)).to(device, memory_format=torch.channels_last)
    with torch.autocast(
        device.type, torch.float16 if device.type == "cuda" else torch.bfloat16, enabled=half
    ):
        maps = network.read_off(planes)
    return maps.cpu().numpy()


def _padded(image: NDArray[np.float32], stride_px: int) -> NDArray[np.float32]:
    """The image, enlarged at its lower and right side to multiples of the stride by its mirror image."""
    height, width = image.shape[1:]
    missing = [(0, 0), (0, -height % stride_px), (0, -width % stride_px)]
    return np.pad(image, missing, mode="symmetric")


def _alike(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Indices of the images of each shape."""
    for shape in dict.fromkeys(shapes):
        yield [index for index, each in enumerate(shapes) if each == shape]
