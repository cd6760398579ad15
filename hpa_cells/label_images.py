"""Label images: the ids in them, and those of a coarser scale than the field's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CoarseLabels", "label_ids"]


def label_ids(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The ids in a label image, ascending, without the background 0.

    Parameters
    ----------
    labels
        (H, W) int32, no negative values.

    Returns
    -------
    (N,) int32.

    Examples
    --------
    >>> label_ids(np.array([[0, 7], [7, 3]], dtype=np.int32))
    array([3, 7], dtype=int32)
    """
    # A row is a few runs of one id each: sorting their first pixels is several times faster than sorting all.
    starts_run = labels[:, 1:] != labels[:, :-1]
    first_px = np.concatenate([labels[:, :1].ravel(), labels[:, 1:][starts_run]])
    return np.setdiff1d(first_px, [0]).astype(np.int32)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoarseLabels:
    """Cells as they were found, and what each pixel of the field shows of them.

    All that is measured on label images follows from these, which have 16 times fewer pixels where cells were found at
    a quarter of the field's scale.

    Attributes
    ----------
    cells, nuclei
        (h, w) int32, as in a `Segmentation`.
    rows, columns
        (H,) and (W,) whole numbers, ascending, from 0 to h - 1 and w - 1, each at least once: pixel (y, x) of the field
        shows pixel (rows[y], columns[x]).
    """

    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]
    rows: NDArray[np.integer[Any]]
    columns: NDArray[np.integer[Any]]

    def enlarged(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """(H, W) int32, (h, w) `labels` as the field shows them."""
        return labels.take(self.columns, axis=1).take(self.rows, axis=0)

    def cells_at(
        self, rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]]
    ) -> NDArray[np.int32]:
        """(R, C) int32, the ids of the cells at these rows and columns of the field; 0 at those beyond it."""
        # Whole rows first: a third of the time of both at once.
        ids: NDArray[np.int32] = self.cells.take(self.rows.take(rows, mode="clip"), axis=0).take(
            self.columns.take(columns, mode="clip"), axis=1
        )
        ids[(rows < 0) | (rows >= len(self.rows))] = 0
        ids[:, (columns < 0) | (columns >= len(self.columns))] = 0
        return ids
