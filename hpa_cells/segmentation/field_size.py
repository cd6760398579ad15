"""Label images that were made at another scale, at the size of their field."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

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
    resized = [_resized(labels, field.height_px, field.width_px) for labels in (cells, nuclei)]
    return Segmentation(
        field_id=field.field_id, cells=resized[0], nuclei=resized[1], pixel_size_um=field.pixel_size_um
    )


def _resized(labels: NDArray[np.int32], height: int, width: int) -> NDArray[np.int32]:
    down, right = height // labels.shape[0], width // labels.shape[1]
    if labels.shape == (height / max(down, 1), width / max(right, 1)):
        # Several times faster, and the usual case: 2048 px fields are segmented at a quarter of it.
        return np.repeat(np.repeat(labels, right, axis=1), down, axis=0)
    found = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return found.astype(np.int32, copy=False)
