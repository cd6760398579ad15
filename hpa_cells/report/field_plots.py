"""Fields of a run as figures of matplotlib: one run, or two side by side.

Each plot is a ``matplotlib.figure.Figure``, which notebooks show and its ``savefig`` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hpa_cells.classes import ClassSet
from hpa_cells.fields import FieldSource
from hpa_cells.figures import INK, new_figure
from hpa_cells.metrics import CHALLENGE_IOU, overlapping_cells
from hpa_cells.report.colors import Rgb, color_on_dark, hex_color, short_name
from hpa_cells.report.drawing import OpenField, open_field
from hpa_cells.report.marks import CellMark
from hpa_cells.report.overlay import draw_over_field
from hpa_cells.report.settings import ReportSettings
from hpa_cells.table import CellTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_overlay", "plot_side_by_side"]

# Of a field, and of what is above and below it.
_FIELD_INCH, _WORDS_INCH = 7.0, 0.85
# Lengths that a scale bar may have, in um; it takes at most this share of the width.
_BARS_UM, _BAR_SHARE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000), 0.22
_WITHOUT_PARTNER: Rgb = (255, 255, 255)


def plot_overlay(table: CellTable, source: FieldSource, *, threshold: float = 0.5) -> Figure:
    """A field in the atlas' colours with the outline, id and classes of every cell, and below it a scale bar.

    Where the table does not know the size of a pixel, there is no bar.

    Parameters
    ----------
    table
        The run.
    source
        The field, from `hpa_cells.fields.find_fields`.
    threshold
        Least probability of a class that is named; below it, the most probable one is followed by ``?``.

    Raises
    ------
    OSError, ValueError
        If the field cannot be read, is not in the table, or has another size there.
    """
    opened = open_field(table, source, ReportSettings(threshold=threshold))
    height, width = opened.labels.shape
    figure = new_figure(_FIELD_INCH, _FIELD_INCH * height / width + _WORDS_INCH)
    axes = figure.subplots()
    title = f"{source.field_id}: {_number(len(opened.marks), 'cell')}"
    _draw_field(axes, opened, opened.marks, title)
    _class_legend(figure, opened.marks, table.class_set)
    return figure


def plot_side_by_side(
    left: CellTable,
    right: CellTable,
    source: FieldSource,
    *,
    names: tuple[str, str] = ("left", "right"),
    threshold: float = 0.5,
) -> Figure:
    """One field twice, with the cells of two runs, or of a run and the truth.

    A cell that the other side lacks, at the mask IoU of the challenge (0.6), is drawn in white and called
    ``only here``.

    Raises
    ------
    OSError, ValueError
        If the field cannot be read, or one of the tables lacks it or has it in another size.
    """
    opened = [open_field(table, source, ReportSettings(threshold=threshold)) for table in (left, right)]
    overlaps = overlapping_cells(
        *(table.of_field(source.field_id) for table in (left, right)), iou_threshold=CHALLENGE_IOU
    )
    height, width = opened[0].labels.shape
    figure = new_figure(2 * _FIELD_INCH, _FIELD_INCH * height / width + _WORDS_INCH)
    marks = [
        [
            mark
            if row in rows
            else replace(mark, color=_WITHOUT_PARTNER, classes=("only here",), is_sure=True)
            for row, mark in enumerate(side.marks)
        ]
        for side, rows in zip(opened, (set(overlaps.predicted_rows), set(overlaps.truth_rows)), strict=True)
    ]
    for axes, side, marked, name in zip(figure.subplots(1, 2), opened, marks, names, strict=True):
        title = f"{name}: {_number(len(marked), 'cell')}"
        _draw_field(axes, side, marked, title)
    _class_legend(figure, [mark for side in marks for mark in side], left.class_set)
    figure.suptitle(source.field_id, fontsize=10, color=INK, parse_math=False)
    return figure


def _draw_field(axes: Axes, opened: OpenField, marks: Sequence[CellMark], title: str) -> None:
    height, width = opened.labels.shape
    axes.imshow(
        draw_over_field(opened.channels, marks), extent=(0, width, height, 0), interpolation="antialiased"
    )
    # An id may have what a formula has, such as `$`.
    axes.set_title(title, fontsize=10, loc="left", color=INK, parse_math=False)
    axes.set_axis_off()
    if opened.pixel_size_um is not None:
        _draw_scale_bar(axes, height, width, opened.pixel_size_um)


def _draw_scale_bar(axes: Axes, height: int, width: int, pixel_size_um: float) -> None:
    """Below the picture, where no cell and no name is covered."""
    longest_um = _BAR_SHARE * width * pixel_size_um
    bar_um = max((each for each in _BARS_UM if each <= longest_um), default=longest_um)
    left, y = width - bar_um / pixel_size_um, height + 0.025 * width
    axes.plot([left, width], [y, y], color=INK, lw=3, solid_capstyle="butt", clip_on=False)
    axes.text(
        left - 0.012 * width, y, f"{bar_um:g} µm", color=INK, fontsize=9, ha="right", va="center_baseline"
    )
    # The line would else make the picture's axes longer.
    axes.set(xlim=(0, width), ylim=(height, 0))


def _class_legend(figure: Figure, marks: Sequence[CellMark], class_set: ClassSet) -> None:
    """Colour and name of the classes that cells are outlined by, in the order of the class set."""
    from matplotlib.patches import Patch

    used = {mark.color for mark in marks}
    named = [
        *(
            (color_on_dark(color), short_name(key))
            for key, color in zip(class_set.keys, class_set.colors, strict=True)
        ),
        (_WITHOUT_PARTNER, f"only here, none on the other side at IoU {CHALLENGE_IOU:g}"),
    ]
    handles = [
        Patch(facecolor=hex_color(color), edgecolor=INK, linewidth=0.4, label=name)
        for color, name in named
        if color in used
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=5, fontsize=8, frameon=False)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
