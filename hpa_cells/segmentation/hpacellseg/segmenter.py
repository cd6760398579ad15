"""The published networks as a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.hpacellseg.resampling import rescaled, unit_range
from hpa_cells.types import Channel, Field, Segmentation

if TYPE_CHECKING:
    from hpa_cells.segmentation.hpacellseg.networks import DPNUNet

__all__ = ["HpaCellSeg"]

# The networks know a quarter of 0.08 um.
_UM_PER_PX: Final = 0.32


@dataclass(frozen=True, kw_only=True, slots=True)
class HpaCellSeg:
    """Cells and nuclei by the networks that the Human Protein Atlas published.

    Fields of any shape, depth and pixel size: they are brought to 0.32 um a pixel, where the networks work, and
    the label images are enlarged from there.

    Attributes
    ----------
    weights
        Folder of the networks, see `weights_folder`; None for the environment's or the user's cache.
    with_er
        Whether to use the cell network that sees the ER. The other sees microtubules and nuclei only.
    device
        ``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` takes a GPU where there is one.
    half
        Whether to compute in 16 bits on a GPU: faster, and nearly the same. A CPU always takes 32.
    batch_size
        Fields that go through a network at a time.
    """

    weights: str | None = None
    with_er: bool = True
    device: str = "auto"
    half: bool = False
    batch_size: int = 4

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"segmenter.batch_size is {self.batch_size}: give at least 1.")

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """The protein, which is never looked at, and the ER for the network that does without."""
        return frozenset({Channel.PROTEIN} if self.with_er else {Channel.PROTEIN, Channel.ER})

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field; fields of one size at 0.32 um go through together."""
        from hpa_cells.segmentation.hpacellseg.inference import predict
        from hpa_cells.segmentation.hpacellseg.labels import label_predictions

        nuclei_network, cell_network = _networks(self.weights, self.with_er, self.device)
        segmentations = []
        for start in range(0, len(fields), self.batch_size):
            batch = fields[start : start + self.batch_size]
            images = [_network_image(field, with_er=self.with_er) for field in batch]
            nuclei_only = [np.repeat(image[..., 2:], 3, axis=2) for image in images]
            nuclei_found, cells_found = (
                predict(network, each, margin=True, batch_size=self.batch_size, half=self.half)
                for network, each in ((nuclei_network, nuclei_only), (cell_network, images))
            )
            for field, *found in zip(batch, nuclei_found, cells_found, strict=True):
                nuclei, cells = label_predictions(*map(_as_bytes, found), um_per_px=_UM_PER_PX)
                segmentations.append(_segmentation(field, nuclei, cells))
        return segmentations


# Once a process, not once a batch.
@lru_cache(maxsize=2)
def _networks(weights: str | None, with_er: bool, device: str) -> tuple[DPNUNet, DPNUNet]:
    """The nuclei's network and the cells'."""
    from hpa_cells.segmentation.hpacellseg.inference import chosen_device
    from hpa_cells.segmentation.hpacellseg.weights import (
        CELLS,
        CELLS_WITHOUT_ER,
        NUCLEI,
        published_network,
        weights_folder,
    )

    chosen, folder = chosen_device(device), weights_folder(weights)
    nuclei, cells = (
        published_network(name, folder).to(chosen)
        for name in (NUCLEI, CELLS if with_er else CELLS_WITHOUT_ER)
    )
    return nuclei, cells


def _network_image(field: Field, *, with_er: bool) -> NDArray[np.float32]:
    """(h, w, 3) float32 from 0 to 1: microtubules, ER or zeros, and nucleus at the networks' scale."""
    scale = field.pixel_size_um / _UM_PER_PX
    height, width = (max(1, round(side * scale)) for side in (field.height_px, field.width_px))
    planes = [
        rescaled(unit_range(field.image[channel], f"Field {field.field_id}"), height, width)
        if with_er or channel != Channel.ER
        else np.zeros((height, width), dtype=np.float32)
        for channel in (Channel.MICROTUBULES, Channel.ER, Channel.NUCLEUS)
    ]
    return np.stack(planes, axis=2)


def _as_bytes(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities in 255ths, the plane that means nothing at 0: what the labels were made for."""
    rounded = np.rint(probabilities * 255).astype(np.uint8)
    rounded[..., 0] = 0
    return rounded


def _segmentation(field: Field, nuclei: NDArray[np.int32], cells: NDArray[np.int32]) -> Segmentation:
    size = (field.width_px, field.height_px)
    enlarged: list[Any] = [
        cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32, copy=False)
        for labels in (nuclei, cells)
    ]
    return Segmentation(
        field_id=field.field_id, nuclei=enlarged[0], cells=enlarged[1], pixel_size_um=field.pixel_size_um
    )
