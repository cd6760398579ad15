"""What the fields of a run are like, as bars: how many cells they have, and how many and which locations.

Shapes: F fields, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpa_cells.report.colors import short_name
from hpa_cells.table import CellTable, Column

__all__ = ["Bar", "BarChart", "field_charts"]

_MOST_BARS = 16
# A name, how many, and the colour.
_Count: TypeAlias = tuple[str, int, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A bar: what is counted, how many, its length as a share of the longest, its colour (None: that of the page)."""

    name: str
    count: int
    length: float
    color: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BarChart:
    """Bars below each other, with a title and what they are of; `column` heads their names."""

    title: str
    told: str
    column: str
    bars: list[Bar]


def field_charts(table: CellTable, *, threshold: float) -> list[BarChart]:
    """The charts of a run; none without fields, and none of locations where no field has probabilities.

    Parameters
    ----------
    table
        The run.
    threshold
        Least probability of a location that counts.
    """
    if table.fields.empty:
        return []
    charts = [_cells_chart(table.fields[Column.NUM_CELLS].to_numpy(dtype=np.int64))]
    probabilities = table.field_probabilities()
    is_known = ~np.isnan(probabilities).any(axis=1)
    if not is_known.any():
        return charts
    called = probabilities[is_known] >= threshold
    per_field = np.bincount(called.sum(axis=1))
    of_known = f"{is_known.sum():,} fields that have a probability of their own, of {threshold:g} or more"
    numbers: list[_Count] = [(str(number), int(count), None) for number, count in enumerate(per_field)]
    order = np.argsort(-called.sum(axis=0), kind="stable")
    places: list[_Count] = [
        (short_name(table.class_set.keys[index]), int(called[:, index].sum()), table.class_set.colors[index])
        for index in order
        if called[:, index].any()
    ]
    return [
        *charts,
        _chart("Locations a field", f"Locations called in each of the {of_known}.", "Locations", numbers),
        *([_chart("Fields of a location", f"Of the {of_known}.", "Location", places)] if places else []),
    ]


def _cells_chart(num_cells: NDArray[np.int64]) -> BarChart:
    """Bars of equal width, in whole numbers, so that none is longer for holding more numbers than its neighbours."""
    most = int(num_cells.max())
    width = -(-(most + 1) // _MOST_BARS)
    counts = np.bincount(num_cells // width)
    bars: list[_Count] = [
        (str(first) if width == 1 else f"{first}–{first + width - 1}", int(count), None)
        for first, count in zip(range(0, width * len(counts), width), counts, strict=True)
    ]
    low, median, high = np.quantile(num_cells, [0.25, 0.5, 0.75])
    told = (
        f"Cells in each of {len(num_cells):,} fields: median {median:g}, quartiles {low:g} and {high:g}, from "
        f"{num_cells.min():,} to {most:,}."
    )
    return _chart("Cells a field", told, "Cells", bars)


def _chart(title: str, told: str, column: str, counts: list[_Count]) -> BarChart:
    longest = max(count for _, count, _ in counts)
    return BarChart(
        title=title,
        told=told,
        column=column,
        bars=[
            Bar(name=name, count=count, length=count / max(longest, 1), color=color)
            for name, count, color in counts
        ],
    )
