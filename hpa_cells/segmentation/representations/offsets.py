"""Offsets: every pixel of a cell points to the middle of the cell's nucleus, and votes for it.

A spatial embedding (Neven et al., CVPR 2019, arXiv:1906.11109) anchored at nuclei. Two nuclei of one cell point
to one place, so that binucleated and dividing cells stay whole, and no flooding is needed: it is also fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.postprocessing import disk, spread
from hpa_cells.segmentation.representations.protocol import LabelImage, OutputMap
from hpa_cells.segmentation.representations.shared import REGIONS, connected, nuclei_for_cells, regions, tidy

__all__ = ["Offsets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Offsets:
    """Two regions and an arrow at every pixel.

    Attributes
    ----------
    unit_um
        Length of an arrow of 1.
    vote_blur_um
        Standard deviation of the smoothing of votes.
    least_gap_um
        Middles of nuclei are at least so far apart.
    least_votes_um2
        Nuclear area that must vote for a place to make it a middle.
    """

    unit_um: float = 10.0
    vote_blur_um: float = 0.8
    least_gap_um: float = 2.5
    least_votes_um2: float = 10.0

    @property
    def maps(self) -> tuple[OutputMap, ...]:
        """Nucleus, cell, arrow downwards, arrow to the right."""
        return (
            *REGIONS,
            OutputMap(name="offset down", part="either", is_probability=False),
            OutputMap(name="offset right", part="either", is_probability=False),
        )

    def targets(self, cells: LabelImage, nuclei: LabelImage, *, um_per_px: float) -> NDArray[np.float32]:
        """See `Representation.targets`; offsets are 0 outside of cells."""
        middles = _middles(nuclei, top=int(cells.max(initial=0)))
        rows, columns = np.indices(cells.shape, dtype=np.float32)
        unit_px = np.float32(self.unit_um / um_per_px)
        offsets = (
            np.where(cells > 0, (middle[cells] - place) / unit_px, 0)
            for middle, place in zip(middles, (rows, columns), strict=True)
        )
        return np.stack([*regions(cells, nuclei), *offsets]).astype(np.float32)

    def decode(
        self, maps: NDArray[np.float32], *, um_per_px: float, nuclei_only: bool = False
    ) -> tuple[LabelImage, LabelImage]:
        """See `Representation.decode`."""
        if nuclei_only:
            maps = nuclei_for_cells(self.maps, maps)
        nucleus, cell = maps[0] > 0.5, maps[1] > 0.5
        aims = _aims(maps[2:] * np.float32(self.unit_um / um_per_px))
        seeds = self._seeds(aims, nucleus, um_per_px)
        if not seeds.any():
            return np.zeros_like(seeds), np.zeros_like(seeds)
        owner = spread(seeds)[0].ravel()[aims]
        return tidy(
            np.where(cell | nucleus, owner, 0),
            np.where(nucleus, owner, 0),
            um_per_px=um_per_px,
            nuclei_only=nuclei_only,
        )

    def _seeds(self, aims: NDArray[np.intp], nucleus: NDArray[np.bool_], um_per_px: float) -> LabelImage:
        """(h, w) int32, a few pixels with an id at the middle of each nucleus."""
        votes = np.bincount(aims[nucleus], minlength=aims.size).reshape(aims.shape).astype(np.float32)
        blur_px = self.vote_blur_um / um_per_px
        density = np.asarray(cv2.GaussianBlur(votes, (0, 0), blur_px), dtype=np.float32)
        # The height of a Gaussian that as many votes for one point make.
        least = self.least_votes_um2 / um_per_px**2 / (2 * np.pi * blur_px**2) / 3
        peaks = (density > least) & (density >= cv2.dilate(density, disk(self.least_gap_um / um_per_px)))
        return connected(peaks)


def _aims(offsets_px: NDArray[np.float32]) -> NDArray[np.intp]:
    """(h, w), the flat index of the pixel that each pixel points to; what points out ends at the edge."""
    height, width = offsets_px.shape[1:]
    rows = np.rint(offsets_px[0] + np.arange(height, dtype=np.float32)[:, None])
    columns = np.rint(offsets_px[1] + np.arange(width, dtype=np.float32))
    inside = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    aims: NDArray[np.intp] = inside[0].astype(np.intp) * width + inside[1].astype(np.intp)
    return aims


def _middles(nuclei: LabelImage, *, top: int) -> NDArray[np.float32]:
    """(2, top + 1) float32, mean row and column of each id; 0 for an id without a nucleus."""
    rows, columns = np.nonzero(nuclei)
    ids = nuclei[rows, columns]
    counts = np.maximum(np.bincount(ids, minlength=top + 1), 1)
    sums = (np.bincount(ids, weights=places, minlength=top + 1) for places in (rows, columns))
    return np.stack([each / counts for each in sums]).astype(np.float32)
