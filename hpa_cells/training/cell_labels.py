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


def match_cell_labels(cells: pd.DataFrame, table: CellTable, class_set: ClassSet) -> NDArray[np.float32]:
    """Look up the labels of these cells.

    Parameters
    ----------
    cells
        N rows with ``field_id`` and ``cell_id``.
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
        If the table has other classes or lacks one of the cells.
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
    return table.probabilities()[rows]
