"""All maps at once, learned by one network; cells are read from those of one representation, the distances."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.representations.borders import Borders
from hpa_cells.segmentation.representations.distances import Distances
from hpa_cells.segmentation.representations.offsets import Offsets
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap, Representation
from hpa_cells.segmentation.representations.shared import REGIONS, regions

__all__ = ["Joint"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """What one network can learn together, so that its readings can be compared on equal terms.

    Attributes
    ----------
    parts
        The representations whose maps are learned.
    reader
        Which of them the cells are read from.
    """

    parts: dict[str, Representation] = field(
        default_factory=lambda: {"borders": Borders(), "distances": Distances(), "offsets": Offsets()}
    )
    reader: str = "distances"

    @property
    def maps(self) -> tuple[OutputMap, ...]:
        """Nucleus, cell, and the further maps of each part."""
        return (*REGIONS, *(each for part in self.parts.values() for each in part.maps[len(REGIONS) :]))

    def targets(self, cells: LabelImage, nuclei: LabelImage, *, um_per_px: float) -> NDArray[np.float32]:
        """See `Representation.targets`."""
        further = (
            part.targets(cells, nuclei, um_per_px=um_per_px)[len(REGIONS) :] for part in self.parts.values()
        )
        return np.concatenate([np.stack(regions(cells, nuclei)), *further])

    def decode(
        self, maps: NDArray[np.float32], *, um_per_px: float, nuclei_only: bool = False
    ) -> tuple[LabelImage, LabelImage]:
        """See `Representation.decode`."""
        own = self.maps_of(self.reader, maps)
        return self.parts[self.reader].decode(own, um_per_px=um_per_px, nuclei_only=nuclei_only)

    def maps_of(self, name: str, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, h, w), those of a part."""
        first = len(REGIONS)
        for each, part in self.parts.items():
            last = first + len(part.maps) - len(REGIONS)
            if each == name:
                return np.concatenate([maps[: len(REGIONS)], maps[first:last]])
            first = last
        raise KeyError(name)
