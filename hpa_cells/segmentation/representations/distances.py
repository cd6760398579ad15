"""Distances: how deep a pixel lies in its nucleus and in its cell, and a watershed from the deepest pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import disk
from hpa_cells.segmentation.representations.frontiers import join_over_weak_frontiers
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap
from hpa_cells.segmentation.representations.shared import (
    REGIONS,
    connected,
    nuclei_for_cells,
    regions,
    tidy,
)
from hpa_cells.segmentation.watershed_cut import watershed_cut

__all__ = ["Distances"]

# A frontier parts two nuclei, or two cells, if it is shallower than this share of their depth. Chosen on simulated
# fields and, where these say little (from 0.7 to 0.9 for cells), on the four real ones of 2021, each left out.
_NUCLEUS_VALLEY, _CELL_VALLEY = 0.5, 0.9
# Depth beyond it says nothing of a frontier: across the middle of a narrow cell it would look like a valley.
_FRONTIER_UM = 3.0
# Small unevenness makes no peaks: the fewer there are, the fewer frontiers have to be looked at.
_PEAK_BLUR_UM, _LEAST_GAP_UM = 0.3, 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Distances:
    """Two regions and the depth in them.

    Attributes
    ----------
    depth_um
        Depth that counts as 1: what lies deeper needs not be told apart.
    """

    depth_um: float = 6.0

    @property
    def maps(self) -> tuple[OutputMap, ...]:
        """Nucleus, cell, depth in nuclei, depth in cells."""
        return (
            *REGIONS,
            # The scale is part of the name: weights that learned another one are refused.
            OutputMap(name=f"nucleus depth to {self.depth_um:g} um", part="nuclei", is_probability=False),
            OutputMap(name=f"cell depth to {self.depth_um:g} um", part="cells", is_probability=False),
        )

    def targets(self, cells: LabelImage, nuclei: LabelImage, *, um_per_px: float) -> NDArray[np.float32]:
        """See `Representation.targets`."""
        depths = (
            np.minimum(_depth_px(labels) * np.float32(um_per_px / self.depth_um), 1)
            for labels in (nuclei, cells)
        )
        return np.stack([*regions(cells, nuclei), *depths])

    def decode(
        self, maps: NDArray[np.float32], *, um_per_px: float, nuclei_only: bool = False
    ) -> tuple[LabelImage, LabelImage]:
        """See `Representation.decode`."""
        if nuclei_only:
            maps = nuclei_for_cells(self.maps, maps)
        nucleus, cell, nucleus_depth, cell_depth = maps
        nucleus_depth = np.where(nucleus > 0.5, nucleus_depth, 0)
        nuclei = watershed_cut(-nucleus_depth, _peaks(nucleus_depth, um_per_px), within=nucleus > 0.5)
        nuclei = join_over_weak_frontiers(nuclei, nucleus_depth, valley=_NUCLEUS_VALLEY)
        cells = watershed_cut(-cell_depth, nuclei, within=(cell > 0.5) | (nuclei > 0))
        cells = join_over_weak_frontiers(
            cells, np.minimum(cell_depth, _FRONTIER_UM / self.depth_um), valley=_CELL_VALLEY
        )
        return tidy(cells, np.where(nuclei > 0, cells, 0), um_per_px=um_per_px, nuclei_only=nuclei_only)


def _peaks(depth: NDArray[np.float32], um_per_px: float) -> LabelImage:
    """(h, w) int32, the places that nothing around is deeper than; many on a ridge, of which no frontier remains."""
    smooth = np.asarray(cv2.GaussianBlur(depth, (0, 0), _PEAK_BLUR_UM / um_per_px), dtype=np.float32)
    highest = cv2.dilate(smooth, disk(_LEAST_GAP_UM / um_per_px))
    return connected((depth > 0) & (smooth >= highest))


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
