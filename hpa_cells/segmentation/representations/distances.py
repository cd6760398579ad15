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
    nuclei_for_cells,
    regions,
    tidy,
)

__all__ = ["Distances"]

# Chosen on simulated fields and, with them, the four real ones of 2021. High seeds cut more nuclei than there are
# cells: the frontiers decide.
_SEED_DEPTH, _LEAST_FRONTIER = 0.7, 0.7


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

    def decode(
        self, maps: NDArray[np.float32], *, um_per_px: float, nuclei_only: bool = False
    ) -> tuple[LabelImage, LabelImage]:
        """See `Representation.decode`."""
        if nuclei_only:
            maps = nuclei_for_cells(self.maps, maps)
        nucleus, cell, nucleus_depth, cell_depth = maps
        nuclei = flood(-nucleus_depth, _seeds(nucleus > 0.5, nucleus_depth), within=nucleus > 0.5)
        cells = flood(-cell_depth, nuclei, within=(cell > 0.5) | (nuclei > 0))
        cells = merge_weak_frontiers(cells, 1 - cell_depth, least=1 - _LEAST_FRONTIER)
        return tidy(cells, np.where(nuclei > 0, cells, 0), um_per_px=um_per_px, nuclei_only=nuclei_only)


def _seeds(nucleus: NDArray[np.bool_], depth: NDArray[np.float32]) -> LabelImage:
    """The deep parts of nuclei, and those nuclei whole that are deep nowhere, such as plates of chromosomes."""
    deep = connected(nucleus & (depth > _SEED_DEPTH))
    pieces = connected(nucleus)
    is_deep = np.zeros(pieces.max() + 1, dtype=np.bool_)
    is_deep[pieces[deep > 0]] = True
    shallow = nucleus & ~is_deep[pieces]
    return np.where(shallow, pieces + deep.max(), deep).astype(np.int32)


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
