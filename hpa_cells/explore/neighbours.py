"""Nearest neighbours among many vectors, and which distances to them are unusual.

Shapes: N vectors, R of them to compare with, k neighbours, D dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["deviations", "nearest", "typical_distance"]

# Numbers of a block of distances: 64 MiB, so that memory does not grow with the number of vectors.
_BLOCK_NUMBERS = 2**24
# A median absolute deviation times this is the standard deviation of a normal distribution.
_NORMAL_MAD = 1.4826
# Distances that differ by less than a hundredth are alike: of equal ones only rounding would be told.
_NARROWEST = 0.01
_NUM_PAIRS = 20_000


def nearest(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], num_neighbours: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The nearest of some of the vectors to each of all; none is a neighbour of itself.

    Parameters
    ----------
    vectors
        (N, D).
    rows
        (R,) which of them may be neighbours, each once.
    num_neighbours
        k, at least 1; with R - 1 < k as many as that.

    Returns
    -------
    distances
        (N, k) float64, Euclidean, ascending.
    neighbours
        (N, k) int64, rows of `vectors`. Of those as near as the k-th, any.
    """
    references = vectors[rows]
    place_of_row = np.full(len(vectors), -1)
    place_of_row[rows] = np.arange(len(rows))
    size = max(min(num_neighbours, len(rows) - 1), 0)
    distances, neighbours = np.zeros((len(vectors), size)), np.zeros((len(vectors), size), dtype=np.int64)
    if size < 1:
        return distances, neighbours
    squares = np.square(references, dtype=np.float64).sum(axis=1).astype(np.float32)
    step = max(1, _BLOCK_NUMBERS // len(rows))
    for start in range(0, len(vectors), step):
        block = slice(start, min(start + step, len(vectors)))
        # |v - r|^2 less |v|^2, which is the same for all r.
        scores = squares - 2 * (vectors[block] @ references.T)
        own = place_of_row[block]
        scores[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
        places = np.sort(np.argpartition(scores, size - 1, axis=1)[:, :size], axis=1)
        # Of near copies the difference of squares is mostly rounding: the few that are left are measured.
        exact = np.stack(
            [
                np.sqrt(np.square(vectors[block] - references[places[:, each]], dtype=np.float64).sum(axis=1))
                for each in range(size)
            ],
            axis=1,
        )
        order = np.argsort(exact, axis=1, kind="stable")
        distances[block] = np.take_along_axis(exact, order, axis=1)
        neighbours[block] = rows[np.take_along_axis(places, order, axis=1)]
    return distances, neighbours


def typical_distance(vectors: NDArray[np.float32]) -> float:
    """The median distance of two vectors drawn at random (the same ones each time); NaN for fewer than two.

    Unlike the distance to a neighbour it does not shrink where every vector has a copy.
    """
    if len(vectors) < 2:
        return float("nan")
    draw = np.random.default_rng(0)
    one = draw.integers(0, len(vectors), _NUM_PAIRS)
    other = (one + draw.integers(1, len(vectors), _NUM_PAIRS)) % len(vectors)
    step = max(1, _BLOCK_NUMBERS // (4 * max(vectors.shape[1], 1)))
    squares = [
        np.square(vectors[one[start : start + step]] - vectors[other[start : start + step]]).sum(axis=1)
        for start in range(0, _NUM_PAIRS, step)
    ]
    return float(np.median(np.sqrt(np.concatenate(squares))))


def deviations(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """How unusual each distance is: modified z-score [1]_ of its logarithm.

    That is its difference from the median, in standard deviations as estimated by the median absolute deviation, which
    a few outliers do not change. Distances are positive and skewed to the right; their logarithms are not.

    Parameters
    ----------
    distances
        (N,) not negative.

    Returns
    -------
    (N,) float64; 0 for all where half of the distances are 0.

    References
    ----------
    .. [1] Iglewicz, Hoaglin: How to Detect and Handle Outliers. ASQC Quality Press 1993. They advise a limit of 3.5.
    """
    if not len(distances) or not np.median(distances) > 0:
        return np.zeros(len(distances))
    # A copy, at distance 0, is as far below the usual as can be told.
    logs = np.log(np.maximum(distances, 1e-6 * np.median(distances)))
    from_median = logs - np.median(logs)
    spread = max(_NORMAL_MAD * float(np.median(np.abs(from_median))), _NARROWEST)
    scores: NDArray[np.float64] = from_median / spread
    return scores
