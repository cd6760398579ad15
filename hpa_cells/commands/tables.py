"""Tables as commands show and keep them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpa_cells.atomic import replaced_on_success
from hpa_cells.shown import printable
from hpa_cells.spreadsheet import guarded

__all__ = ["print_table", "write_csv"]


def write_csv(rows: pd.DataFrame, path: Path) -> None:
    """Write rows, in one go; no text of them is run by a spreadsheet."""
    with replaced_on_success(path) as temporary:
        guarded(rows).to_csv(temporary, index=False)


def print_table(title: str, rows: pd.DataFrame) -> None:
    """Print rows under a title, the first column to the left."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(rows.columns):
        table.add_column(str(column), justify="left" if position == 0 else "right")
    for row in rows.itertuples(index=False):
        # Texts as they are: what stands in brackets is no colour, and nothing moves the cursor.
        table.add_row(
            *(Text(f"{value:g}" if isinstance(value, float) else printable(str(value))) for value in row)
        )
    Console().print(table)
