"""Cells and nuclei without any weights: a threshold, a distance transform and a seeded watershed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.field_size import at_field_size
from hpa_cells.segmentation.nuclei import nucleus_mask, split_at_necks
from hpa_cells.segmentation.outlines import cytoplasm_signal, grow_cells
from hpa_cells.segmentation.postprocessing import disk, fill_holes, relabel, remove_small
from hpa_cells.types import Channel, Field, Segmentation

__all__ = ["Watershed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Watershed:
    """The segmenter that needs no training.

    Nuclei are found in the nuclear channel, cells grow from them over the microtubules and the ER. Every
    length is in um and every area in um2, so that one setting serves all magnifications; the work is done at
    `working_um_per_px` and enlarged to the field's own pixels. Nuclei that touch each other without a neck,
    as in many binucleated cells, share one cell.

    The defaults were chosen on four fields of the 2021 challenge and on 36 images of nuclei (BBBC038):
    figures measured on those are optimistic.

    Attributes
    ----------
    working_um_per_px
        Side of a pixel the work is done at; a coarser field is taken as it is.
    nucleus_blur_um, nucleus_window_um, nucleus_global_fraction, nucleus_local_fraction
        Threshold of nuclei, see `nucleus_mask`.
    nucleus_neck
        From 0 to 1: the larger, the more readily touching nuclei are cut apart, see `split_at_necks`.
    min_nucleus_area_um2
        Smaller nuclei are taken for debris.
    cell_blur_um
        Standard deviation of the smoothing of microtubules and ER.
    cell_fraction
        A cell ends where its signal falls below this fraction of that around its nucleus, in [0, 1].
    distance_weight_per_um
        How much of the signal (from 0 to about 1) a um of distance from the nucleus is worth where cells
        meet. The larger, the more a border lies midway between nuclei, and the less in the dark valley
        between cells: 0.03 to 0.06 suit cells that touch without a valley.
    ring_um
        Width of the ring around a nucleus in which the signal of its cell is measured.
    closing_um
        Indentations and gaps in a cell narrower than twice this are closed.
    min_cell_area_um2
        Smaller cells are dropped with their nuclei.
    max_hole_area_um2
        Holes up to this area are filled.
    """

    working_um_per_px: float = 0.32
    nucleus_blur_um: float = 0.5
    nucleus_window_um: float = 8.0
    nucleus_global_fraction: float = 0.6
    nucleus_local_fraction: float = 0.95
    nucleus_neck: float = 0.6
    min_nucleus_area_um2: float = 15.0
    cell_blur_um: float = 0.8
    cell_fraction: float = 0.3
    distance_weight_per_um: float = 0.003
    ring_um: float = 5.0
    closing_um: float = 1.0
    min_cell_area_um2: float = 40.0
    max_hole_area_um2: float = 80.0

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"segmenter.{setting.name} is {value}: give a positive number.")

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """The protein, which is never looked at, and the ER."""
        return frozenset({Channel.PROTEIN, Channel.ER})

    def prepare(self) -> None:
        """Nothing: it needs no weights."""

    def fingerprint(self) -> None:
        """None: its settings say all."""

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field; a field without nuclei has no cells."""
        return [self._segment(field) for field in fields]

    def _segment(self, field: Field) -> Segmentation:
        scale = min(1.0, field.pixel_size_um / self.working_um_per_px)
        um = scale / field.pixel_size_um  # working pixels per um: the one place where sizes are scaled
        nuclei = self._find_nuclei(_shrunk(field, Channel.NUCLEUS, scale), um)
        if nuclei.any():
            signal = cytoplasm_signal(
                [_shrunk(field, channel, scale) for channel in (Channel.MICROTUBULES, Channel.ER)],
                blur_px=self.cell_blur_um * um,
            )
            cells = grow_cells(
                nuclei,
                signal,
                fraction=self.cell_fraction,
                distance_weight=self.distance_weight_per_um / um,
                ring_px=self.ring_um * um,
                closing_px=self.closing_um * um,
                max_hole_area_px=self.max_hole_area_um2 * um**2,
            )
            cells, nuclei = relabel(remove_small(cells, self.min_cell_area_um2 * um**2), nuclei)
        else:
            cells = nuclei
        return at_field_size(field, cells=cells, nuclei=nuclei)

    def _find_nuclei(self, stain: NDArray[np.float32], um: float) -> NDArray[np.int32]:
        mask = nucleus_mask(
            stain,
            blur_px=self.nucleus_blur_um * um,
            window_px=self.nucleus_window_um * um,
            global_fraction=self.nucleus_global_fraction,
            local_fraction=self.nucleus_local_fraction,
        )
        opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk(1.0 * um))
        whole = fill_holes(opened > 0, self.max_hole_area_um2 * um**2)
        nuclei = split_at_necks(whole, blur_px=0.5 * um, min_distance_px=1.0 * um, neck=self.nucleus_neck)
        return relabel(remove_small(nuclei, self.min_nucleus_area_um2 * um**2))[0]


def _shrunk(field: Field, channel: Channel, scale: float) -> NDArray[np.float32]:
    """Pixels of a channel in units of an 8-bit image at the working resolution, (h, w) float32."""
    # Exact in float32 for both depths: a field and its 16-bit copy give the same cells.
    plane: NDArray[np.float32] = field.image[channel].astype(np.float32) / np.float32(field.max_value // 255)
    if scale == 1:
        return plane
    size = tuple(max(1, round(side * scale)) for side in (field.width_px, field.height_px))
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
