"""How large fields are, in pixels and in cells."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from hpa_cells.explore.cell_lines import UNKNOWN_LINE, lines_by_size
from hpa_cells.table import Column

__all__ = ["cells_of_lines", "image_sizes"]


def image_sizes(channels: pd.DataFrame) -> pd.DataFrame:
    """The number of fields of each size.

    Parameters
    ----------
    channels
        One row a field and channel, see `hpa_cells.explore.channel_statistics`.

    Returns
    -------
    One row a size, that of the most fields first: ``height_px``, ``width_px``, ``num_bits``, ``pixel_size_um``,
    ``num_fields``.
    """
    columns = ["height_px", "width_px", "num_bits", "pixel_size_um"]
    counts = channels.groupby(columns)["field_id"].nunique().rename("num_fields").reset_index()
    return counts.sort_values(["num_fields", *columns], ascending=[False] + 4 * [True], ignore_index=True)


def cells_of_lines(cells: pd.DataFrame, line_of: Mapping[str, str]) -> pd.DataFrame:
    """How many cells the fields of each cell line have.

    Parameters
    ----------
    cells
        One row a field: its id and its number of cells, see `hpa_cells.explore.read_cell_numbers`.
    line_of
        The cell line of each field; those that it lacks are together.

    Returns
    -------
    One row a cell line, that of the most fields first: ``cell_line``, ``num_fields``, ``num_empty`` (fields without
    cells), ``num_cells`` in all, and of the numbers of cells of fields ``least``, ``low``, ``median``, ``high`` (the
    quartiles) and ``most``.
    """
    lines = cells[Column.FIELD_ID].map(line_of).fillna(UNKNOWN_LINE)
    rows = []
    for line in lines_by_size(lines):
        numbers = cells.loc[lines == line, Column.NUM_CELLS]
        least, low, median, high, most = numbers.quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
        rows.append(
            {
                "cell_line": line,
                "num_fields": len(numbers),
                "num_empty": int((numbers == 0).sum()),
                "num_cells": int(numbers.sum()),
                "least": int(least),
                "low": low,
                "median": median,
                "high": high,
                "most": int(most),
            }
        )
    return pd.DataFrame(rows)
