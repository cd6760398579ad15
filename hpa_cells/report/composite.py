"""Four channels as one picture in the colours of the Human Protein Atlas."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.types import Field

__all__ = ["composite", "mix_channels", "protein_and_references"]

# Rows: red, green, blue of the picture. Columns: microtubules, protein, nucleus, ER. The ER is yellow, and
# faint: it fills most of a cell and would hide the protein.
_ATLAS = np.array([[0.9, 0.0, 0.0, 0.3], [0.0, 1.0, 0.0, 0.25], [0.0, 0.0, 1.0, 0.0]], dtype=np.float32)
# The protein in green over grey hints of where it is: microtubules as the body of the cell, and the nucleus.
_PROTEIN = np.array([[0.26, 0.1, 0.14, 0.0], [0.26, 1.0, 0.16, 0.0], [0.3, 0.1, 0.55, 0.0]], dtype=np.float32)


def composite(field: Field) -> NDArray[np.uint8]:
    """The field in colours: microtubules red, protein green, nucleus blue, ER faintly yellow.

    Each channel is stretched from the background to the bright end of the field (see
    `hpa_cells.cells.normalise_field`): an empty channel stays black.

    Returns
    -------
    (H, W, 3) uint8, red, green, blue.
    """
    return mix_channels(normalise_field(field))


def mix_channels(channels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`composite` of (4, H, W) uint8 channels that are stretched already: (H, W, 3) uint8."""
    return _mix(channels, _ATLAS)


def protein_and_references(channels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The protein in green, nucleus and microtubules as faint hints: (H, W, 3) uint8 from (4, H, W) uint8."""
    return _mix(channels, _PROTEIN)


def _mix(channels: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(cv2.transform(cv2.merge(list(channels)), weights), dtype=np.uint8)
