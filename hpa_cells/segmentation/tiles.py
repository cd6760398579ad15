"""A network over images of any size: what does not fit at once goes through in tiles, and no seam is left.

Each tile is seen with a margin as wide as the network looks, so that its pixels get the values that the whole
image would give them; only these are kept. Cells are read from the maps of the whole image.

Letters: T maps of an image, h and w its height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["MapNetwork", "check_half", "check_tile_px", "infer_maps"]

# (N, 3, h, w) -> (N, T, h, w)
_Planes = NDArray[np.float32]


class MapNetwork(Protocol):
    """What finds something at each pixel of images."""

    @property
    def stride_px(self) -> int:
        """Height and width of what it takes must be multiples of it."""
        ...

    def read_off(self, planes: Tensor) -> Tensor:
        """(N, 3, h, w) float32 -> (N, T, h, w) float32."""
        ...


def check_tile_px(tile_px: object) -> None:
    """Check a segmenter's setting of that name.

    Raises
    ------
    ValueError
        If it is no whole number, so small that margins take most of the time, or no multiple of the networks'
        strides.
    """
    if not isinstance(tile_px, int) or tile_px < 256 or tile_px % 32:
        raise ValueError(f"segmenter.tile_px is {tile_px!r}: give a multiple of 32 from 256 on.")


def check_half(half: object) -> None:
    """Check a segmenter's setting of that name.

    Raises
    ------
    ValueError
        If it is neither true nor false.
    """
    if not isinstance(half, bool):
        raise ValueError(f"segmenter.half is {half!r}: give true or false.")


def infer_maps(
    network: MapNetwork,
    images: Sequence[_Planes],
    *,
    device: torch.device,
    half: bool,
    tile_px: int,
    margin_px: int,
    together: bool,
) -> list[_Planes]:
    """The network's maps of each image.

    Memory is bounded by a tile with its margins, however many and however large the images are.

    Parameters
    ----------
    network
        On `device`, in evaluation mode.
    images
        (3, h, w) float32 each.
    half
        Whether to compute in 16 bits: float16 on a GPU, bfloat16 on a CPU.
    tile_px, margin_px
        Side of a tile and width of its margin, multiples of the network's stride. An image with no side above
        a tile and its two margins goes through whole.
    together
        Whether images of one size go through at once, as many as have no more pixels than a tile with its margins.
        For a GPU: on a CPU they are no faster so, and their numbers differ in the last bits with how many there are.

    Returns
    -------
    (T, h, w) float32 each.
    """
    infer = partial(_infer, network, device=device, half=half)
    window_px = tile_px + 2 * margin_px
    padded = [_padded(image, network.stride_px) for image in images]
    maps: list[_Planes] = [np.empty(0, dtype=np.float32)] * len(images)
    most_px = window_px**2 if together else 0
    for indices in _batches([image.shape[1:] for image in padded], most_px):
        batch = np.stack([padded[index] for index in indices])
        is_whole = max(batch.shape[2:]) <= window_px
        found = infer(batch) if is_whole else _infer_tiles(infer, batch, tile_px, margin_px)
        for index, each in zip(indices, found, strict=True):
            height, width = images[index].shape[1:]
            maps[index] = each[:, :height, :width]
    return maps


def _infer_tiles(infer: partial[_Planes], batch: _Planes, tile_px: int, margin_px: int) -> _Planes:
    """(N, T, h, w) maps of (N, 3, h, w)."""
    rows, columns = (list(_windows(side, tile_px, margin_px)) for side in batch.shape[2:])
    return np.block(
        [
            [infer(batch[:, :, seen_y, seen_x])[:, :, kept_y, kept_x] for seen_x, kept_x in columns]
            for seen_y, kept_y in rows
        ]
    )


def _windows(length_px: int, tile_px: int, margin_px: int) -> Iterator[tuple[slice, slice]]:
    """What each tile sees along one side, and the part of that which is kept."""
    for start in range(0, length_px, tile_px):
        end = min(length_px, start + tile_px)
        first, last = max(0, start - margin_px), min(length_px, end + margin_px)
        yield slice(first, last), slice(start - first, end - first)


def _infer(network: MapNetwork, batch: _Planes, *, device: torch.device, half: bool) -> _Planes:
    import torch

    planes = torch.from_numpy(np.ascontiguousarray(batch)).to(device)
    # float16 is slow on a CPU, and too narrow for some sums.
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=half):
        maps = network.read_off(planes)
    found: _Planes = maps.cpu().numpy()
    return found


def _padded(image: _Planes, stride_px: int) -> _Planes:
    """The image, enlarged at its lower and right side to multiples of the stride by its mirror image."""
    height, width = image.shape[1:]
    missing = [(0, 0), (0, -height % stride_px), (0, -width % stride_px)]
    return np.pad(image, missing, mode="symmetric")


def _batches(shapes: Sequence[tuple[int, ...]], max_px: int) -> Iterator[list[int]]:
    """Indices of images of one shape, of no more than `max_px` pixels together, but at least one."""
    for shape in dict.fromkeys(shapes):
        alike = [index for index, each in enumerate(shapes) if each == shape]
        size = max(1, max_px // (shape[0] * shape[1]))
        for start in range(0, len(alike), size):
            yield alike[start : start + size]
