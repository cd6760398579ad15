"""Regions that touch, and whether the frontier between two of them is one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.representations.protocol import LabelImage

__all__ = ["join_over_weak_frontiers"]

# High: a frontier is as deep as its deeper half. The shallow ends of a line across one cell say nothing, and what
# parts two cells is shallow all along.
_POWER = 4

# Of each neighbour of a region: the sum of depths, to that power, over their common frontier, and its length.
Frontiers = dict[int, tuple[float, int]]


def join_over_weak_frontiers(labels: LabelImage, depth: NDArray[np.float32], *, valley: float) -> LabelImage:
    """Join touching regions whose frontier is nearly as deep as they are.

    The weakest frontier goes first; those of the joined region with a third one are then one frontier. So a
    sliver on the frontier of two cells joins one of them and no bridge over it joins the cells.

    Parameters
    ----------
    labels
        (h, w) int32.
    depth
        (h, w) float32, high inside of an object and low at its rim.
    valley
        A frontier parts two regions if its depth, a power mean over its pixels, is less than this share of the
        deepest pixel of the shallower region.

    Returns
    -------
    (h, w) int32; a joined region has the smallest of its ids.
    """
    frontiers = _frontiers(labels, depth)
    deepest = np.full(labels.max(initial=0) + 1, -np.inf, dtype=np.float32)
    ids = labels.ravel()
    runs = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: ids.size])
    np.maximum.at(deepest, ids[runs], np.maximum.reduceat(depth.ravel(), runs))
    owner = np.arange(len(deepest), dtype=np.int32)

    def weakness(first: int, second: int) -> float:
        total, length = frontiers[first][second]
        return float((total / length) ** (1 / _POWER) / max(min(deepest[first], deepest[second]), 1e-6))

    queue = [(-weakness(first, second), first, second) for first, second in _pairs(frontiers)]
    heapq.heapify(queue)
    while queue:
        negative, first, second = heapq.heappop(queue)
        if -negative < valley:
            break
        is_stale = second not in frontiers.get(first, {}) or weakness(first, second) != -negative
        if is_stale:
            continue
        owner[second] = first
        deepest[first] = max(deepest[first], deepest[second])
        _take_over(frontiers, first, second)
        for other in frontiers[first]:
            low, high = sorted((first, other))
            heapq.heappush(queue, (-weakness(low, high), low, high))
    for each, of in enumerate(owner):  # ascending: an owner has a smaller id and is itself settled
        owner[each] = owner[of]
    return owner[labels]


def _frontiers(labels: LabelImage, depth: NDArray[np.float32]) -> dict[int, Frontiers]:
    """Of each region that touches another; a pair of pixels counts with the shallower one."""
    width = labels.shape[1]
    across = np.flatnonzero(labels[:, :-1] != labels[:, 1:])
    down = np.flatnonzero(labels[:-1] != labels[1:])
    ids, depths, keys, values = labels.ravel(), depth.ravel(), [], []
    top = int(labels.max(initial=0)) + 1
    # Of the pairs that differ, few enough to be listed; the last pixel of a row has none to its right.
    for near, step in ((across + across // max(width - 1, 1), 1), (down, width)):
        pair = ids.take(near), ids.take(near + step)
        low, high = np.minimum(*pair), np.maximum(*pair)
        touch = low > 0
        near = near[touch]
        keys.append(low[touch].astype(np.int64) * top + high[touch])
        values.append(np.maximum(np.minimum(depths.take(near), depths.take(near + step)), 0) ** _POWER)
    pairs, index, lengths = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    totals = np.bincount(index, weights=np.concatenate(values), minlength=len(pairs))
    frontiers: dict[int, Frontiers] = {}
    for pair, total, length in zip(pairs.tolist(), totals.tolist(), lengths.tolist(), strict=True):
        low, high = divmod(pair, top)
        frontiers.setdefault(low, {})[high] = frontiers.setdefault(high, {})[low] = (total, length)
    return frontiers


def _pairs(frontiers: dict[int, Frontiers]) -> Iterator[tuple[int, int]]:
    return ((low, high) for low, those in frontiers.items() for high in those if low < high)


def _take_over(frontiers: dict[int, Frontiers], first: int, second: int) -> None:
    """The frontiers of `second` become those of `first`."""
    for other, (total, length) in frontiers.pop(second).items():
        del frontiers[other][second]
        if other != first:
            known_total, known_length = frontiers[first].get(other, (0.0, 0))
            joined = (known_total + total, known_length + length)
            frontiers[first][other] = frontiers[other][first] = joined
