"""The published networks as a segmenter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.devices import chosen_device, device_kind
from hpa_cells.segmentation.field_size import at_field_size
from hpa_cells.segmentation.hpacellseg.resampling import rescaled, unit_range
from hpa_cells.segmentation.network_input import scaled_shape
from hpa_cells.segmentation.tiles import check_tile_px
from hpa_cells.types import Channel, Field, Segmentation

if TYPE_CHECKING:
    from hpa_cells.segmentation.hpacellseg.networks import DPNUNet

__all__ = ["HpaCellSeg"]

# The networks know a quarter of 0.08 um.
_UM_PER_PX: Final = 0.32

_Probabilities = tuple[NDArray[np.float32], NDArray[np.float32]]

# By setting: what it may be, and how that is called.
_KINDS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "weights": ((str, Path, NoneType), "a path or null"),
    "with_er": ((bool,), "true or false"),
    "device": ((str,), "auto, cpu, cuda or cuda:0"),
    "half": ((bool,), "true or false"),
    "tile_px": ((int,), "a whole number"),
}


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
        Whether to compute in 16 bits: faster on a GPU and on a recent CPU, and nearly the same.
    tile_px
        Side, at the networks' scale, of the tiles that larger fields go through them in: bounds the memory.
    """

    weights: str | None = None
    with_er: bool = True
    device: str = "auto"
    half: bool = False
    tile_px: int = 1024

    def __post_init__(self) -> None:
        for name, (kinds, wanted) in _KINDS.items():
            value = getattr(self, name)
            # For Python, True is an int.
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(
                    f"segmenter.{name} is {value!r}, of type {type(value).__name__}: give {wanted}."
                )
        check_tile_px(self.tile_px)

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """The protein, which is never looked at, and the ER for the network that does without."""
        return frozenset({Channel.PROTEIN} if self.with_er else {Channel.PROTEIN, Channel.ER})

    def prepare(self) -> None:
        """Load the networks, and download them where they are missing.

        Raises
        ------
        FileNotFoundError
            If they are not there and the download fails.
        ValueError
            If a file of them is damaged, or there is no such device.
        """
        _networks(self.weights, self.with_er, self.device)

    def fingerprint(self) -> str:
        """SHA-256 of the checksums of both networks, which are downloaded where they are missing.

        Raises
        ------
        FileNotFoundError
            If they are not there and the download fails.
        ValueError
            If a published file is damaged.
        """
        from hpa_cells.segmentation.hpacellseg.weights import published_checksum, weights_folder

        folder = weights_folder(self.weights)
        checksums = [published_checksum(name, folder) for name in _names(self.with_er)]
        return hashlib.sha256("".join(checksums).encode()).hexdigest()

    @property
    def is_on_gpu(self) -> bool:
        """Whether the networks are on a GPU."""
        return device_kind(self.device) != "cpu"

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field; on a GPU, fields of one size at 0.32 um go through together."""
        found = self.infer([self.see(field) for field in fields])
        return [self.find(*each) for each in zip(fields, found, strict=True)]

    def see(self, field: Field) -> NDArray[np.float32]:
        """(h, w, 3) float32 from 0 to 1: microtubules, ER or zeros, and nucleus at the networks' scale."""
        height, width = scaled_shape(field, _UM_PER_PX)
        planes = [
            rescaled(unit_range(field.image[channel], f"Field {field.field_id}"), height, width)
            if self.with_er or channel != Channel.ER
            else np.zeros((height, width), dtype=np.float32)
            for channel in (Channel.MICROTUBULES, Channel.ER, Channel.NUCLEUS)
        ]
        return np.stack(planes, axis=2)

    def infer(self, seen: Sequence[NDArray[np.float32]]) -> list[_Probabilities]:
        """Probabilities, (h, w, 3) float32, of nuclei and of cells in each image that `see` gave."""
        from hpa_cells.segmentation.hpacellseg.inference import predict

        nuclei_only = [np.repeat(image[..., 2:], 3, axis=2) for image in seen]
        of_nuclei, of_cells = (
            predict(network, each, margin=True, half=self.half, tile_px=self.tile_px, together=self.is_on_gpu)
            for network, each in zip(
                _networks(self.weights, self.with_er, self.device), (nuclei_only, seen), strict=True
            )
        )
        return list(zip(of_nuclei, of_cells, strict=True))

    def find(self, field: Field, found: _Probabilities) -> Segmentation:
        """The cells and nuclei that the probabilities show."""
        from hpa_cells.segmentation.hpacellseg.labels import label_predictions

        nuclei, cells = label_predictions(*map(_as_bytes, found), um_per_px=_UM_PER_PX)
        return at_field_size(field, cells=cells, nuclei=nuclei)


# Once a process, not once a batch.
@lru_cache(maxsize=2)
def _networks(weights: str | None, with_er: bool, device: str) -> tuple[DPNUNet, DPNUNet]:
    """The nuclei's network and the cells'."""
    from hpa_cells.segmentation.hpacellseg.weights import published_network, weights_folder

    chosen, folder = chosen_device(device), weights_folder(weights)
    nuclei, cells = (published_network(name, folder).to(chosen) for name in _names(with_er))
    return nuclei, cells


def _names(with_er: bool) -> tuple[str, str]:
    """Of the nuclei's network and the cells'."""
    from hpa_cells.segmentation.hpacellseg.weights import CELLS, CELLS_WITHOUT_ER, NUCLEI

    return NUCLEI, CELLS if with_er else CELLS_WITHOUT_ER


def _as_bytes(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities in 255ths, the plane that means nothing at 0: what the labels were made for."""
    rounded = np.rint(probabilities * 255).astype(np.uint8)
    rounded[..., 0] = 0
    return rounded
