"""`CellSegmentator`, as scripts for the hpacellseg package know it.

Arguments and results are those of CellProfiling/HPA-Cell-Segmentation, ``hpacellseg/cellsegmentator.py``; what
was wrong there is right here, see docs/hpacellseg.md.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hpa_cells.fields import read_colors
from hpa_cells.segmentation.devices import chosen_device
from hpa_cells.segmentation.hpacellseg.inference import predict
from hpa_cells.segmentation.hpacellseg.resampling import rescaled, unit_range
from hpa_cells.segmentation.hpacellseg.weights import (
    CELLS,
    CELLS_WITHOUT_ER,
    NUCLEI,
    published_network,
    read_network,
    weights_folder,
)

__all__ = ["CellSegmentator"]

log = logging.getLogger(__name__)

Image = NDArray[Any]
Prediction = NDArray[np.uint8]

# Side of the tiles that larger images go through a network in.
_TILE_PX = 1024


class CellSegmentator:
    """The published networks for images in memory or in files.

    Parameters
    ----------
    nuclei_model, cell_model
        A network, or the path of its file. Where there is no such file, the published network is used, from the
        folder of `weights_folder` or else downloaded to it. `cell_model` may be None if only nuclei are wanted.
    scale_factor
        Of the images, before the networks see them: 0.25 suits 0.08 um a pixel.
    device
        ``cuda``, ``cuda:1`` ... or ``cpu``; the CPU is taken where torch finds no GPU.
    padding
        Whether to add a margin of mirror image: better at the edges.
    multi_channel_model
        Whether the cell network sees the ER.

    Raises
    ------
    ValueError
        If the scale factor is not positive, a file is damaged or of another network, or there is no such device.
    FileNotFoundError
        If a published network is missing and cannot be downloaded.
    """

    def __init__(
        self,
        nuclei_model: str | Path | nn.Module = "./nuclei_model.pth",
        cell_model: str | Path | nn.Module | None = "./cell_model.pth",
        scale_factor: float = 0.25,
        device: str = "cuda",
        padding: bool = False,
        multi_channel_model: bool = True,
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            log.warning("No GPU found, using the CPU.")
            device = "cpu"
        if not (math.isfinite(scale_factor) and scale_factor > 0):
            raise ValueError(
                f"scale_factor is {scale_factor}: give a positive number, such as 0.25 for pixels of 0.08 um."
            )
        self.device = chosen_device(device)
        self.scale_factor = scale_factor
        self.padding = padding
        self.multi_channel_model = multi_channel_model
        self.nuclei_model = self._network(nuclei_model, NUCLEI)
        self.cell_model = (
            None
            if cell_model is None
            else self._network(cell_model, CELLS if multi_channel_model else CELLS_WITHOUT_ER)
        )

    def pred_nuclei(self, images: Sequence[Image | str | Path]) -> list[Prediction]:
        """Where nuclei and the borders between them are.

        Parameters
        ----------
        images
            Arrays or paths of images: grey nuclei (H, W), or (H, W, 3) with the nuclei in the last plane. Each
            of 8 or 16 bits, or floats from 0 to 1; shapes may differ.

        Returns
        -------
        (H, W, 3) uint8 each: 0, borders, interiors, in 255ths.

        Raises
        ------
        FileNotFoundError
            If there is no file at a path.
        TypeError
            If an image is neither an array nor a path, or of another type.
        ValueError
            If an image is empty, has another shape, or floats that are not from 0 to 1, or a file is no PNG, TIFF or
            JPEG of 8 or 16 bits, damaged or absurdly large.
        """
        planes = [_nuclear_plane(_read(image), index) for index, image in enumerate(images)]
        return self._predict(self.nuclei_model, planes)

    def pred_cells(self, images: Sequence[Any], precombined: bool = False) -> list[Prediction]:
        """Where cells and the borders between them are.

        Parameters
        ----------
        images
            Three lists, of microtubules, ER and nuclei, of arrays (H, W) or paths; None in place of the list of
            the ER, and of no other, for the network without it. If `precombined`, one list of arrays (H, W, 3)
            in that order of planes.
        precombined
            See `images`.

        Returns
        -------
        (H, W, 3) uint8 each: 0, borders, interiors, in 255ths.

        Raises
        ------
        FileNotFoundError, TypeError
            As of `pred_nuclei`.
        ValueError
            As of `pred_nuclei`; if the lists do not fit each other or the network, or one but the ER's is None.
        """
        if self.cell_model is None:
            raise ValueError(
                "There is no cell network (cell_model is None): give its file to CellSegmentator."
            )
        combined = [_read(image) for image in images] if precombined else self._combined(images)
        for index, image in enumerate(combined):
            if image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"Image {index} has the shape {image.shape}, expected (H, W, 3).")
        return self._predict(self.cell_model, combined)

    def _network(self, model: str | Path | nn.Module, name: str) -> nn.Module:
        if isinstance(model, nn.DataParallel):
            model = model.module
        if not isinstance(model, nn.Module):
            if Path(model).expanduser().exists():
                model = read_network(Path(model).expanduser())
            else:
                log.warning(
                    "%s does not exist: using the published %s from %s", model, name, weights_folder()
                )
                model = published_network(name, weights_folder())
        return model.to(self.device).eval()

    def _combined(self, images: Sequence[Any]) -> list[Image]:
        if len(images) != 3:
            raise ValueError(
                f"There are {len(images)} lists of images: give microtubules, ER or None, and nuclei."
            )
        microtubules, er, nuclei = images
        for channel, name in ((microtubules, "microtubules"), (nuclei, "nuclei")):
            if channel is None:
                raise ValueError(
                    f"The images of the {name} are None: give a list, only the ER may be missing."
                )
        if (er is None) == self.multi_channel_model:
            raise ValueError(
                "The ER is missing: give it, or set multi_channel_model=False."
                if er is None
                else "There are images of the ER, but multi_channel_model=False: give None in their place."
            )
        given = [microtubules, nuclei] if er is None else [microtubules, er, nuclei]
        if len({len(channel) for channel in given}) != 1:
            raise ValueError(
                f"The channels have {', '.join(str(len(channel)) for channel in given)} images: give as many of each."
            )
        return [_stacked(paths, index) for index, paths in enumerate(zip(*given, strict=True))]

    def _predict(self, network: nn.Module, images: list[Image]) -> list[Prediction]:
        small = [self._shrunk(image, index) for index, image in enumerate(images)]
        found = predict(network, small, margin=self.padding, half=False, tile_px=_TILE_PX)
        return [_restored(each, *image.shape[:2]) for each, image in zip(found, images, strict=True)]

    def _shrunk(self, image: Image, index: int) -> NDArray[np.float32]:
        """(h, w, 3) float32 from 0 to 1; a grey image is in all three planes."""
        height, width = (max(1, round(side * self.scale_factor)) for side in image.shape[:2])
        small = rescaled(unit_range(image, f"Image {index}"), height, width)
        return np.dstack([small] * 3) if small.ndim == 2 else small


def _stacked(channels: Sequence[Image | str | Path], index: int) -> NDArray[np.float32]:
    """(H, W, 3) float32: microtubules, ER and nucleus; of two channels, the ER is the one that is missing."""
    planes = [unit_range(_read(channel), f"Image {index}") for channel in channels]
    if any(plane.ndim != 2 or plane.shape != planes[0].shape for plane in planes):
        shapes = ", ".join(str(plane.shape) for plane in planes)
        raise ValueError(
            f"Channels of image {index} have the shapes {shapes}: give grey images of one shape."
        )
    if len(planes) == 2:
        planes.insert(1, np.zeros_like(planes[0]))
    return np.dstack(planes)


def _read(image: Image | str | Path) -> Image:
    if isinstance(image, np.ndarray):
        return image
    if not isinstance(image, str | os.PathLike):
        raise TypeError(f"An image is of type {type(image).__name__}: give an array or the path of a file.")
    return read_colors(Path(image).expanduser())


def _nuclear_plane(image: Image, index: int) -> Image:
    if image.ndim == 2:
        return image
    if image.ndim != 3 or image.shape[2] < 3:
        raise ValueError(f"Image {index} has the shape {image.shape}, expected (H, W) or (H, W, 3).")
    return image[..., 2]


def _restored(probabilities: NDArray[np.float32], height: int, width: int) -> Prediction:
    """What the network found, at the size of the image and in 255ths, without the plane that means nothing."""
    found = np.rint(probabilities * 255).astype(np.uint8)
    found[..., 0] = 0
    if found.shape[:2] == (height, width):
        return found
    # Repeats pixels where the factor is whole, as the published code does.
    return cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
