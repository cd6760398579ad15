"""Maps of embeddings: every cell a point, where those that the network finds alike lie together.

Shapes: N cells, K classes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.explore.cell_lines import lines_by_size
from hpa_cells.explore.maps import MapMethod
from hpa_cells.figures import INK, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    _Draw = Callable[[Axes, NDArray[np.int64], int], None]

__all__ = ["write_label_map", "write_line_map", "write_score_map"]

_PALE, _LABELLED, _ODD = "#dadada", "#1f4e8c", "#d1495b"
# From a score of 0 to 1; as dark at 1 for readers who see no colours.
_SCORES = (_PALE, "#6f9fd0", "#0b2545")
# More points than this only hide each other.
_MOST_POINTS = 20_000
# Of the cells, between the ends of an axis: a few far away would press all others together.
_SHOWN_SHARE = 0.998
_PANEL_INCH = 2.1
_LETTERS_PER_INCH = 13
_LONGEST_TITLE = 30
# More panels are too small to look at; the cell lines of fewer cells are left out.
_MOST_LINES = 29


def write_label_map(
    places: NDArray[np.float32],
    labels: NDArray[np.bool_],
    *,
    is_odd: NDArray[np.bool_],
    class_set: ClassSet,
    method: MapMethod,
    path: Path | str,
) -> None:
    """Draw a panel a class, where cells of fields with that label stand out; the first panel has the odd cells.

    Parameters
    ----------
    places
        (N, 2) of the cells, at least one.
    labels
        (N, K) bool, of each cell's field.
    is_odd
        (N,) bool, cells unlike the others.
    class_set
        The K classes.
    method
        How the cells were laid out.
    path
        A PNG.
    """
    titles = [f"{name}: {count:,}" for name, count in zip(class_set.names, labels.sum(axis=0), strict=True)]
    figure = _marked(_held(places), is_odd, titles, labels)
    _set_title(figure, method, "dark: cells of the fields that are labelled so, with their number")
    save_figure(figure, path)


def write_line_map(
    places: NDArray[np.float32],
    line_of_cell: Sequence[str],
    *,
    is_odd: NDArray[np.bool_],
    method: MapMethod,
    path: Path | str,
) -> None:
    """Draw a panel a cell line, where its cells stand out, that of the most cells first.

    Parameters
    ----------
    places, is_odd, method, path
        As in `write_label_map`.
    line_of_cell
        N names of cell lines.
    """
    lines = pd.Series(list(line_of_cell), dtype=object)
    names = lines_by_size(lines)[:_MOST_LINES]
    belongs = np.stack([(lines == name).to_numpy(dtype=bool) for name in names], axis=1)
    titles = [f"{name}: {count:,}" for name, count in zip(names, belongs.sum(axis=0), strict=True)]
    figure = _marked(_held(places), is_odd, titles, belongs)
    _set_title(figure, method, "dark: cells of each cell line, with their number")
    save_figure(figure, path)


def write_score_map(
    places: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    *,
    is_odd: NDArray[np.bool_],
    class_set: ClassSet,
    method: MapMethod,
    path: Path | str,
) -> None:
    """Draw a panel a class, in which a cell is the darker the higher it scores.

    Parameters
    ----------
    places, is_odd, class_set, method, path
        As in `write_label_map`.
    probabilities
        (N, K) in [0, 1], of each cell.
    """
    held = _held(places)

    def draw(axes: Axes, shown: NDArray[np.int64], label: int) -> None:
        # The highest last, or the many low ones would hide them.
        order = shown[np.argsort(probabilities[shown, label], kind="stable")]
        _dots(axes, held[order], probabilities[order, label], len(held))

    means = probabilities.mean(axis=0, dtype=np.float64)
    figure = _panels(
        held,
        is_odd,
        [f"{name}: {mean:.2f}" for name, mean in zip(class_set.names, means, strict=True)],
        draw,
    )
    _set_title(figure, method, "the darker, the higher the cell scores; with the mean")
    _add_scale(figure)
    save_figure(figure, path)


def _marked(
    held: NDArray[np.float32], is_odd: NDArray[np.bool_], titles: list[str], marks: NDArray[np.bool_]
) -> Figure:
    """A panel a column of `marks` (N, panels), in which its cells stand out."""

    def draw(axes: Axes, shown: NDArray[np.int64], column: int) -> None:
        has = np.flatnonzero(marks[:, column])
        _dots(axes, held[shown], _PALE, len(held))
        # What is rare is drawn whole, and larger.
        _dots(axes, held[_some(has)], _LABELLED, len(has))

    return _panels(held, is_odd, titles, draw)


def _panels(held: NDArray[np.float32], is_odd: NDArray[np.bool_], titles: list[str], draw: _Draw) -> Figure:
    """A panel of the odd cells, then one a title."""
    columns = int(np.ceil(np.sqrt(1.2 * (len(titles) + 1))))
    rows = -(-(len(titles) + 1) // columns)
    figure = new_figure(columns * _PANEL_INCH, rows * (_PANEL_INCH + 0.1) + 0.5)
    first, *others = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    shown = _some(np.arange(len(held)))
    for axes in (first, *others):
        _frame(axes)
    for axes in others[len(titles) :]:
        axes.set_axis_off()
    _dots(first, held[shown], _PALE, len(held))
    odd = held[is_odd]
    first.scatter(odd[:, 0], odd[:, 1], s=16, facecolors="none", edgecolors=_ODD, lw=0.8)
    first.set_title(f"Unlike the others: {len(odd):,} of {len(held):,}", fontsize=8, loc="left", color=_ODD)
    for label, (axes, title) in enumerate(zip(others, titles, strict=False)):
        draw(axes, shown, label)
        # A cell line may be called by what a formula has, such as `$`.
        axes.set_title(_shortened(title), fontsize=8, loc="left", color=INK, parse_math=False)
    return figure


def _frame(axes: Axes) -> None:
    """A frame that tells whose points are whose, and no numbers, which mean nothing; cells at the edge stay whole."""
    axes.tick_params(bottom=False, left=False, labelbottom=False, labelleft=False)
    axes.spines[:].set_color(_PALE)
    axes.margins(0.06)


def _dots(axes: Axes, places: NDArray[np.float32], colors: str | NDArray[np.float32], num_alike: int) -> None:
    """Draw points, the larger, the fewer of them there are to be seen."""
    size = float(np.clip(2_000 / max(num_alike, 1), 1.5, 9))
    # A map of colours beside a plain one is refused.
    scale: dict[str, Any] = {} if isinstance(colors, str) else {"cmap": _color_map(), "vmin": 0, "vmax": 1}
    axes.scatter(places[:, 0], places[:, 1], s=size, c=colors, lw=0, **scale)


def _held(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """The places, those far out moved to the edge of what is shown."""
    outside = (1 - _SHOWN_SHARE) / 2
    low, high = np.quantile(places, [outside, 1 - outside], axis=0)
    return np.clip(places, low, high).astype(np.float32)


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the cells that are drawn, always the same."""
    if len(rows) <= _MOST_POINTS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, _MOST_POINTS, replace=False))


def _shortened(title: str) -> str:
    name, number = title.rsplit(": ", 1)
    longest = _LONGEST_TITLE - len(number)
    return f"{name if len(name) <= longest else name[: longest - 1] + '…'}: {number}"


def _set_title(figure: Figure, method: MapMethod, what: str) -> None:
    text = f"Cells by embedding, {method.told}; {what}"
    # Few panels are narrower than the sentence.
    letters = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    figure.suptitle(textwrap.fill(text, letters), fontsize=10, x=0.01, ha="left", color=INK)


def _add_scale(figure: Figure) -> None:
    from matplotlib.cm import ScalarMappable

    scale = ScalarMappable(cmap=_color_map())
    scale.set_clim(0, 1)
    bar = figure.colorbar(scale, ax=figure.get_axes(), shrink=0.35, aspect=30, pad=0.01)
    bar.set_label("score", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _color_map() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("scores", _SCORES)
