"""Single cells of a run as figures of matplotlib: those of a field, or those of a class.

Each plot is a ``matplotlib.figure.Figure``, which notebooks show and its ``savefig`` writes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields import FieldSource
from hpa_cells.figures import INK, new_figure
from hpa_cells.report.cell_tiles import TILE_PX, CellTiles, best_cells
from hpa_cells.report.drawing import open_field
from hpa_cells.report.montage import cell_tile
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.tiles import most_probable_words
from hpa_cells.table import CellTable, Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_class_montage", "plot_gallery", "tile_grid"]

_CELL_INCH, _GAP_INCH, _TITLE_INCH = 1.6, 0.08, 0.35
# Of words below a cell: height of a line, and the letters for which there is room.
_LINE_INCH, _LINE_LETTERS = 0.125, 24
# Of an id of 36 characters, as those of the Human Protein Atlas, nothing may be missing.
_MOST_LINES = 3
# An id may have what a formula has, such as `$`.
_BELOW: dict[str, Any] = {"fontsize": 7, "va": "top", "color": INK, "linespacing": 1.25, "parse_math": False}
# As a class that is named: below it, a cell is among the most probable ones only.
_SURE = 0.5
_NUM_NAMED = 3


def plot_gallery(
    table: CellTable, source: FieldSource, *, cell_ids: Sequence[int] | None = None, num_columns: int = 6
) -> Figure:
    """The cells of a field one by one, each with its most probable classes.

    Parameters
    ----------
    table
        The run.
    source
        The field.
    cell_ids
        Which cells, in this order; None: all.
    num_columns
        Cells a row, at least 1.

    Raises
    ------
    OSError, ValueError
        If the field cannot be read or is not in the table, or has no such cell.
    """
    opened = open_field(table, source, ReportSettings())
    cells = opened.cells.set_index(Column.CELL_ID, drop=False)
    unknown = sorted(set(cell_ids or ()) - set(cells.index))
    if unknown:
        raise ValueError(
            f"Field {source.field_id} has no cell {', '.join(map(str, unknown))}, only "
            f"{_ids(cells.index.tolist())}."
        )
    rows = cells if cell_ids is None else cells.loc[list(cell_ids)]
    tiles = [cell_tile(opened.channels, opened.labels, row, side_px=TILE_PX) for _, row in rows.iterrows()]
    probabilities = rows[Column.probabilities(table.class_set)].to_numpy(dtype=np.float32)
    words = [
        "\n".join(
            [
                f"{cell_id}{', cut by the edge' if is_cut else ''}",
                *most_probable_words(of_cell, table.class_set, num=_NUM_NAMED),
            ]
        )
        for cell_id, is_cut, of_cell in zip(
            rows[Column.CELL_ID], rows[Column.TOUCHES_BORDER], probabilities, strict=True
        )
    ]
    return tile_grid(tiles, words, num_columns, f"Cells of {source.field_id}")


def plot_class_montage(
    table: CellTable,
    sources: Iterable[FieldSource],
    class_key: str,
    *,
    num_cells: int = 24,
    num_columns: int = 8,
    tiles: CellTiles | None = None,
) -> Figure:
    """The cells that show a class with the highest probability, the most probable first.

    Parameters
    ----------
    table
        The run.
    sources
        Fields; cells of others are left out.
    class_key
        The class, such as ``nucleoli``.
    num_cells
        Most cells shown.
    num_columns
        Cells a row, at least 1.
    tiles
        Pictures of the run's cells that are shared by several montages; None: made for this one.

    Raises
    ------
    OSError, ValueError
        If a field cannot be read or has another size than in the table, or there is no such class.
    """
    sources = list(sources)
    best = best_cells(table, {source.field_id for source in sources}, class_key, num_cells)
    column = Column.probabilities(table.class_set)[table.class_set.index(class_key)]
    if tiles is None:
        tiles = CellTiles(table, sources, class_keys=[class_key], num_cells=num_cells)
    words = [
        f"{probability:.2f}{'' if probability >= _SURE else '?'}\n{field_id}\ncell {cell_id}"
        for probability, field_id, cell_id in zip(
            best[column], best[Column.FIELD_ID], best[Column.CELL_ID], strict=True
        )
    ]
    name = table.class_set.names[table.class_set.index(class_key)]
    return tile_grid(
        [tiles[index] for index in best.index], words, num_columns, f"{name}: most confident cells"
    )


def tile_grid(
    tiles: Sequence[NDArray[np.uint8]], words: Sequence[str], num_columns: int, title: str
) -> Figure:
    """Tiles in rows, each with its words below; lines that are wider than a tile go on in the next."""
    if num_columns < 1:
        raise ValueError(f"num_columns is {num_columns}: give at least 1.")
    words = ["\n".join(_wrapped(line) for line in text.split("\n")) for text in words]
    num_rows = math.ceil(len(tiles) / num_columns)
    words_inch = _LINE_INCH * (max((text.count("\n") for text in words), default=0) + 2)
    width_inch = num_columns * _CELL_INCH + _GAP_INCH
    height_inch = num_rows * (_CELL_INCH + words_inch) + _TITLE_INCH
    figure = new_figure(width_inch, height_inch)
    figure.set_layout_engine("none")
    figure.text(
        _GAP_INCH / width_inch,
        1 - _TITLE_INCH / 2 / height_inch,
        title if tiles else f"{title}: none",
        fontsize=10,
        va="center",
        color=INK,
        parse_math=False,
    )
    side_inch = _CELL_INCH - _GAP_INCH
    for position, (tile, text) in enumerate(zip(tiles, words, strict=True)):
        row, column = divmod(position, num_columns)
        left_inch = _GAP_INCH + column * _CELL_INCH
        top_inch = height_inch - _TITLE_INCH - row * (_CELL_INCH + words_inch)
        axes = figure.add_axes(
            (
                left_inch / width_inch,
                (top_inch - side_inch) / height_inch,
                side_inch / width_inch,
                side_inch / height_inch,
            )
        )
        axes.imshow(tile, interpolation="antialiased")
        axes.set_axis_off()
        axes.text(0, -0.03, text, transform=axes.transAxes, **_BELOW)
    return figure


def _wrapped(line: str) -> str:
    """The line in lines as wide as a tile, broken between words; a word without end is cut in the middle."""
    # Ids often begin alike, and end so, too.
    half = (_MOST_LINES * _LINE_LETTERS - 1) // 2
    if " " not in line and len(line) > _MOST_LINES * _LINE_LETTERS:
        line = f"{line[:half]}…{line[-half:]}"
    lines = textwrap.wrap(
        line,
        _LINE_LETTERS,
        max_lines=_MOST_LINES,
        placeholder=" …",
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def _ids(cell_ids: Sequence[int]) -> str:
    return f"{len(cell_ids)} from {min(cell_ids)} to {max(cell_ids)}" if cell_ids else "none"
