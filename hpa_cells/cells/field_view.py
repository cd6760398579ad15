"""A whole field as a network sees it at once: resized to one physical scale, with its cells as a label image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells.morphology import CellMorphology, measure_cells
from hpa_cells.cells.normalisation import normalise_field
from hpa_cells.cells.resizing import nearest_pixels
from hpa_cells.types import NUM_CHANNELS, Field, FieldView, Segmentation

__all__ = ["FieldViewSettings", "pad_fields", "view_field"]

# The largest stride of common networks: sides of whole strides leave each place of a map the same share of pixels.
_SIDE_UNIT_PX = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldViewSettings:
    """How a field is shown.

    Attributes
    ----------
    um_per_px
        Side of a pixel, in um: all fields at one physical scale.
    masked
        Whether what is outside of all cells is set to 0.
    """

    um_per_px: float
    masked: bool

    def __post_init__(self) -> None:
        if not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise ValueError(
                f"view.um_per_px is {self.um_per_px}: give a positive number of um, such as 0.32."
            )


def view_field(
    field: Field,
    segmentation: Segmentation,
    settings: FieldViewSettings,
    *,
    measured: CellMorphology | None = None,
) -> FieldView:
    """The field, normalised and resized, with all its cells.

    A cell too small to be hit by a pixel of the view gets the free one that is nearest to its middle. `measured` is
    what `measure_cells` says of the segmentation, where that is known already.

    Raises
    ------
    ValueError
        If the segmentation is of another field or another shape, or the view has fewer pixels than cells.
    """
    if segmentation.field_id != field.field_id or segmentation.shape != field.image.shape[1:]:
        raise ValueError(
            f"Field {field.field_id} has shape {field.image.shape[1:]}, its segmentation is of "
            f"{segmentation.field_id} with shape {segmentation.shape}: pass two of one field."
        )
    measured = measure_cells(segmentation) if measured is None else measured
    scale = field.pixel_size_um / settings.um_per_px
    height, width = (max(1, round(side * scale)) for side in segmentation.shape)
    pixels = cv2.merge(list(normalise_field(field)))
    method = cv2.INTER_AREA if height < field.height_px else cv2.INTER_LINEAR
    image = cv2.resize(pixels, (width, height), interpolation=method).transpose(2, 0, 1)
    labels = segmentation.coarse.cells_at(
        nearest_pixels(field.height_px, height), nearest_pixels(field.width_px, width)
    )
    if len(measured.cell_ids) > labels.size:
        raise ValueError(
            f"Field {field.field_id} has {len(measured.cell_ids)} cells, more than its view of {height} x {width} px "
            f"has pixels: set view.um_per_px below {settings.um_per_px}."
        )
    _give_each_a_pixel(labels, measured, scale)
    if settings.masked:
        image = image * (labels > 0)
    return FieldView(
        field_id=field.field_id,
        cell_ids=measured.cell_ids,
        image=np.ascontiguousarray(image, dtype=np.uint8),
        labels=labels,
        touches_border=measured.touches_border,
        areas_um2=measured.areas_px.astype(np.float64) * segmentation.pixel_size_um**2,
    )


def _give_each_a_pixel(labels: NDArray[np.int32], measured: CellMorphology, scale: float) -> None:
    """Bring back cells that were lost when `labels` shrank, without losing another."""
    lost = np.flatnonzero(~np.isin(measured.cell_ids, labels))
    if not lost.size:
        return
    rows, columns = np.indices(labels.shape)
    for position in lost:
        x, y = (measured.centroids_px[position] + 0.5) * scale - 0.5
        _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
        is_last = (labels > 0) & (counts[number].reshape(labels.shape) == 1)
        distances = np.where(is_last, np.inf, (rows - y) ** 2 + (columns - x) ** 2)
        labels.flat[distances.argmin()] = measured.cell_ids[position]


def pad_fields(
    images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.int32]]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Fields of any shapes as one batch: black below and to the right, where no mask is.

    Parameters
    ----------
    images
        B arrays (4, h, w) uint8.
    masks
        B arrays (h, w) of whole numbers.

    Returns
    -------
    images
        (B, 4, H, W) uint8: H and W are the largest height and width, up to the next multiple of 32 px.
    masks
        (B, H, W) int32.
    """
    shapes = np.array([each.shape for each in masks])
    height, width = -(-shapes.max(axis=0) // _SIDE_UNIT_PX) * _SIDE_UNIT_PX
    padded = np.zeros((len(shapes), NUM_CHANNELS, height, width), dtype=np.uint8)
    numbers = np.zeros((len(shapes), height, width), dtype=np.int32)
    for position, (image, mask) in enumerate(zip(images, masks, strict=True)):
        own = np.s_[position, ..., : mask.shape[0], : mask.shape[1]]
        padded[own], numbers[own] = image, mask
    return padded, numbers
