"""Cells and fields that a network finds unlike all others, or alike to the point of being the same.

How odd a cell or a field is, is its distance to the k-th nearest other one [1]_, in relation to what is usual. Where
there are many, the others are a random sample, which tells outliers as well [2]_. A field is where the mean of its
cells is.

References
----------
.. [1] Ramaswamy, Rastogi, Shim: Efficient algorithms for mining outliers from large data sets. SIGMOD 2000, 427-438.
.. [2] Sugiyama, Borgwardt: Rapid distance-based outlier detection via sampling. NeurIPS 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.explore.embeddings import CellEmbeddings, mean_per_field, standardised
from hpa_cells.explore.maps import MapMethod, lay_out
from hpa_cells.explore.neighbours import deviations, nearest, typical_distance

__all__ = ["EmbeddingSettings", "place_cells", "place_fields"]

# Below, one cannot say what is usual.
_FEWEST = 20


@dataclass(kw_only=True)
class EmbeddingSettings:
    """From where on something is told.

    Attributes
    ----------
    neighbours
        k: oddness is the distance to the k-th nearest, so that fewer than k odd ones that are alike are still odd.
    max_deviation
        How many robust standard deviations a log distance may lie above the median, see `deviations`.
    max_copy_distance
        Fields are near copies when their distance is at most this share of the median distance of two fields.
        Brightened, turned, flipped and compressed copies of simulated fields stay below 0.1, and about 99 % of the
        other fields above.
    reference_cells
        Most cells that all are compared with; time grows with cells times these.
    """

    neighbours: int
    max_deviation: float
    max_copy_distance: float
    reference_cells: int

    def __post_init__(self) -> None:
        for name in ("neighbours", "reference_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"embedding_anomalies.{name} is {getattr(self, name)}: give at least 1.")
        for name in ("max_deviation", "max_copy_distance"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"embedding_anomalies.{name} is {getattr(self, name)}: give 0 or more.")


def place_cells(
    cells: CellEmbeddings, settings: EmbeddingSettings, method: MapMethod = MapMethod.PCA
) -> pd.DataFrame:
    """Where each cell lies, and how odd it is.

    Returns
    -------
    One row a cell, in the order of `cells`: ``field_id``, ``cell_id``, ``x`` and ``y`` on the map (see `lay_out`),
    ``distance`` to the k-th nearest other cell in the standardised space, ``deviation`` (how unusual that is) and
    ``is_odd``. Among fewer than 20 cells none is odd, and the deviation is NaN.
    """
    vectors = standardised(cells.vectors)
    size = min(len(cells), settings.reference_cells)
    sample = np.sort(np.random.default_rng(0).choice(len(cells), size, replace=False))
    distances, neighbours = nearest(vectors, sample, settings.neighbours)
    places = lay_out(vectors, sample, (distances, neighbours), method)
    return pd.DataFrame(
        {
            "field_id": np.array(cells.field_ids, dtype=object)[cells.field_of_cell],
            "cell_id": cells.cell_ids,
            "x": places[:, 0],
            "y": places[:, 1],
            **_oddness(distances, settings.max_deviation),
        }
    )


def place_fields(cells: CellEmbeddings, settings: EmbeddingSettings) -> pd.DataFrame:
    """Where the mean cell of each field lies, how odd it is, and which other field is most like it.

    Returns
    -------
    One row a field, by id: ``field_id``, ``num_cells``, ``distance``, ``deviation`` and ``is_odd`` as of `place_cells`,
    ``nearest_field``, ``nearest_distance`` in parts of the median distance of two fields, and ``is_near_copy``. Of a
    single field all but the first two are NaN, empty or False.
    """
    means = mean_per_field(standardised(cells.vectors), cells.field_of_cell)
    distances, neighbours = nearest(means, np.arange(len(means)), settings.neighbours)
    ids = np.array(cells.field_ids, dtype=object)
    relative, names = np.full(len(means), math.nan), np.full(len(means), "", dtype=object)
    if distances.shape[1]:
        # Where all fields are one, they are at distance 0 of a median of 0.
        relative = distances[:, 0] / max(typical_distance(means), np.finfo(np.float64).tiny)
        names = ids[neighbours[:, 0]]
    return pd.DataFrame(
        {
            "field_id": ids,
            "num_cells": np.bincount(cells.field_of_cell),
            **_oddness(distances, settings.max_deviation),
            "nearest_field": names,
            "nearest_distance": relative,
            "is_near_copy": relative <= settings.max_copy_distance,
        }
    )


def _oddness(distances: NDArray[np.float64], max_deviation: float) -> dict[str, NDArray[np.generic]]:
    """Columns ``distance``, ``deviation`` and ``is_odd`` from the distances (N, k) to the nearest."""
    farthest = distances[:, -1] if distances.shape[1] else np.full(len(distances), math.nan)
    deviation = deviations(farthest) if len(farthest) >= _FEWEST else np.full(len(farthest), math.nan)
    return {"distance": farthest, "deviation": deviation, "is_odd": deviation > max_deviation}
