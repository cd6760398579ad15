"""The default segmenter: a small network of our own, whose weights are in the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.hub import HubModel, is_on_hub, pull
from hpa_cells.segmentation.devices import chosen_device, device_kind
from hpa_cells.segmentation.field_size import at_field_size
from hpa_cells.segmentation.network_input import network_input, shows_no_nuclei, shows_nuclei_only
from hpa_cells.segmentation.tiles import check_half, check_tile_px, infer_maps
from hpa_cells.types import Channel, Field, Segmentation

if TYPE_CHECKING:
    from hpa_cells.segmentation.network import CellUNet

__all__ = ["FILES_ON_HUB", "PACKAGED_WEIGHTS", "UNet", "pinned_segmenter", "weights_file"]

PACKAGED_WEIGHTS = Path(__file__).parent / "weights" / "unet.safetensors"
# Of a repository no other file is fetched, whatever lies there: the first one makes it a segmenter.
FILES_ON_HUB: Final = ("unet.safetensors", "README.md")


@dataclass(frozen=True, slots=True)
class _Found:
    """(T, h, w) float32 maps, and what the image lacks that they are of."""

    maps: NDArray[np.float32]
    shows_no_nuclei: bool
    shows_nuclei_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class UNet:
    """Cells and nuclei by one network; any size, pixel size and depth of field.

    Attributes
    ----------
    weights
        A file that a training of the segmenter wrote, or ``hf://owner/name``, where one was pushed to; None for the one
        in the package.
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
        for name, value in (("weights", self.weights or ""), ("device", self.device)):
            if not isinstance(value, str):
                raise ValueError(f"segmenter.{name} is {value!r}: give text.")
        check_half(self.half)
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

    def fingerprint(self) -> str:
        """SHA-256 of the file of weights.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        from hpa_cells.segmentation.network import weights_hash

        return weights_hash(weights_file(self.weights))

    @property
    def is_on_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return device_kind(self.device) != "cpu"

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field; on a GPU, fields of one size go through the network together.

        Where a field has neither microtubules nor ER, a cell is its nucleus. Where its nucleus channel is of one
        value, nothing is found.

        Raises
        ------
        ValueError
            If a field's pixel size would enlarge it absurdly, or it is larger than a tile and the network's
            weights are of one that tiles cannot serve.
        """
        found = self.infer([self.see(field) for field in fields])
        return [self.find(*each) for each in zip(fields, found, strict=True)]

    def see(self, field: Field) -> NDArray[np.float32]:
        """(3, h, w) float32, see `network_input`.

        Raises
        ------
        ValueError
            If its pixel size would enlarge it absurdly, or it is larger than a tile and the network's weights are
            of one that tiles cannot serve.
        """
        image = network_input(field, self._network().settings.um_per_px)
        if max(image.shape[1:]) > self.tile_px and self._reach() is None:
            raise ValueError(
                f"Field {field.field_id} has {image.shape[1]} x {image.shape[2]} px at the network's scale, and the "
                f"network of segmenter.weights looks too far for tiles of {self.tile_px} px: give a "
                "segmenter.tile_px as large as the field, or weights of a network without attention over the whole "
                "image."
            )
        return image

    def infer(self, seen: Sequence[NDArray[np.float32]]) -> list[_Found]:
        """What the network finds in each image that `see` gave."""
        margin_px = _LEAST_MARGIN_PX
        # Only for large fields: to find out takes as long as half a field does.
        if any(max(image.shape[1:]) > self.tile_px for image in seen):
            margin_px = _margin_px(self._reach())
        maps = infer_maps(
            self._network(),
            seen,
            device=chosen_device(self.device),
            half=self.half,
            tile_px=self.tile_px,
            margin_px=margin_px,
            together=self.is_on_gpu,
        )
        return [
            _Found(each, shows_no_nuclei=shows_no_nuclei(image), shows_nuclei_only=shows_nuclei_only(image))
            for each, image in zip(maps, seen, strict=True)
        ]

    def find(self, field: Field, found: _Found) -> Segmentation:
        """The cells and nuclei that the maps show."""
        # In the dark holes of the other channels the network would guess some.
        if found.shows_no_nuclei:
            nothing = np.zeros(found.maps.shape[1:], dtype=np.int32)
            return at_field_size(field, cells=nothing, nuclei=nothing)
        settings, representation = self._network().settings, self._network().representation
        cells, nuclei = representation.decode(
            found.maps, um_per_px=settings.um_per_px, nuclei_only=found.shows_nuclei_only
        )
        return at_field_size(field, cells=cells, nuclei=nuclei)

    def _network(self) -> CellUNet:
        return _load(self.weights, str(chosen_device(self.device)))

    def _reach(self) -> int | None:
        return _reach(self.weights, str(chosen_device(self.device)))


_LEAST_MARGIN_PX = 256
# A multiple of every stride.
_MARGIN_STEP_PX = 64


def _margin_px(reach: int | None) -> int:
    """Width of the margin of a tile, for a network that looks so far; 0 for one that no margin is enough for."""
    if reach is None:
        return 0
    return max(_LEAST_MARGIN_PX, reach + -reach % _MARGIN_STEP_PX)


def weights_file(weights: str | None) -> Path:
    """The file of `UNet.weights`; one on a hub is pulled, with errors as `hpa_cells.hub.pull`."""
    if weights is not None and is_on_hub(weights):
        return pull(HubModel.parse(weights), FILES_ON_HUB).folder / FILES_ON_HUB[0]
    return PACKAGED_WEIGHTS if weights is None else Path(weights)


def pinned_segmenter(weights: str) -> str:
    """The address of a segmenter on a hub with the commit that it has now; it is here then. Errors as `pull`."""
    return str(pull(HubModel.parse(weights), FILES_ON_HUB).pinned)


# Once a process, not once a batch.
@lru_cache(maxsize=2)
def _load(weights: str | None, device: str) -> CellUNet:
    import torch

    from hpa_cells.segmentation.network import read_network

    network, _ = read_network(weights_file(weights))
    return network.to(memory_format=torch.channels_last).to(device)


@lru_cache(maxsize=2)
def _reach(weights: str | None, device: str) -> int | None:
    """How far the network looks, see `reach_px`."""
    from hpa_cells.segmentation.reach import reach_px

    return reach_px(_load(weights, device), device)
