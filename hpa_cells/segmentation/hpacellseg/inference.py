"""A network over images of any size, several at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hpa_cells.segmentation.hpacellseg.networks import STRIDE_PX

__all__ = ["chosen_device", "predict"]

# Of the pictures that the encoder was first trained on, for pixels from 0 to 1; the same for all networks.
_MEAN: Final = (124 / 255, 117 / 255, 104 / 255)
_STANDARD_DEVIATION: Final = 1 / (0.0167 * 255)


def chosen_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"The device is {name!r}: give auto, cpu, cuda or cuda:0.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"The device is {name!r}, but torch finds no GPU here: give cpu or auto.")
    return device


def predict(
    network: nn.Module,
    images: Sequence[NDArray[np.float32]],
    *,
    margin: bool,
    batch_size: int,
    half: bool,
) -> list[NDArray[np.float32]]:
    """What the network finds in each image.

    Images that are of one size when enlarged to multiples of `STRIDE_PX` go through together. What is added is
    their mirror image, and is cut off afterwards.

    Parameters
    ----------
    network
        A `DPNUNet` or its like, in evaluation mode, on the device to use.
    images
        (h, w, 3) float32 each, from 0 to 1.
    margin
        Whether to add 32 px above and to the left, and 1 to 32 px below and to the right, in any case.
    batch_size
        Largest number of images at a time.
    half
        Whether to compute in float16 on a GPU; a CPU always computes in float32.

    Returns
    -------
    (h, w, 3) float32 each: probabilities of nothing in use, of a border between cells, and of the interior;
    they add up to 1.
    """
    margin_px = STRIDE_PX if margin else 0
    padded = [_padded(image, margin_px) for image in images]
    found: dict[int, NDArray[np.float32]] = {}
    for indices in _batches([each.shape for each in padded], batch_size):
        maps = _probabilities(network, np.stack([padded[index] for index in indices]), half)
        for index, each in zip(indices, maps, strict=True):
            height, width = images[index].shape[:2]
            found[index] = each[margin_px : margin_px + height, margin_px : margin_px + width]
    return [found[index] for index in range(len(images))]


@torch.inference_mode()
def _probabilities(network: nn.Module, images: NDArray[np.float32], half: bool) -> NDArray[np.float32]:
    """(N, h, w, 3) -> (N, h, w, 3)."""
    device = next(network.parameters()).device
    planes = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    mean = torch.tensor(_MEAN, device=device)[:, None, None]
    planes = ((planes - mean) / _STANDARD_DEVIATION).contiguous()
    with torch.autocast(device.type, torch.float16, enabled=half and device.type == "cuda"):
        logits = network(planes)
    probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).permute(0, 2, 3, 1).cpu().numpy()
    return probabilities


def _padded(image: NDArray[np.float32], margin_px: int) -> NDArray[np.float32]:
    # With a margin, the published code adds 1 to 32 px below and to the right, never 0.
    after = [STRIDE_PX - side % STRIDE_PX if margin_px else -side % STRIDE_PX for side in image.shape[:2]]
    return np.pad(image, [(margin_px, after[0]), (margin_px, after[1]), (0, 0)], mode="symmetric")


def _batches(shapes: Sequence[tuple[int, ...]], batch_size: int) -> Iterator[list[int]]:
    """Indices of images of one shape, at most `batch_size` at a time."""
    for shape in dict.fromkeys(shapes):
        alike = [index for index, each in enumerate(shapes) if each == shape]
        for start in range(0, len(alike), batch_size):
            yield alike[start : start + batch_size]
