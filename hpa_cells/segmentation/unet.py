"""The default segmenter: a small network of our own, whose weights are in the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.devices import chosen_device
from hpa_cells.segmentation.field_size import at_field_size
from hpa_cells.segmentation.network_input import network_input, shows_nuclei_only
from hpa_cells.segmentation.tiles import check_tile_px, infer_maps
from hpa_cells.types import Channel, Field, Segmentation

if TYPE_CHECKING:
    from hpa_cells.segmentation.network import CellUNet

__all__ = ["PACKAGED_WEIGHTS", "UNet"]

PACKAGED_WEIGHTS = Path(__file__).parent / "weights" / "unet.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class UNet:
    """Cells and nuclei by one network; any size, pixel size and depth of field.

    Attributes
    ----------
    weights
        A file that a training of the segmenter wrote; None for the one in the package.
    device
        ``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` takes a GPU where there is one.
    half
        Whether to compute in 16 bits: faster on a GPU and on a recent CPU. Borders that hang on little move: on
        crowded fields some cells are then joined or parted otherwise.
    tile_px
        Side, at the network's scale, of the tiles that larger fields go through it in: bounds the memory.
    """

    weights: str | None = None
    device: str = "auto"
    half: bool = False
    tile_px: int = 1024

    def __post_init__(self) -> None:
        check_tile_px(self.tile_px)

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """All but the nucleus; the protein is never looked at."""
        return frozenset({Channel.PROTEIN, Channel.ER, Channel.MICROTUBULES})

    def prepare(self) -> None:
        """Load the network.

        Raises
        ------
        FileNotFoundError
            If there is no file of weights.
        ValueError
            If it is damaged or of another network, or there is no such device.
        """
        _load(self.weights, str(chosen_device(self.device)))

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field; fields of one size go through the network together.

        Where a field has neither microtubules nor ER, a cell is its nucleus.
        """
        device = chosen_device(self.device)
        network = _load(self.weights, str(device))
        um_per_px = network.settings.um_per_px
        images = [network_input(field, um_per_px) for field in fields]
        maps = infer_maps(
            network, images, device=device, half=self.half, tile_px=self.tile_px, margin_px=_MARGIN_PX
        )
        return [
            _read_cells(field, network, each, nuclei_only=shows_nuclei_only(image))
            for field, image, each in zip(fields, images, maps, strict=True)
        ]


# A multiple of every stride, and more than a ResNet of 18 layers with four stages looks at (192 px); of what one of
# 34 layers looks at, a few ten-thousandths are beyond it.
_MARGIN_PX = 256


def _read_cells(
    field: Field, network: CellUNet, maps: NDArray[np.float32], *, nuclei_only: bool
) -> Segmentation:
    cells, nuclei = network.representation.decode(
        maps, um_per_px=network.settings.um_per_px, nuclei_only=nuclei_only
    )
    return at_field_size(field, cells=cells, nuclei=nuclei)


# Once a process, not once a batch.
@lru_cache(maxsize=2)
def _load(weights: str | None, device: str) -> CellUNet:
    import torch

    from hpa_cells.segmentation.network import read_network

    network, _ = read_network(PACKAGED_WEIGHTS if weights is None else Path(weights))
    return network.to(memory_format=torch.channels_last).to(device)
