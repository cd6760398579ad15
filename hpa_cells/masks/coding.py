"""COCO's compressed run lengths, for all masks of a field at once.

A mask is read down its columns, from the left, as lengths of runs that are in turn outside and inside of it,
beginning with an outside run that may be 0. From the fourth on, a length is written as its difference from
the one two before it. A number is cut into groups of 5 bits, lowest first; bit 5 marks that another group
follows, bit 4 of the last group is the sign; 48 is added, which gives printable characters [1]_.

Shapes: N masks, M runs of all masks together.

References
----------
.. [1] pycocotools, ``common/maskApi.c``, functions ``rleToString`` and ``rleFrString``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_of_pixels", "runs_from_counts", "runs_to_counts", "starts_and_stops"]

Int64Array: TypeAlias = NDArray[np.int64]

_BITS = 5
_PAYLOAD, _SIGN, _MORE, _OFFSET = 0b11111, 0b10000, 0b100000, 48
# 7 groups hold every length below 2**34: more pixels than an image of 131,072 x 131,072 has.
_MAX_GROUPS = 7
# Twice the largest image that is painted.
_LONGEST_RUN_PX = 1 << 31
# A number of this size or more, or its complement if negative, needs one group more.
_GROUP_LIMITS = np.array([1 << (_BITS * groups - 1) for groups in range(1, _MAX_GROUPS)], dtype=np.int64)


def runs_to_counts(run_lengths_px: Int64Array, num_runs: Int64Array) -> list[bytes]:
    """Compressed counts of each mask.

    Parameters
    ----------
    run_lengths_px
        (M,) int64, the lengths of the runs of all masks, one mask after the other.
    num_runs
        (N,) int64, at least 1, how many of them belong to each mask.

    Returns
    -------
    N byte strings.

    Examples
    --------
    >>> runs_to_counts(np.array([2, 3, 1, 4, 40]), np.array([3, 2]))
    [b'231', b'4X1']
    """
    if num_runs.size == 0:
        return []
    numbers = run_lengths_px.copy()
    delta_coded = np.flatnonzero(_position_in_mask(num_runs) > 2)
    numbers[delta_coded] -= run_lengths_px[delta_coded - 2]

    magnitudes = np.where(numbers < 0, ~numbers, numbers)
    num_groups = 1 + np.searchsorted(_GROUP_LIMITS, magnitudes, side="right")
    stops = np.cumsum(num_groups)
    characters = np.empty(stops[-1], dtype=np.uint8)
    for group in range(num_groups.max()):
        long_enough = np.flatnonzero(num_groups > group)
        code = (numbers[long_enough] >> (_BITS * group)) & _PAYLOAD
        code[num_groups[long_enough] > group + 1] |= _MORE
        characters[(stops - num_groups)[long_enough] + group] = code + _OFFSET

    text = characters.tobytes()
    bounds = [0, *stops[np.cumsum(num_runs) - 1].tolist()]
    return [text[start:stop] for start, stop in pairwise(bounds)]


def counts_of_pixels(
    ids: NDArray[np.int32], starts: Int64Array, stops: Int64Array, num_pixels: int
) -> tuple[NDArray[np.int32], list[bytes]]:
    """Compressed counts of masks whose runs are known by their places, the way back from `starts_and_stops`.

    Parameters
    ----------
    ids
        (R,) int32, the mask that each run belongs to, ascending.
    starts, stops
        (R,) int64, its first pixel in the image read down its columns, and the one after its last; within a mask
        ascending, and apart by at least a pixel.
    num_pixels
        Height times width of the image.

    Returns
    -------
    ids
        (N,) int32, ascending, those that have a run.
    counts
        N compressed counts.
    """
    ids, num_inside = np.unique(ids, return_counts=True)
    if ids.size == 0:
        return ids, []
    # Each mask's edges: start and stop of its runs, then the end of the image. Lengths are their differences.
    num_edges = 2 * num_inside + 1
    last_edges = np.cumsum(num_edges) - 1
    edges = np.full(num_edges.sum(), num_pixels, dtype=np.int64)
    is_run_edge = np.ones(len(edges), dtype=bool)
    is_run_edge[last_edges] = False
    edges[is_run_edge] = np.stack([starts, stops], axis=1).ravel()
    lengths = np.diff(edges, prepend=0)
    first_edges = last_edges + 1 - num_edges
    lengths[first_edges] = edges[first_edges]

    # A mask that reaches the last pixel ends with an inside run: no outside run of length 0 comes after it.
    reaches_end = lengths[last_edges] == 0
    lengths = np.delete(lengths, last_edges[reaches_end])
    return ids, runs_to_counts(lengths, num_edges - reaches_end)


def runs_from_counts(
    counts: Sequence[bytes], num_pixels: int, names: Sequence[object]
) -> tuple[Int64Array, Int64Array]:
    """Lengths of the runs of each mask, the way back from `runs_to_counts`.

    Parameters
    ----------
    counts
        N compressed counts.
    num_pixels
        Height times width of the image, which the runs of each mask must fill.
    names
        N names of the masks, for messages.

    Returns
    -------
    run_lengths_px
        (M,) int64, one mask after the other, none negative.
    num_runs
        (N,) int64.

    Raises
    ------
    ValueError
        If a mask holds a character that COCO does not use, is cut off, has a number too long or a negative
        run, or does not fill the image.
    """
    num_characters = np.array([len(each) for each in counts], dtype=np.int64)
    mask_stops = np.cumsum(num_characters)
    codes = np.frombuffer(b"".join(counts), dtype=np.uint8).astype(np.int64) - _OFFSET
    ends_number = codes < _MORE
    ends_mask = np.zeros(len(codes), dtype=bool)
    ends_mask[mask_stops[num_characters > 0] - 1] = True
    unknown = (codes < 0) | (codes >= 2 * _MORE)
    _refuse(unknown, mask_stops, names, "it has a character outside of '0' to 'o'")
    _refuse(ends_mask & ~ends_number, mask_stops, names, "it is cut off within a number")

    number_stops = 1 + np.flatnonzero(ends_number)
    num_groups = np.diff(number_stops, prepend=0)
    run_stops = np.searchsorted(number_stops, mask_stops, side="right")
    num_runs = np.diff(run_stops, prepend=0)
    _refuse(num_groups > _MAX_GROUPS, run_stops, names, f"it has a number of over {_MAX_GROUPS} characters")
    run_lengths_px = _undo_deltas(_join_groups(codes, number_stops, num_groups), num_runs)
    _refuse(run_lengths_px < 0, run_stops, names, "it has a run of negative length")
    # Before they are summed: sums of forged ones would pass the largest number, and might come out right.
    longest_px = max(num_pixels, _LONGEST_RUN_PX)
    _refuse(run_lengths_px > longest_px, run_stops, names, f"it has a run of over {longest_px} px")
    filled_px = np.diff(np.append(0, np.cumsum(run_lengths_px))[np.append(0, run_stops)])
    for mask in np.flatnonzero(filled_px != num_pixels)[:1]:
        raise ValueError(
            f"Mask {names[mask]} covers {filled_px[mask]} px, but its image has {num_pixels}: "
            "check the height and width of the field."
        )
    return run_lengths_px, num_runs


def starts_and_stops(
    run_lengths_px: Int64Array, num_runs: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Where the runs inside of the masks lie in the image read down its columns.

    Parameters
    ----------
    run_lengths_px
        (M,) int64, as `runs_from_counts` gives them.
    num_runs
        (N,) int64.

    Returns
    -------
    masks
        (R,) int64, the mask that each inside run belongs to, ascending.
    starts, stops
        (R,) int64, its first pixel, and the one after its last. Runs of no pixel are left out.
    """
    cumulated = np.append(0, np.cumsum(run_lengths_px))
    first_runs = np.cumsum(num_runs) - num_runs
    before = np.repeat(cumulated[first_runs], num_runs)
    inside = np.flatnonzero((_position_in_mask(num_runs) % 2 == 1) & (run_lengths_px > 0))
    masks = np.repeat(np.arange(len(num_runs)), num_runs)[inside]
    return masks, (cumulated[:-1] - before)[inside], (cumulated[1:] - before)[inside]


