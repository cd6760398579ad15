"""Tables as commands show and keep them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from hpa_cells.atomic import replaced_on_success

__all__ = ["print_table", "write_csv"]


def write_csv(rows: pd.DataFrame, path: Path) -> None:
    """Write rows, in one go."""
    with replaced_on_success(path) as temporary:
        rows.to_csv(temporary, index=False)


def print_table(title: str, rows: pd.DataFrame) -> None:
    """Print rows under a title, the first column to the left."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(rows.columns):
        table.add_column(str(column), justify="left" if position == 0 else "right")
    for row in rows.itertuples(index=False):
        table.add_row(*(f"{value:g}" if isinstance(value, float) else str(value) for value in row))
    Console().print(table)
