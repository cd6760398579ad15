"""Labels of single cells, read from a cell table: a truth, or what an earlier model said (a second round).

Shapes: N cells, K classes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.table import CellTable, Column

__all__ = ["match_cell_labels"]

_NUM_SHOWN = 5
# Of two areas of one cell, rounded in two ways.
_SAME_AREA = 1e-3


def match_cell_labels(cells: pd.DataFrame, table: CellTable, class_set: ClassSet) -> NDArray[np.float32]:
    """Look up the labels of these cells.

    Parameters
    ----------
    cells
        N rows with ``field_id``, ``cell_id`` and, where it is known, ``area_um2``.
    table
        The labels: probabilities, which may be anything from 0 to 1.
    class_set
        The K classes wanted.

    Returns
    -------
    (N, K) float32 in [0, 1].

    Raises
    ------
    ValueError
        If the table has other classes, lacks one of the cells, or has other cells under their ids.
    """
    if table.class_set.name != class_set.name:
        raise ValueError(
            f"The cell labels are of class set {table.class_set.name}, the data of {class_set.name}: "
            "they must be of one."
        )
    names = [Column.FIELD_ID, Column.CELL_ID]
    rows = pd.MultiIndex.from_frame(table.cells[names]).get_indexer(pd.MultiIndex.from_frame(cells[names]))
    lost = np.flatnonzero(rows < 0)
    if lost.size:
        some = ", ".join("/".join(map(str, pair)) for pair in cells[names].to_numpy()[lost[:_NUM_SHOWN]])
        raise ValueError(
            f"{lost.size} of {len(cells)} cells have no label (field/cell {some}): their ids must be "
            "those of the table. Cut the cells by its own masks with segmenter=cell_table, or by the label "
            "images that it was made from with segmenter=precomputed."
        )
    if Column.AREA_UM2 in cells and Column.AREA_UM2 in table.cells:
        _check_areas(cells[Column.AREA_UM2].to_numpy(), table.cells[Column.AREA_UM2].to_numpy()[rows])
    return table.probabilities()[rows]


def _check_areas(own: NDArray[np.float64], theirs: NDArray[np.float64]) -> None:
    """Refuse labels of cells that have the same ids and are others; NaN, of earlier stores, is not known."""
    others = np.abs(own - theirs) > _SAME_AREA * theirs
    if others.any():
        raise ValueError(
            f"{others.sum()} of {len(own)} cells have another area in the table of cell labels: under the same ids it "
            "has other cells, or another pixel size. Cut the cells by its own masks with segmenter=cell_table, or by "
            "the label images that it was made from with segmenter=precomputed."
        )
