"""How much masks given as run lengths overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

__all__ = ["pairwise_iou"]


def pairwise_iou(
    counts_a: Sequence[bytes], counts_b: Sequence[bytes], height: int, width: int
) -> NDArray[np.float64]:
    """Intersection over union of each mask of one list with each of another.

    Parameters
    ----------
    counts_a, counts_b
        Compressed counts of masks in the same image; masks may overlap.
    height, width
        Of the image, in px.

    Returns
    -------
    (A, B) float64 in [0, 1]; 0 where either mask is empty.
    """
    if not counts_a or not counts_b:
        return np.zeros((len(counts_a), len(counts_b)))
    size = [height, width]
    masks_a, masks_b = (
        [{"size": size, "counts": each} for each in counts] for counts in (counts_a, counts_b)
    )
    iou: NDArray[np.float64] = coco_mask.iou(masks_a, masks_b, [False] * len(masks_b))
    return iou
