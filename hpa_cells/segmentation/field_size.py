"""Label images that were made at another scale, at the size of their field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells.resizing import nearest_pixels
from hpa_cells.label_images import CoarseLabels
from hpa_cells.types import Field, Segmentation

__all__ = ["at_field_size"]


def at_field_size(field: Field, *, cells: NDArray[np.int32], nuclei: NDArray[np.int32]) -> Segmentation:
    """The segmentation of a field whose cells were found at another scale.

    Parameters
    ----------
    field
        The field, (H, W) px.
    cells, nuclei
        (h, w) int32 each, of the whole field. A pixel of the field takes the id of the pixel below its centre.

    Returns
    -------
    Segmentation
        Of (H, W) px.
    """
    height, width = cells.shape
    rows, columns = nearest_pixels(height, field.height_px), nearest_pixels(width, field.width_px)
    if height <= field.height_px and width <= field.width_px:
        coarse = CoarseLabels(cells=cells, nuclei=nuclei, rows=rows, columns=columns)
        return Segmentation.enlarged(coarse, field_id=field.field_id, pixel_size_um=field.pixel_size_um)
    shown = np.ix_(rows, columns)
    return Segmentation(
        field_id=field.field_id,
        cells=cells[shown],
        nuclei=nuclei[shown],
        pixel_size_um=field.pixel_size_um,
    )
