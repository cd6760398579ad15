"""A field as the segmenter learns from it, at the network's scale."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.network_input import intensity_range, rescaled_channels, scaled_shape
from hpa_cells.types import Field, Segmentation

__all__ = ["TrainingField", "training_field"]


_NUCLEUS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingField:
    """Pixels and truth at the network's scale.

    Attributes
    ----------
    name
        The field's id.
    source
        ``simulated``, ``cells`` (real, with known cells) or ``nuclei`` (real, with known nuclei only).
    planes
        (h, w, 3) float16, microtubules, ER and nucleus in units of an 8-bit image.
    ends
        (3, 2) float32, dark and bright end of each.
    cells
        (h, w) int32; where only nuclei are known, these.
    in_nucleus
        (h, w) bool; the nucleus of a cell is where its pixels are in one.
    """

    name: str
    source: str
    planes: NDArray[np.float16]
    ends: NDArray[np.float32]
    cells: NDArray[np.int32]
    in_nucleus: NDArray[np.bool_]

    @property
    def knows_cells(self) -> bool:
        """Whether `cells` are more than nuclei, and can be seen: without microtubules and ER they cannot."""
        has_cytoplasm = (self.ends[:_NUCLEUS, 1] > self.ends[:_NUCLEUS, 0]).any()
        return self.source != "nuclei" and bool(has_cytoplasm)


def training_field(field: Field, truth: Segmentation, *, source: str, um_per_px: float) -> TrainingField:
    """Bring a field and its truth to the network's scale; see `TrainingField` for `source`."""
    planes = rescaled_channels(field, um_per_px)
    height_px, width_px = scaled_shape(field, um_per_px)
    cells, nuclei = (
        cv2.resize(labels, (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
        for labels in (truth.cells, truth.nuclei)
    )
    return TrainingField(
        name=field.field_id,
        source=source,
        planes=planes.transpose(1, 2, 0).astype(np.float16),
        ends=intensity_range(planes),
        cells=cells.astype(np.int32),
        in_nucleus=(nuclei > 0) & (nuclei == cells),
    )
