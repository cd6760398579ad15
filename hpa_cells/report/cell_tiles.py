"""The best cells of classes, and their pictures: each field is read once, however many classes its cells show."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.fields import FieldSource
from hpa_cells.report.drawing import read_pixels
from hpa_cells.report.montage import cell_tile
from hpa_cells.table import CellTable, Column

__all__ = ["TILE_PX", "CellTiles", "best_cells"]

TILE_PX = 240


def best_cells(table: CellTable, field_ids: Collection[str], class_key: str, num_cells: int) -> pd.DataFrame:
    """Rows of ``table.cells``, with their index: those of highest probability of a class, the highest first.

    Raises
    ------
    ValueError
        If there is no such class.
    """
    if class_key not in table.class_set.keys:
        raise ValueError(
            f"{class_key!r} is not a class of {table.class_set.name}: choose one of "
            f"{', '.join(table.class_set.keys)}."
        )
    column = Column.probabilities(table.class_set)[table.class_set.index(class_key)]
    cells = table.cells[table.cells[Column.FIELD_ID].isin(field_ids)].dropna(subset=[column])
    return cells.sort_values(column, ascending=False, kind="stable").head(num_cells)


class CellTiles:
    """Pictures of the best cells of some classes, (240, 240, 3) uint8 by row of ``table.cells``.

    Parameters
    ----------
    table
        The run.
    sources
        Fields; cells of others are left out.
    class_keys
        The classes.
    num_cells
        Most cells of each.
    """

    def __init__(
        self, table: CellTable, sources: Sequence[FieldSource], *, class_keys: Sequence[str], num_cells: int
    ) -> None:
        self._table = table
        self._sources = {source.field_id: source for source in sources}
        best = [best_cells(table, self._sources, key, num_cells) for key in class_keys]
        self._wanted = pd.concat(best) if best else table.cells.iloc[:0]
        self._wanted = self._wanted[~self._wanted.index.duplicated()]
        self._tiles: dict[int, NDArray[np.uint8]] = {}

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The picture of a cell; the first of a field reads it.

        Raises
        ------
        OSError, ValueError
            If the field cannot be read or has another size than in the table.
        """
        if index not in self._tiles:
            field_id = str(self._wanted.loc[index, Column.FIELD_ID])
            channels, _, labels = read_pixels(self._table, self._sources[field_id])
            rows = self._wanted[self._wanted[Column.FIELD_ID] == field_id]
            for row_index, (_, row) in zip(rows.index.tolist(), rows.iterrows(), strict=True):
                self._tiles[row_index] = cell_tile(channels, labels, row, side_px=TILE_PX)
        return self._tiles[index]