def _refuse(broken: NDArray[np.bool_], mask_stops: Int64Array, names: Sequence[object], reason: str) -> None:
    """Raise in the name of the first mask that has a broken element; a mask's elements end at its stop."""
    if broken.any():
        mask = np.searchsorted(mask_stops, np.argmax(broken), side="right")
        raise ValueError(f"Mask {names[int(mask)]} is not a COCO run-length mask: {reason}.")


def _position_in_mask(num_runs: Int64Array) -> Int64Array:
    """(M,) int64, each run's number within its mask: 0, 1, 2, ... from every mask's first."""
    first_runs = np.cumsum(num_runs) - num_runs
    return np.arange(num_runs.sum()) - np.repeat(first_runs, num_runs)


def _join_groups(codes: Int64Array, number_stops: Int64Array, num_groups: Int64Array) -> Int64Array:
    """(M,) int64, the numbers written in `codes`, each from its groups of 5 bits, the lowest first."""
    number_starts = number_stops - num_groups
    numbers = np.zeros(len(number_stops), dtype=np.int64)
    for group in range(num_groups.max(initial=0)):
        long_enough = np.flatnonzero(num_groups > group)
        numbers[long_enough] |= (codes[number_starts[long_enough] + group] & _PAYLOAD) << (_BITS * group)
    negative = codes[number_stops - 1] & _SIGN != 0
    numbers[negative] |= np.int64(-1) << (_BITS * num_groups[negative])
    return numbers


def _undo_deltas(numbers: Int64Array, num_runs: Int64Array) -> Int64Array:
    """(M,) int64, lengths of runs: from a mask's fourth on, a number is added to the length two before it."""
    position = _position_in_mask(num_runs)
    first_runs = np.cumsum(num_runs) - num_runs
    lengths = numbers.copy()
    for chain in ((position % 2 == 1), (position % 2 == 0) & (position > 0)):
        cumulated = np.cumsum(np.where(chain, numbers, 0))
        before = np.repeat(np.append(0, cumulated)[first_runs], num_runs)
        lengths[chain] = (cumulated - before)[chain]
    return lengths
