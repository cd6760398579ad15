"""From a label image to one COCO mask a cell, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.limits import MAX_SIDE_PX
from hpa_cells.masks.coding import counts_of_pixels, runs_from_counts, starts_and_stops

__all__ = ["counts_area", "counts_boxes", "decode_counts", "encode_labels", "paint_labels"]

_SHOWN_CHARACTERS = 24


def encode_labels(
    labels: NDArray[np.int32],
    *,
    rows: NDArray[np.integer[Any]] | None = None,
    columns: NDArray[np.integer[Any]] | None = None,
) -> tuple[NDArray[np.int32], list[bytes]]:
    """Ids and COCO run-length masks of all cells of a label image, in one pass over its pixels.

    Parameters
    ----------
    labels
        (h, w) int32, no negative values; 0 is background. Ids need not be contiguous.
    rows, columns
        (H,) and (W,), for cells found at a coarser scale than their field's: which row and column of `labels` each of
        the field's shows, ascending. None: `labels` are of the field's size.

    Returns
    -------
    ids
        (N,) int32, ascending.
    counts
        N compressed counts, each the same bytes as pycocotools gives for ``labels[rows][:, columns] == id``.

    Examples
    --------
    >>> encode_labels(np.array([[0, 7], [7, 3]], dtype=np.int32))
    (array([3, 7], dtype=int32), [b'31', b'121'])
    """
    rows, columns = (
        np.arange(length) if shown is None else shown
        for length, shown in zip(labels.shape, (rows, columns), strict=True)
    )
    num_pixels = len(rows) * len(columns)
    if num_pixels == 0:
        return np.empty(0, dtype=np.int32), []
    run_starts, run_stops, run_ids = _find_runs(labels, rows, columns)
    order = np.argsort(run_ids, kind="stable")
    return counts_of_pixels(run_ids[order], run_starts[order], run_stops[order], num_pixels)


def _find_runs(
    labels: NDArray[np.int32], rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Start and stop of each run of a cell, the field being read down its columns, and the cell's id."""
    height, width = labels.shape
    begins = np.empty((height, width), dtype=np.bool_)
    begins[0] = True
    np.not_equal(labels[1:], labels[:-1], out=begins[1:])
    # They are few: to put them in order takes less time than to turn the image.
    row, column = np.divmod(np.flatnonzero(begins), width)
    column, row = np.divmod(np.sort(column * height + row), height)
    ids = labels[row, column]
    stop_row = np.append(row[1:], 0)
    stop_row[stop_row == 0] = height
    inside = np.flatnonzero(ids)
    top_of_row = np.searchsorted(rows, np.arange(height + 1))
    tops, bottoms = top_of_row[row[inside]], top_of_row[stop_row[inside]]

    # Each column of the field has the runs of the column that it shows.
    firsts = np.searchsorted(column[inside], np.arange(width + 1))
    num_shown = np.diff(firsts)[columns]
    skipped = firsts[columns] - (np.cumsum(num_shown) - num_shown)
    shown = np.arange(num_shown.sum()) + np.repeat(skipped, num_shown)
    offsets = np.repeat(np.arange(len(columns)) * len(rows), num_shown)
    starts, stops, ids = offsets + tops[shown], offsets + bottoms[shown], ids[inside][shown]

    # One that reaches the end of a column may go on in the next.
    joins = np.flatnonzero((stops[:-1] == starts[1:]) & (ids[:-1] == ids[1:]))
    return np.delete(starts, joins + 1), np.delete(stops, joins), np.delete(ids, joins + 1)


