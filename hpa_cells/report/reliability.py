"""The picture of a calibration: what is said against what is true, a panel a class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from hpa_cells.classes import ClassSet
from hpa_cells.figures import INK, new_figure, save_figure
from hpa_cells.metrics import ReliabilityColumn, ScoreColumn
from hpa_cells.report.colors import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_reliability_figure"]

# Blue and orange of Okabe and Ito, which everyone can tell apart; the shape of the mark says it again.
_STYLE: Final[dict[str, dict[str, Any]]] = {
    "before": {"color": "#d55e00", "marker": "o", "markerfacecolor": "white"},
    "after": {"color": "#0072b2", "marker": "s", "markerfacecolor": "#0072b2"},
}
_FAINT = "#767676"
_NUM_COLUMNS = 5
_PANEL_INCH = 2.25
_TICKS = [0, 0.05, 0.2, 0.5, 1]


def write_reliability_figure(bins: pd.DataFrame, class_set: ClassSet, path: Path | str, *, of: str) -> None:
    """Draw the bins of each class before and after, with the 95 % interval of what is true.

    Parameters
    ----------
    bins
        `reliability_bins` of every class, with columns ``class_key`` and ``stage`` (``before`` or ``after``).
    class_set
        The K classes, one panel each.
    path
        A PNG.
    of
        What the rows are: ``cells`` or ``fields``.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    num_rows = math.ceil(len(class_set) / _NUM_COLUMNS)
    size = (_NUM_COLUMNS * _PANEL_INCH + 0.4, num_rows * (_PANEL_INCH + 0.25) + 0.9)
    figure = new_figure(*size)
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.08))
    grid = figure.subplots(num_rows, _NUM_COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, key in zip(grid, class_set.keys, strict=False):
        _draw_class(axes, bins[bins[ScoreColumn.CLASS_KEY] == key], short_name(key), of)
    for axes in grid[len(class_set) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(class_set) - _NUM_COLUMNS) : len(class_set)]:
        axes.tick_params(labelbottom=True)
    figure.legend(handles=grid[0].get_lines(), loc="outside upper right", ncols=3, fontsize=9, frameon=False)
    figure.supxlabel(f"probability that is said\n{_bins_in_words(bins, of)}", fontsize=9)
    figure.supylabel(f"share of {of} of which it is true, and its 95 % interval", fontsize=9)
    save_figure(figure, path)


def _draw_class(axes: Axes, bins: pd.DataFrame, name: str, of: str) -> None:
    # The square root makes room for rare classes, most of whose bins lie near 0.
    for set_scale in (axes.set_xscale, axes.set_yscale):
        set_scale("function", functions=(np.sqrt, np.square))
    axes.plot([0, 1], [0, 1], color=_FAINT, lw=0.8, ls=(0, (4, 3)), label="says what is true")
    for stage, style in _STYLE.items():
        of_stage = bins[bins["stage"] == stage]
        said, true = of_stage[ReliabilityColumn.PREDICTED], of_stage[ReliabilityColumn.OBSERVED]
        low, high = of_stage[ReliabilityColumn.LOW], of_stage[ReliabilityColumn.HIGH]
        axes.vlines(said, low, high, color=style["color"], lw=1, alpha=0.55)
        axes.plot(said, true, ms=4, lw=0.8, mew=1, label=stage, clip_on=False, zorder=3, **style)
    after = bins[bins["stage"] == "after"]
    num_rows, num_true = after[ReliabilityColumn.NUM_ROWS].sum(), after[ScoreColumn.NUM_TRUTHS].sum()
    axes.set_title(f"{name}\n", fontsize=9, loc="left", color=INK)
    support = f"true of {num_true:,} of {num_rows:,} {of}"
    axes.text(0, 1.03, support, transform=axes.transAxes, fontsize=7, color=_FAINT)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.set_aspect("equal")
    axes.tick_params(length=2, labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _bins_in_words(bins: pd.DataFrame, of: str) -> str:
    """How many rows the bins hold, from the top: of the class with most bins, as ties may join some.

    Examples
    --------
    >>> _bins_in_words(pd.DataFrame({"class_key": "a", "stage": "after", "num_rows": [50, 25, 25]}), "cells")
    'a mark each for the 25 most probable cells, the next 25, 50'
    """
    sizes: list[int] = max(
        (
            each.to_list()
            for _, each in bins.groupby([ScoreColumn.CLASS_KEY, "stage"])[ReliabilityColumn.NUM_ROWS]
        ),
        key=len,
        default=[],
    )
    if not sizes:
        return f"no {of}"
    first, *others = (f"{size:,}" for size in reversed(sizes))
    return f"a mark each for the {first} most probable {of}" + (
        f", the next {', '.join(others)}" if others else ""
    )
