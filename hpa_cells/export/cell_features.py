"""What a viewer shows of a cell beside its shape: its most probable class, numbers and a colour."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, color_on_dark
from hpa_cells.table import Column

__all__ = ["CLASS_COLUMN", "cell_colors", "cell_features", "most_probable"]

CLASS_COLUMN: Final = "most_probable_class"
# Of a cell without probabilities.
_NO_CLASS_COLOR: Final = (200, 200, 200)
_MEASURED: Final = [Column.AREA_UM2, Column.NUCLEUS_AREA_UM2, Column.TOUCHES_BORDER]


def most_probable(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """(N,) position of the class with the highest of (N, K) probabilities, the first of several; -1 where all are NaN.

    Examples
    --------
    >>> most_probable(np.array([[0.1, 0.7, 0.7], [np.nan, 0.2, 0.1], [np.nan, np.nan, np.nan]])).tolist()
    [1, 1, -1]
    """
    known = np.nan_to_num(probabilities, nan=-1.0)
    codes: NDArray[np.intp] = np.where(known.max(axis=1) >= 0, known.argmax(axis=1), -1)
    return codes


def cell_features(cells: pd.DataFrame, class_set: ClassSet) -> pd.DataFrame:
    """One row a cell, in the order of `cells`: ``cell_id``, its most probable class by name, areas and probabilities.

    The class is the empty text where the table has no probabilities.
    """
    columns = Column.probabilities(class_set)
    names = np.array([*class_set.names, ""])
    features = cells[[Column.CELL_ID]].reset_index(drop=True)
    features[CLASS_COLUMN] = names[most_probable(cells[columns].to_numpy(np.float32))].astype(object)
    return features.join(cells[[*_MEASURED, *columns]].reset_index(drop=True))


def cell_colors(cells: pd.DataFrame, class_set: ClassSet) -> dict[int, tuple[int, int, int]]:
    """Red, green and blue by cell id: the colour of the most probable class on a dark image, as in reports."""
    colors = [*map(color_on_dark, class_set.colors), _NO_CLASS_COLOR]
    codes = most_probable(cells[Column.probabilities(class_set)].to_numpy(np.float32))
    return {
        int(cell_id): colors[code]
        for cell_id, code in zip(cells[Column.CELL_ID], codes.tolist(), strict=True)
    }