def decode_counts(counts: bytes, height: int, width: int) -> NDArray[np.bool_]:
    """The mask that compressed counts describe.

    Parameters
    ----------
    counts
        COCO's compressed run lengths.
    height, width
        Of the field, in px. The counts do not hold them: swapped, they give another mask without any error.

    Returns
    -------
    (H, W) bool.

    Raises
    ------
    ValueError
        If the counts cannot be read, or do not fill an image of this size, or it is absurdly large.
    """
    shown = counts[:_SHOWN_CHARACTERS] + (b"..." if len(counts) > _SHOWN_CHARACTERS else b"")
    _check_size(height, width)
    lengths_px, _ = runs_from_counts([counts], height * width, [shown])
    pixels = np.repeat(np.arange(len(lengths_px), dtype=np.uint8) & 1, lengths_px)
    return cv2.transpose(pixels.reshape(width, height)).view(np.bool_)


def paint_labels(
    ids: NDArray[np.int32] | Sequence[int], counts: Sequence[bytes], height: int, width: int
) -> NDArray[np.int32]:
    """The label image of cells given as masks, the way back from `encode_labels`.

    Parameters
    ----------
    ids
        (N,) positive integers, the value that each mask is painted with.
    counts
        N compressed counts.
    height, width
        Of the field, in px.

    Returns
    -------
    (H, W) int32. Where masks overlap, the later one is seen.

    Raises
    ------
    ValueError
        If counts cannot be read or do not fill the image, or there are not as many as ids; the message names
        the id.
    """
    if len(ids) != len(counts):
        raise ValueError(f"There are {len(ids)} ids for {len(counts)} masks: give one id a mask.")
    _check_size(height, width)
    masks, starts, stops = starts_and_stops(
        *runs_from_counts(counts, height * width, [f"of cell {i}" for i in ids])
    )
    pixels = np.zeros(height * width, dtype=np.int32)
    run_ids = np.asarray(ids, dtype=np.int32)[masks]
    for start, stop, cell_id in zip(starts.tolist(), stops.tolist(), run_ids.tolist(), strict=True):
        pixels[start:stop] = cell_id
    return cv2.transpose(pixels.reshape(width, height)).view(np.int32)


def _check_size(height: int, width: int) -> None:
    if not (0 <= height <= MAX_SIDE_PX and 0 <= width <= MAX_SIDE_PX):
        raise ValueError(
            f"Masks are said to be of a field of {height} x {width} px, at most {MAX_SIDE_PX} px a side are painted: "
            "correct its height and width, or cut it into parts."
        )


def counts_area(counts: Sequence[bytes], height: int, width: int) -> NDArray[np.int64]:
    """(N,) int64, number of pixels of each mask, in px.

    Raises
    ------
    ValueError
        If counts cannot be read or do not fill the image; the message names the mask by its position.
    """
    masks, starts, stops = starts_and_stops(*runs_from_counts(counts, height * width, range(len(counts))))
    areas = np.zeros(len(counts), dtype=np.int64)
    np.add.at(areas, masks, stops - starts)
    return areas


def counts_boxes(counts: Sequence[bytes], height: int, width: int) -> NDArray[np.int64]:
    """(N, 4) int64, box around each mask: left, top, width and height in px; all 0 for an empty mask.

    Raises
    ------
    ValueError
        If counts cannot be read or do not fill the image; the message names the mask by its position.
    """
    masks, starts, stops = starts_and_stops(*runs_from_counts(counts, height * width, range(len(counts))))
    boxes = np.zeros((len(counts), 4), dtype=np.int64)
    if masks.size == 0:
        return boxes
    filled, firsts = np.unique(masks, return_index=True)
    first_columns, last_columns = starts // height, (stops - 1) // height
    # A run that goes on in the next column passes the lowest row and the highest.
    one_column = first_columns == last_columns
    tops = np.where(one_column, starts % height, 0)
    bottoms = np.where(one_column, (stops - 1) % height, height - 1)
    left, top = np.minimum.reduceat(first_columns, firsts), np.minimum.reduceat(tops, firsts)
    right, bottom = np.maximum.reduceat(last_columns, firsts), np.maximum.reduceat(bottoms, firsts)
    boxes[filled] = np.stack([left, top, right - left + 1, bottom - top + 1], axis=1)
    return boxes
