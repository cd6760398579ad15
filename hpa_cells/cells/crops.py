"""All cells of a field as square crops of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells.field_scales import FieldScales, cut_square
from hpa_cells.cells.morphology import CellMorphology, measure_cells
from hpa_cells.cells.resizing import nearest_pixels, resize
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
    if segmentation.field_id != field.field_id or segmentation.shape != field.image.shape[1:]:
        raise ValueError(
            f"Field {field.field_id} has shape {field.image.shape[1:]}, its segmentation is of "
            f"{segmentation.field_id} with shape {segmentation.shape}: pass two of one field."
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


def _fill(
    images: NDArray[np.uint8],
    field: Field,
    segmentation: Segmentation,
    measured: CellMorphology,
    settings: CropSettings,
) -> None:
    """Write the crops into `images`, (N, 4, S, S) zeros."""
    size, scales = settings.size_px, FieldScales(field)
    sides_px = measured.boxes_px[:, 2:].max(axis=1)
    middles_px = measured.boxes_px[:, :2] + measured.boxes_px[:, 2:] / 2
    scale = 0.0 if settings.um_per_px is None else field.pixel_size_um / settings.um_per_px
    if scale:
        height, width = (max(1, round(side * scale)) for side in segmentation.shape)
        image_at_scale = resize(scales.shrunk(1), height, width)
        rows, columns = nearest_pixels(field.height_px, height), nearest_pixels(field.width_px, width)
    for index, cell_id in enumerate(measured.cell_ids):
        if scale and sides_px[index] * scale <= size:
            left, top = _corner(middles_px[index] * scale, size)
            crop = cut_square(image_at_scale, (left, top), size)
            x, y = _look_up(columns, left, size), _look_up(rows, top, size)
        else:
            side = math.ceil(sides_px[index] / (1 - 2 * settings.margin))
            # Most of the way down is the same for all cells of a size, and is gone once for the whole field.
            factor = 2 ** max(0, int(math.log2(side / size)))
            side = -(-side // factor)
            left, top = _corner(middles_px[index] / factor, side)
            crop = resize(scales.cut(factor, (left, top), side), size, size)
            x, y = (start * factor + nearest_pixels(side * factor, size) for start in (left, top))
        images[index] = crop.transpose(2, 0, 1)
        if settings.masked:
            images[index] *= segmentation.coarse.cells_at(y, x) == cell_id


def _corner(middle_px: NDArray[np.float64], side: int) -> tuple[int, int]:
    """Left and top of a square around a point."""
    left, top = np.rint(middle_px - side / 2)
    return int(left), int(top)


def _look_up(shown: NDArray[np.int32], start: int, size: int) -> NDArray[np.int32]:
    """`shown`, from `start` on; -1 beyond its ends."""
    wanted = np.arange(start, start + size)
    return np.where((wanted < 0) | (wanted >= len(shown)), -1, shown.take(wanted, mode="clip"))
