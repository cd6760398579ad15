"""Borders and interiors: nuclei and cells with their rims, and a watershed that meets on the rims.

The official segmenter's representation (Ouyang et al., Nature Methods 16:1254, 2019), with the thresholds our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import disk, flood
from hpa_cells.segmentation.representations.frontiers import join_over_weak_frontiers
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap
from hpa_cells.segmentation.representations.shared import (
    REGIONS,
    connected,
    nuclei_for_cells,
    regions,
    tidy,
)

__all__ = ["Borders"]

_VALLEY = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Borders:
    """Two regions and their rims.

    Attributes
    ----------
    rim_um
        Width of a rim, inside the region.
    """

    rim_um: float = 0.7

    @property
    def maps(self) -> tuple[OutputMap, ...]:
        """Nucleus, cell, rim of nuclei, rim of cells."""
        return (
            *REGIONS,
            OutputMap(name="nucleus rim", part="nuclei", is_probability=True),
            OutputMap(name="cell rim", part="cells", is_probability=True),
        )

    def targets(self, cells: LabelImage, nuclei: LabelImage, *, um_per_px: float) -> NDArray[np.float32]:
        """See `Representation.targets`."""
        rims = (_rim(labels, self.rim_um / um_per_px) for labels in (nuclei, cells))
        return np.stack([*regions(cells, nuclei), *rims])

    def decode(
        self, maps: NDArray[np.float32], *, um_per_px: float, nuclei_only: bool = False
    ) -> tuple[LabelImage, LabelImage]:
        """See `Representation.decode`."""
        if nuclei_only:
            maps = nuclei_for_cells(self.maps, maps)
        nucleus, cell, nucleus_rim, cell_rim = maps
        seeds = connected((nucleus > 0.5) & (nucleus_rim < 0.5))
        nuclei = flood(nucleus_rim - nucleus, seeds, within=nucleus > 0.5)
        cells = flood(cell_rim - cell, nuclei, within=(cell > 0.5) | (nuclei > 0))
        cells = join_over_weak_frontiers(cells, 1 - cell_rim, valley=_VALLEY)
        return tidy(cells, np.where(nuclei > 0, cells, 0), um_per_px=um_per_px, nuclei_only=nuclei_only)


def _rim(labels: LabelImage, width_px: float) -> NDArray[np.float32]:
    """1 inside an object where another one, or the background, is within `width_px`; the image's edge is none."""
    around = disk(width_px)
    values = labels.astype(np.float32)
    differs = (cv2.dilate(values, around) != values) | (cv2.erode(values, around) != values)
    rim: NDArray[np.float32] = (differs & (labels > 0)).astype(np.float32)
    return rim
