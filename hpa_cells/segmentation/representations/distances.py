"""Distances: how deep a pixel lies in its nucleus and in its cell, and a watershed from the deepest pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import flood
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap
from hpa_cells.segmentation.representations.shared import (
    REGIONS,
    connected,
    merge_weak_frontiers,
    regions,
    tidy,
)

__all__ = ["Distances"]

_SEED_DEPTH, _LEAST_FRONTIER = 0.45, 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class Distances:
    """Two regions and the depth in them.

    Attributes
    ----------
    nucleus_um, cell_um
        Depth that counts as 1: what lies deeper needs not be told apart.
    """

    nucleus_um: float = 3.0
    cell_um: float = 3.0

    @property
    def maps(self) -> tuple[OutputMap, ...]:
        """Nucleus, cell, depth in nuclei, depth in cells."""
        return (
            *REGIONS,
            OutputMap(name="nucleus depth", part="nuclei", is_probability=False),
            OutputMap(name="cell depth", part="cells", is_probability=False),
        )

    def targets(self, cells: LabelImage, nuclei: LabelImage, *, um_per_px: float) -> NDArray[np.float32]:
        """See `Representation.targets`."""
        depths = (
            np.minimum(_depth_px(labels) * np.float32(um_per_px / most_um), 1)
            for labels, most_um in ((nuclei, self.nucleus_um), (cells, self.cell_um))
        )
        return np.stack([*regions(cells, nuclei), *depths])

    def decode(self, maps: NDArray[np.float32], *, um_per_px: float) -> tuple[LabelImage, LabelImage]:
        """See `Representation.decode`."""
        nucleus, cell, nucleus_depth, cell_depth = maps
        seeds = connected((nucleus > 0.5) & (nucleus_depth > _SEED_DEPTH))
        nuclei = flood(-nucleus_depth, seeds, within=nucleus > 0.5)
        cells = flood(-cell_depth, nuclei, within=(cell > 0.5) | (nuclei > 0))
        cells = merge_weak_frontiers(cells, 1 - cell_depth, least=1 - _LEAST_FRONTIER)
        return tidy(cells, np.where(nuclei > 0, cells, 0), um_per_px=um_per_px)


def _depth_px(labels: LabelImage) -> NDArray[np.float32]:
    """Distance of a pixel to the nearest one outside of its own object; the image's edge is no outside."""
    framed = cv2.copyMakeBorder(labels, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inside = framed > 0
    # Two objects that touch: the last pixel of the one and the first of the other are both at its rim.
    across, down = framed[:, 1:] != framed[:, :-1], framed[1:] != framed[:-1]
    inside[:, 1:] &= ~across
    inside[:, :-1] &= ~across
    inside[1:] &= ~down
    inside[:-1] &= ~down
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return np.where(labels > 0, np.minimum(depth, 1e6) + 1, 0).astype(np.float32)
