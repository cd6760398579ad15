"""Pictures of fields as a whole: their labels, sizes, cells, and how bright those of each cell line are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hpa_cells.explore.figures import COLOR_OF_CHANNEL, FAINT
from hpa_cells.figures import INK, new_figure, save_figure
from hpa_cells.types import Channel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_cell_number_figure", "write_label_number_figure", "write_line_figure", "write_size_figure"]

_BAR = "#4c78a8"
_WIDTH_INCH, _ROW_INCH, _FRAME_INCH = 7.0, 0.3, 0.95
# Of more rows the others are told together, or left to the table beside the figure.
_MOST_ROWS = 40
_LONGEST_NAME = 28


def write_label_number_figure(per_field: pd.DataFrame, path: Path | str) -> None:
    """Draw how many fields have so many labels; `per_field` is from `labels_per_field`."""
    shown = per_field[(per_field["num_labels"] > 0) | (per_field["num_fields"] > 0)]
    names = [f"{number} label{'' if number == 1 else 's'}" for number in shown["num_labels"]]
    _write_bars(names, shown["num_fields"].tolist(), "Labels a field", path)


def write_size_figure(sizes: pd.DataFrame, path: Path | str) -> None:
    """Draw how many fields have each size; `sizes` is from `image_sizes`, the most frequent first."""
    names = [
        f"{row.height_px} x {row.width_px} px, {row.num_bits} bits, {row.pixel_size_um:.3g} µm a pixel"
        for row in sizes.itertuples()
    ]
    _write_bars(names, sizes["num_fields"].tolist(), "Sizes of fields, height x width", path)


def write_cell_number_figure(numbers: Sequence[int], of_lines: pd.DataFrame, path: Path | str) -> None:
    """Draw how many cells fields have, and the quartiles of each cell line where there is more than one.

    Parameters
    ----------
    numbers
        Cells of each field.
    of_lines
        From `cells_of_lines`.
    path
        A PNG.
    """
    shown = of_lines.head(_MOST_ROWS) if len(of_lines) > 1 else of_lines.head(0)
    lower_inch = _ROW_INCH * len(shown) + (0.7 if len(shown) else 0)
    figure = new_figure(_WIDTH_INCH, 2.6 + lower_inch)
    panels = figure.subplots(
        2 if len(shown) else 1,
        1,
        squeeze=False,
        sharex=True,
        height_ratios=([2.3, lower_inch] if len(shown) else [1]),
    )[:, 0]
    upper = panels[0]
    most = max(numbers, default=0)
    # Whole numbers a bar, so that no bar is higher for holding more numbers than its neighbours.
    width = max(1, -(-(most + 1) // 40))
    upper.hist(numbers, bins=np.arange(-0.5, most + width + 0.5, width), color=_BAR, rwidth=0.92)
    named = f", median {np.median(numbers):g}" if len(numbers) else ""
    upper.set_title(f"Cells a field: {len(numbers):,} fields{named}", fontsize=10, loc="left")
    upper.set_ylabel("fields", fontsize=9)
    upper.locator_params("y", integer=True)
    if not len(numbers):
        upper.set_xlim(0, 1)
        upper.set_ylim(0, 1)
    if len(shown):
        names = [f"{row.cell_line}: {row.num_fields:,}" for row in shown.itertuples()]
        _draw_ranges(panels[1], shown, ("low", "median", "high"), names, color=_BAR)
        panels[1].set_title(
            "Median and quartiles of each cell line, with its fields", fontsize=10, loc="left"
        )
    panels[-1].set_xlabel("cells", fontsize=9)
    panels[-1].locator_params("x", integer=True)
    for axes in panels:
        _bare(axes)
    save_figure(figure, path)


def write_line_figure(of_lines: pd.DataFrame, path: Path | str) -> None:
    """Draw how bright each channel is in each cell line; `of_lines` is from `intensities_of_lines`.

    A row has the median and the quartiles over fields of what 99 % of the pixels do not exceed, and fainter of the
    median pixel.
    """
    lines = of_lines["cell_line"].drop_duplicates().tolist()[:_MOST_ROWS]
    # A channel may be missing in some fields; the panels share the names of their rows.
    num_fields = of_lines.groupby("cell_line")["num_fields"].max()
    names = [f"{line}: {num_fields[line]:,}" for line in lines]
    figure = new_figure(12, _FRAME_INCH + 0.5 + _ROW_INCH * len(lines))
    for channel, axes in zip(
        Channel, figure.subplots(1, len(Channel), sharex=True, sharey=True), strict=True
    ):
        rows = of_lines[of_lines["channel"] == channel.color].set_index("cell_line").reindex(lines)
        color = COLOR_OF_CHANNEL[channel.color]
        for name, its_color, shape in (("q50", FAINT, "D"), ("q99", color, "o")):
            parts = (f"{name}_low", f"{name}_median", f"{name}_high")
            _draw_ranges(axes, rows, parts, names, color=its_color, shape=shape)
        axes.set_xscale("symlog", linthresh=1 / 255, linscale=0.3)
        axes.set_xlim(-0.0006, 1.25)
        axes.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        axes.set_xticks([], minor=True)
        kind = "ER" if channel is Channel.ER else channel.name.lower()
        axes.set_title(f"{channel.color}: {kind}", fontsize=10, loc="left")
        _bare(axes)
    figure.suptitle(
        "Brightness by cell line, with its fields: ● 99 % of the pixels are at most so bright, ◆ half of them "
        "(median and quartiles over fields)",
        fontsize=10,
        x=0.01,
        ha="left",
        color=INK,
    )
    figure.supxlabel("brightness, of what the data type holds", fontsize=9)
    save_figure(figure, path)


def _write_bars(names: list[str], counts: list[int], title: str, path: Path | str) -> None:
    """A bar a name with its count and share; of very many, the last is of all others."""
    total = max(sum(counts), 1)
    if len(names) > _MOST_ROWS:
        rest = counts[_MOST_ROWS - 1 :]
        names = [*names[: _MOST_ROWS - 1], f"{len(rest)} others"]
        counts = [*counts[: _MOST_ROWS - 1], sum(rest)]
    figure = new_figure(_WIDTH_INCH, _FRAME_INCH + _ROW_INCH * max(len(names), 1))
    axes = figure.subplots()
    axes.barh(range(len(names)), counts, color=_BAR, height=0.72)
    for position, count in enumerate(counts):
        text = f"{count:,} ({count / total:.1%})"
        axes.annotate(
            text, (count, position), (4, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    # Room for the numbers beside the longest bar.
    axes.set_xlim(0, max(counts, default=1) * 1.25 or 1)
    axes.locator_params("x", integer=True, nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("fields", fontsize=9)
    axes.set_title(title if names else f"{title}: no field", fontsize=10, loc="left")
    _bare(axes)
    save_figure(figure, path)


def _draw_ranges(
    axes: Axes,
    rows: pd.DataFrame,
    columns: tuple[str, str, str],
    names: list[str],
    *,
    color: str,
    shape: str = "o",
) -> None:
    """A row a name: a line from the first to the third column, and a mark at the second; nothing for NaN."""
    low, middle, high = (rows[column].to_numpy(dtype=float) for column in columns)
    places = np.arange(len(rows))
    axes.hlines(places, low, high, color=color, lw=2.2, alpha=0.45)
    axes.scatter(middle, places, s=22, color=color, marker=shape, lw=0, zorder=3)
    axes.set_yticks(places, [_shortened(name) for name in names], fontsize=8, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _shortened(name: str) -> str:
    text, number = name.rsplit(": ", 1)
    return f"{text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + '…'}: {number}"


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
