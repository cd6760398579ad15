"""All cells of a field as square crops of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells.morphology import CellMorphology, measure_cells
from hpa_cells.cells.normalisation import normalise_field
from hpa_cells.types import NUM_CHANNELS, CellCrops, Field, Segmentation

__all__ = ["CropSettings", "crop_cells"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CropSettings:
    """How cells are cut out.

    Attributes
    ----------
    size_px
        Side of a crop, at least 8.
    masked
        Whether everything but the cell itself is set to 0.
    um_per_px
        Side of a crop's pixel, in um: all cells at one physical scale; only a cell larger than the crop
        is shrunk until it fits. None: each cell is scaled to fill the crop.
    margin
        Width left free around a cell that is scaled to fit, as a fraction of the crop, in [0, 0.5).
    """

    size_px: int = 128
    masked: bool = True
    um_per_px: float | None = None
    margin: float = 0.03

    def __post_init__(self) -> None:
        if self.size_px < 8:
            raise ValueError(f"crops.size_px is {self.size_px}: give at least 8.")
        if self.um_per_px is not None and not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise ValueError(
                f"crops.um_per_px is {self.um_per_px}: give a positive number of um, or null to fit."
            )
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"crops.margin is {self.margin}: give a fraction from 0 to below 0.5.")


def crop_cells(
    field: Field,
    segmentation: Segmentation,
    settings: CropSettings,
    *,
    measured: CellMorphology | None = None,
) -> CellCrops:
    """Every cell of the field, centred on the middle of its bounding box; beyond the field's edge there is 0.

    Parameters
    ----------
    field
        The field; it is normalised once, as a whole (see `normalise_field`).
    segmentation
        Its cells.
    settings
        Size, scale and masking.
    measured
        What `measure_cells` says of the segmentation, where that is known already.

    Returns
    -------
    CellCrops
        In the order of ascending ids; empty for a field without cells.

    Raises
    ------
    ValueError
        If the segmentation is of another field or another shape.
    """
    if segmentation.field_id != field.field_id or segmentation.cells.shape != field.image.shape[1:]:
        raise ValueError(
            f"Field {field.field_id} has shape {field.image.shape[1:]}, its segmentation is of "
            f"{segmentation.field_id} with shape {segmentation.cells.shape}: pass two of one field."
        )
    measured = measure_cells(segmentation) if measured is None else measured
    images = np.zeros(
        (len(measured.cell_ids), NUM_CHANNELS, settings.size_px, settings.size_px), dtype=np.uint8
    )
    if len(images):
        _fill(images, field, segmentation, measured, settings)
    return CellCrops(
        field_id=field.field_id,
        cell_ids=measured.cell_ids,
        images=images,
        touches_border=measured.touches_border,
        areas_um2=measured.areas_px.astype(np.float64) * segmentation.pixel_size_um**2,
    )


@dataclass(frozen=True, slots=True)
class _Plane:
    """A field at one scale: image (H, W, 4), labels (H, W), and its pixels per pixel of the field."""

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    scale: float


def _fill(
    images: NDArray[np.uint8],
    field: Field,
    segmentation: Segmentation,
    measured: CellMorphology,
    settings: CropSettings,
) -> None:
    """Write the crops into `images`, (N, 4, S, S) zeros."""
    size = settings.size_px
    original = _Plane(cv2.merge(list(normalise_field(field))), segmentation.cells, 1.0)
    sides_px = measured.boxes_px[:, 2:].max(axis=1)
    middles_px = measured.boxes_px[:, :2] + measured.boxes_px[:, 2:] / 2
    fixed = None
    if settings.um_per_px is not None:
        fixed = _resized(original, field.pixel_size_um / settings.um_per_px)
    for index, cell_id in enumerate(measured.cell_ids):
        if fixed is not None and sides_px[index] * fixed.scale <= size:
            crop, labels = _cut(fixed, middles_px[index], size)
        else:
            side = math.ceil(sides_px[index] / (1 - 2 * settings.margin))
            crop, labels = _cut(original, middles_px[index], side)
            crop, labels = _resize(crop, size, size), _resize(labels, size, size)
        images[index] = crop.transpose(2, 0, 1)
        if settings.masked:
            images[index] *= labels == cell_id


def _resized(plane: _Plane, scale: float) -> _Plane:
    height, width = (max(1, round(side * scale)) for side in plane.labels.shape)
    return _Plane(_resize(plane.image, height, width), _resize(plane.labels, height, width), scale)


def _resize(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize to (height, width): labels by the nearest pixel, images by area when they shrink."""
    if pixels.dtype == np.int32:
        method = cv2.INTER_NEAREST_EXACT
    else:
        method = cv2.INTER_AREA if height < pixels.shape[0] else cv2.INTER_LINEAR
    resized: NDArray[Any] = cv2.resize(pixels, (width, height), interpolation=method)
    return resized


def _cut(
    plane: _Plane, middle_px: NDArray[np.float64], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Image (side, side, 4) and labels (side, side) around a point given as x, y in pixels of the field.

    They are parts of the plane where it has all of them: not to be written to.
    """
    left, top = (int(each) for each in np.rint(middle_px * plane.scale - side / 2))
    height, width = plane.labels.shape
    inside = np.s_[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    target = np.s_[
        inside[0].start - top : inside[0].stop - top, inside[1].start - left : inside[1].stop - left
    ]
    if target == np.s_[0:side, 0:side]:
        return plane.image[inside], plane.labels[inside]
    image = np.zeros((side, side, NUM_CHANNELS), dtype=np.uint8)
    labels = np.zeros((side, side), dtype=np.int32)
    image[target] = plane.image[inside]
    labels[target] = plane.labels[inside]
    return image, labels
