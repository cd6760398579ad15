"""The runs of masks in the columns of their image, and how the outline goes from one to the next.

The top and the bottom edge of each run are pieces of the outline, tops from left to right and bottoms from right to
left, so that the mask is always on the same side. What comes after a piece follows from the runs of the column
next to it, of all pieces at once; then the pieces are strung together.

Shapes: R runs of all masks together, 2 R pieces: piece r is the top of run r, piece R + r its bottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpa_cells.masks.coding import runs_from_counts, starts_and_stops

__all__ = ["ColumnRuns", "column_runs", "following_pieces", "hanging_together", "strung_together"]

Int64Array: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnRuns:
    """The runs of all masks, none longer than its column: mask after mask, column after column, and down these.

    All are (R,) int64: the mask of each run, its column, its first pixel and the one after its last. A line is a column
    of a mask, ``mask * (width + 2) + column + 1``, so that the columns beside an image are no other mask's.
    """

    masks: Int64Array
    lines: Int64Array
    columns: Int64Array
    tops: Int64Array
    bottoms: Int64Array


def column_runs(counts: Sequence[bytes], height: int, width: int) -> ColumnRuns:
    """The runs of N masks, given as compressed counts; see `runs_from_counts` for errors."""
    masks, starts, stops = starts_and_stops(*runs_from_counts(counts, height * width, range(len(counts))))
    # A run that reaches the end of a column may go on in the next.
    first_columns, last_columns = starts // max(1, height), (stops - 1) // max(1, height)
    num_columns = last_columns - first_columns + 1
    whole = np.repeat(np.arange(len(masks)), num_columns)
    columns = (
        np.arange(len(whole))
        - np.repeat(np.cumsum(num_columns) - num_columns, num_columns)
        + first_columns[whole]
    )
    tops = np.maximum(starts[whole] - columns * height, 0)
    bottoms = np.minimum(stops[whole] - columns * height, height)
    return ColumnRuns(
        masks=masks[whole],
        lines=masks[whole] * (width + 2) + columns + 1,
        columns=columns,
        tops=tops,
        bottoms=bottoms,
    )


def following_pieces(runs: ColumnRuns, height: int) -> Int64Array:
    """(2 R,) int64, the piece that comes after each: piece r is the top of run r, piece R + r its bottom.

    At a corner where only diagonal pixels are of the mask, the outline stays with the pixel that it came along.
    """
    num = len(runs.tops)
    run = np.arange(num)
    step = height + 2
    top_keys, bottom_keys = runs.lines * step + runs.tops, runs.lines * step + runs.bottoms
    # Padded, so that the run before the first and that after the last exist, in lines of their own.
    lines = np.concatenate([[-9], runs.lines, [-9]])
    tops, bottoms = (np.concatenate([[0], each, [0]]) for each in (runs.tops, runs.bottoms))

    # From left to right along the top of a run: the first run in the next column that ends below the top.
    right = np.searchsorted(bottom_keys, (runs.lines + 1) * step + runs.tops, side="right")
    is_there = lines[right + 1] == runs.lines + 1
    right_top = tops[right + 1]
    above_bottom = np.where(lines[run] == runs.lines, bottoms[run], -1)
    upwards = is_there & (right_top < runs.tops)
    onward = is_there & (right_top < runs.bottoms) & ~(upwards & (above_bottom > right_top))
    after_top = np.where(onward, right, np.where(upwards, num + run - 1, num + run))

    # The same turned by half: from right to left, the last run in the column before that begins above the bottom.
    left = np.searchsorted(top_keys, (runs.lines - 1) * step + runs.bottoms, side="left") - 1
    is_there = lines[left + 1] == runs.lines - 1
    left_bottom = bottoms[left + 1]
    below_top = np.where(lines[run + 2] == runs.lines, tops[run + 2], height + 1)
    downwards = is_there & (left_bottom > runs.bottoms)
    onward = is_there & (left_bottom > runs.tops) & ~(downwards & (below_top < left_bottom))
    after_bottom = np.where(onward, num + left, np.where(downwards, run + 1, run))
    return np.concatenate([after_top, after_bottom])


def strung_together(following: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The pieces ring after ring, each in its order, and where in them (G,) the rings begin.

    A ring begins with its piece of the lowest number, and rings are in the order of these. All are followed at once, in
    steps that double.

    Examples
    --------
    >>> [each.tolist() for each in strung_together(np.array([3, 1, 0, 2]))]
    [[0, 3, 2, 1], [0, 3]]
    """
    pieces = np.arange(len(following), dtype=np.int32)
    ahead, lowest = following.astype(np.int32), pieces
    while True:
        lower = np.minimum(lowest, lowest[ahead])
        if np.array_equal(lower, lowest):
            break
        lowest, ahead = lower, ahead[ahead]
    is_first = lowest == pieces
    # The last of a ring, which the first would follow, now leads to itself: to there the pieces after each are counted.
    ahead = following.astype(np.int32)
    is_last = is_first[ahead]
    ahead[is_last] = pieces[is_last]
    num_following = (~is_last).astype(np.int32)
    while (further := num_following[ahead]).any():
        num_following += further
        ahead = ahead[ahead]
    firsts = np.flatnonzero(is_first)
    lengths = num_following[firsts].astype(np.int64) + 1
    stops = np.cumsum(lengths)
    stop_of = np.empty(len(pieces), dtype=np.int64)
    stop_of[firsts] = stops
    order = np.empty(len(pieces), dtype=np.int64)
    order[stop_of[lowest] - 1 - num_following] = pieces
    return order, stops - lengths


def hanging_together(runs: ColumnRuns, height: int) -> Int64Array:
    """(R,) int64, which part that hangs together by edges each run is of, numbered mask after mask."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    num, step = len(runs.tops), height + 2
    if num == 0:
        return np.empty(0, dtype=np.int64)
    begins = np.searchsorted(
        runs.lines * step + runs.bottoms, (runs.lines + 1) * step + runs.tops, side="right"
    )
    ends = np.searchsorted(runs.lines * step + runs.tops, (runs.lines + 1) * step + runs.bottoms, side="left")
    num_near = np.maximum(ends - begins, 0)
    here = np.repeat(np.arange(num), num_near)
    there = np.arange(num_near.sum()) + np.repeat(begins - (np.cumsum(num_near) - num_near), num_near)
    near = coo_array((np.ones(len(here), dtype=np.int8), (here, there)), shape=(num, num))
    labels = connected_components(near, directed=False)[1]
    # By their first run, so that they are in the order of the masks.
    _, first_runs, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_runs))[numbers].astype(np.int64)
