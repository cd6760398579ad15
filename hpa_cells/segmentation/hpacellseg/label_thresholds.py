"""At which probabilities and sizes the published post-processing decides, in one place.

The probabilities are those of ``hpacellseg/utils.py`` of CellProfiling/HPA-Cell-Segmentation. It gives sizes in
pixels of 0.08 um; here they are in um, and `LabelSizes.at` brings them to pixels of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

__all__ = [
    "CELL_BORDER",
    "NUCLEUS",
    "NUCLEUS_BORDER",
    "SEED",
    "SEED_BORDER",
    "UM_PER_PX",
    "LabelSizes",
    "cell_threshold",
]

# The pixels that the published sizes were chosen for.
UM_PER_PX: Final = 0.08

# Above it, a pixel may be in a nucleus, and in the seed of one.
NUCLEUS: Final = 0.4
SEED: Final = 0.15
# Above it, a pixel is no seed of a nucleus: of the nuclei's own borders, and of these together with the cells'.
NUCLEUS_BORDER: Final = 0.05
SEED_BORDER: Final = 0.95
# Above it, a cell may grow over the borders between cells.
CELL_BORDER: Final = 0.05
_LEAST_CELL: Final = 0.22

# A finer pixel needs disks of more memory than there is, and in a coarser one a cell has no shape.
_LEAST_UM_PER_PX, _MOST_UM_PER_PX = 0.005, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSizes:
    """Smallest areas and the like, in pixels.

    Attributes
    ----------
    min_seed_px, min_speck_px, min_nucleus_px, min_cell_px
        What is smaller is dropped: seeds of nuclei, specks of nuclear stain, nuclei, and cells.
    max_hole_px
        Holes in nuclei are filled if they are smaller.
    closing_px
        Radius of the disk that closes cells.
    """

    min_seed_px: float
    min_speck_px: float
    min_nucleus_px: float
    min_cell_px: float
    max_hole_px: float
    closing_px: float

    @classmethod
    def at(cls, um_per_px: float) -> Self:
        """The published sizes in pixels of `um_per_px`.

        Raises
        ------
        ValueError
            If that is not from 0.005 to 5 um.

        Examples
        --------
        >>> LabelSizes.at(0.16).min_cell_px
        1375.0
        """
        if not _LEAST_UM_PER_PX <= um_per_px <= _MOST_UM_PER_PX:
            raise ValueError(
                f"The pixel size is {um_per_px} um: give one from {_LEAST_UM_PER_PX} to {_MOST_UM_PER_PX:g} um, "
                f"such as the published {UM_PER_PX}."
            )
        scale = UM_PER_PX / um_per_px
        return cls(
            min_seed_px=500 * scale**2,
            min_speck_px=8 * scale**2,
            min_nucleus_px=2500 * scale**2,
            min_cell_px=5500 * scale**2,
            max_hole_px=1000 * scale**2,
            closing_px=6 * scale,
        )


def cell_threshold(interiors: NDArray[np.uint8]) -> float:
    """The probability above which a pixel is in a cell: half of Otsu's threshold, and at least 0.22.

    Parameters
    ----------
    interiors
        (H, W) uint8, probability of a cell's interior in 255ths.

    Returns
    -------
    In [0.22, 0.5]. Of an image of one value, that value is Otsu's threshold.
    """
    counts = np.bincount(interiors.ravel(), minlength=256)
    levels = np.flatnonzero(counts) / 255
    if len(levels) == 1:
        return max(_LEAST_CELL, 0.5 * float(levels[0]))
    # 256 bins between the least and the greatest value, as Otsu's threshold of the floats would have them.
    binned, edges = np.histogram(levels, bins=256, weights=counts[counts > 0])
    otsu = threshold_otsu(hist=(binned, (edges[1:] + edges[:-1]) / 2))
    return max(_LEAST_CELL, 0.5 * float(otsu))
