"""Cells on a plane, so that those that the network finds alike lie together.

`MapMethod.UMAP` keeps neighbours together [1]_; distances between groups of cells mean little there. It starts from the
principal components, which keeps apart what is far apart [2]_, and gives the same map each time. `MapMethod.PCA` is
these components: distances mean something, and groups lie over each other.

Shapes: N cells, R of them in the sample that is laid out, k neighbours, D dimensions.

References
----------
.. [1] McInnes, Healy, Melville: UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction. arXiv
   1802.03426 (2018).
.. [2] Kobak, Linderman: Initialization is critical for preserving global data structure in both t-SNE and UMAP. Nature
   Biotechnology 39 (2021), 156-157.
"""

from __future__ import annotations

import logging
import warnings
from enum import Enum
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from hpa_cells.explore.embeddings import plane

__all__ = ["MapMethod", "lay_out"]

log = logging.getLogger(__name__)

_NEIGHBOURS = 15
# Of fewer there are no groups to tell.
_FEWEST = 3 * _NEIGHBOURS


class MapMethod(Enum):
    """How cells are laid out."""

    UMAP = "umap"
    PCA = "pca"

    @property
    def told(self) -> str:
        """What the axes of the map are."""
        return "by UMAP" if self is MapMethod.UMAP else "on its first two principal components"

    @classmethod
    def parse(cls, text: str) -> MapMethod:
        """The method of that name; principal components in place of a UMAP where umap-learn is not installed.

        Raises
        ------
        ValueError
            If there is none.
        """
        names = [each.value for each in cls]
        if text not in names:
            raise ValueError(f"map is {text!r}: use {' or '.join(names)}.")
        method = cls(text)
        if method is cls.UMAP and find_spec("umap") is None:
            log.warning(
                "Maps are of principal components: a UMAP needs umap-learn, which pip install 'hpa-cells[maps]' brings."
            )
            return cls.PCA
        return method

    def of_cells(self, num_cells: int) -> MapMethod:
        """How so many cells are laid out: a few tell no groups, and are on principal components."""
        return MapMethod.PCA if num_cells < _FEWEST else self


def lay_out(
    vectors: NDArray[np.float32],
    sample: NDArray[np.int64],
    neighbours: tuple[NDArray[np.float64], NDArray[np.int64]],
    method: MapMethod,
) -> NDArray[np.float32]:
    """The place of each cell, (N, 2) float32.

    Parameters
    ----------
    vectors
        (N, D), as from `standardised`.
    sample
        (R,) rows that a UMAP is made of. The other cells lie at the mean of their neighbours in it, the nearer ones
        counting more.
    neighbours
        Distances (N, k) and rows (N, k) from `hpa_cells.explore.neighbours.nearest`, in that sample.
    method
        How, see `MapMethod.of_cells`.
    """
    places = plane(vectors)
    if method is MapMethod.PCA:
        return places
    places[sample] = _umap(vectors[sample], places[sample])
    others = np.setdiff1d(np.arange(len(vectors)), sample)
    distances, rows = (each[others] for each in neighbours)
    # One that is a copy of a neighbour lies where it does.
    weights = 1 / np.maximum(distances, 1e-9)
    weights /= weights.sum(axis=1, keepdims=True)
    places[others] = (places[rows] * weights[:, :, None]).sum(axis=1)
    return places


def _umap(vectors: NDArray[np.float32], start: NDArray[np.float32]) -> NDArray[np.float32]:
    """(R, 2) float32, the same each time; where all start in one place there is nothing to lay out."""
    scale = float(np.abs(start - start.mean(axis=0)).max())
    if not scale > 0:
        return start
    with warnings.catch_warnings():
        # It misses TensorFlow, which it needs for something else, and its compiler warns of its own future.
        warnings.simplefilter("ignore")
        from umap import UMAP

        found = UMAP(
            n_neighbors=_NEIGHBOURS, init=start / scale * 10, random_state=0, n_jobs=1
        ).fit_transform(vectors)
    # A cell without neighbours has no place there: it lies in the middle.
    places: NDArray[np.float32] = np.where(np.isfinite(found), found, np.nanmean(found, axis=0)).astype(
        np.float32
    )
    return places
