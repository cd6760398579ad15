"""Random places inside the compartments of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy

__all__ = ["Places", "in_cytoplasm", "in_nuclei", "scattered_in_cytoplasm"]

Places = tuple[NDArray[np.float32], NDArray[np.int32]]

_NUM_TRIES = 3


def in_nuclei(anatomy: Anatomy, counts: NDArray[np.integer], rng: np.random.Generator) -> Places:
    """Places in nuclei, half a um from the envelope and more.

    Parameters
    ----------
    counts
        (N,) places a cell; where a few tries find no room, less.

    Returns
    -------
    places_um
        (P, 2) float32, sorted by cell.
    owners
        (P,) int32, the cell of each.
    """
    reach = np.full(anatomy.num_cells, 0.55 * anatomy.plan.cell_line.nucleus_radius_um)
    places, owners, pixels = _tries(anatomy, anatomy.layout.nucleus_middles_um, reach, counts, rng)
    inside = (anatomy.nuclei[pixels] == owners) & (anatomy.nucleus_depth_um[pixels] > 0.5)
    return _first(places[inside], owners[inside], counts)


def in_cytoplasm(
    anatomy: Anatomy,
    counts: NDArray[np.integer],
    rng: np.random.Generator,
    *,
    middles_um: NDArray[np.float32],
    reach_um: NDArray[np.floating],
) -> Places:
    """Places in cells outside their nuclei: Gaussian, `reach_um` (N,) wide, around `middles_um` (N, 2).

    The other parameters and the results are those of `in_nuclei`.
    """
    places, owners, pixels = _tries(anatomy, middles_um, reach_um, counts, rng)
    inside = (anatomy.cells[pixels] == owners) & (anatomy.nuclei[pixels] == 0)
    return _first(places[inside], owners[inside], counts)


def scattered_in_cytoplasm(
    anatomy: Anatomy, rng: np.random.Generator, *, per_um2: float, cells: NDArray[np.bool_]
) -> Places:
    """Places spread evenly, `per_um2` of cytoplasm, in the cells chosen by `cells` (N,) bool; not sorted."""
    height, width = anatomy.canvas.size_um
    total = rng.poisson(per_um2 * height * width)
    places = (rng.random((total, 2), dtype=np.float32) * np.array([height, width], dtype=np.float32)).astype(
        np.float32
    )
    pixels = anatomy.canvas.pixels_at(places)
    owners = anatomy.cells[pixels]
    inside = (anatomy.nuclei[pixels] == 0) & np.concatenate([[False], cells])[owners]
    return places[inside], owners[inside]


def _tries(
    anatomy: Anatomy,
    middles_um: NDArray[np.float32],
    reach_um: NDArray[np.floating],
    counts: NDArray[np.integer],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int32], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    owners = np.repeat(np.arange(1, anatomy.num_cells + 1, dtype=np.int32), _NUM_TRIES * counts)
    steps = rng.standard_normal((len(owners), 2), dtype=np.float32)
    places = middles_um[owners - 1] + reach_um.astype(np.float32)[owners - 1, None] * steps
    return places, owners, anatomy.canvas.pixels_at(places)


def _first(places: NDArray[np.float32], owners: NDArray[np.int32], counts: NDArray[np.integer]) -> Places:
    """The first `counts` places of each cell."""
    rank = np.arange(len(owners)) - np.searchsorted(owners, owners)
    kept = rank < counts[owners - 1]
    return places[kept], owners[kept]
