"""What a representation of cells is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["OutputMap", "Representation"]

LabelImage = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputMap:
    """One map that the network gives.

    Attributes
    ----------
    name
        For logs.
    part
        ``nuclei`` or ``cells``: what must be known of an image for this map to be learned from it; ``either``:
        learned inside of cells, or inside of nuclei where only these are known.
    is_probability
        True: from 0 to 1 everywhere. False: a value that means something inside of `part` only.
    """

    name: str
    part: str
    is_probability: bool


class Representation(Protocol):
    """Maps for cells and nuclei, and the way back.

    The first map is always the probability of a pixel to be in a nucleus, the second that of being in a cell.
    """

    @property
    def maps(self) -> tuple[OutputMap, ...]:
        """The T maps."""
        ...

    def targets(self, cells: LabelImage, nuclei: LabelImage, *, um_per_px: float) -> NDArray[np.float32]:
        """The true maps.

        Parameters
        ----------
        cells, nuclei
            (h, w) int32, a nucleus with the id of its cell. Where only nuclei are known, `cells` are these.
        um_per_px
            Side of a pixel.

        Returns
        -------
        (T, h, w) float32.
        """
        ...

    def decode(
        self, maps: NDArray[np.float32], *, um_per_px: float, nuclei_only: bool = False
    ) -> tuple[LabelImage, LabelImage]:
        """Cells and nuclei.

        Parameters
        ----------
        maps
            (T, h, w) float32; probabilities as such, not as logits.
        nuclei_only
            Nothing shows how far cells reach: each is its nucleus, and maps of cells are not looked at.

        Returns
        -------
        cells, nuclei
            (h, w) int32, ids from 1 without gaps; a nucleus has the id of its cell, each cell has one.
        """
        ...
