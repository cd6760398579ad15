"""Which fields and cells a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields import FieldSource, sources_of_table
from hpa_cells.report.settings import ReportSettings
from hpa_cells.table import CellTable, Column

__all__ = ["Disagreement", "Selection", "available_fields", "select"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """A cell whose probability of a class is far from that of its field; `row` is of ``table.cells``."""

    row: int
    class_index: int
    of_cell: float
    of_field: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is shown of a run.

    Attributes
    ----------
    sources
        The fields of the table that can be shown, by id, in its order.
    shown
        Ids of those that are shown as a whole.
    overlaid
        Ids of those of them that are drawn as files, too.
    most, least
        For each class, the rows of ``table.cells`` that are shown as single cells: of highest probability first, and of
        the lowest from the threshold up first. No cell is in both lists of a class.
    disagreements
        Cells far from their fields, the farthest first; each cell once.
    """

    sources: dict[str, FieldSource]
    shown: list[str]
    overlaid: list[str]
    most: list[list[int]]
    least: list[list[int]]
    disagreements: list[Disagreement]

    @property
    def rows(self) -> list[int]:
        """Every row of ``table.cells`` that is shown as a single cell, once, by rising number."""
        of_classes = {row for rows in (*self.most, *self.least) for row in rows}
        return sorted(of_classes | {each.row for each in self.disagreements})


def select(table: CellTable, sources: Sequence[FieldSource], settings: ReportSettings) -> Selection:
    """Choose fields at random and cells by their probability; the same ones for the same seed.

    Raises
    ------
    ValueError
        If fields of the table are not among `sources`, unless `settings.skip_missing` allows it and at least
        one is.
    """
    available = available_fields(table, sources, skip_missing=settings.skip_missing)
    in_fields = table.cells[Column.FIELD_ID].isin(list(available)).to_numpy()
    shown = _drawn_fields(list(available), settings)
    most = [_confident_cells(values, in_fields, settings) for values in table.probabilities().T]
    return Selection(
        sources=available,
        shown=shown,
        overlaid=shown[: settings.max_overlays],
        most=most,
        least=[
            _doubtful_cells(values, in_fields, rows, settings)
            for values, rows in zip(table.probabilities().T, most, strict=True)
        ],
        disagreements=_disagreements(table, in_fields, settings.num_disagreeing),
    )


def available_fields(
    table: CellTable, sources: Sequence[FieldSource], *, skip_missing: bool
) -> dict[str, FieldSource]:
    """See `sources_of_table`; the error names the setting that lets fields be missing."""
    way_out = ", or page.skip_missing=true to show the others"
    return sources_of_table(table, sources, skip_missing=skip_missing, way_out=way_out)


def _drawn_fields(field_ids: Sequence[str], settings: ReportSettings) -> list[str]:
    if len(field_ids) <= settings.max_fields:
        return list(field_ids)
    rng = np.random.default_rng(settings.seed)
    positions = rng.choice(len(field_ids), settings.max_fields, replace=False)
    return [field_ids[position] for position in sorted(positions)]


def _confident_cells(
    values: NDArray[np.floating[Any]], in_fields: NDArray[np.bool_], settings: ReportSettings
) -> list[int]:
    # Also below the threshold: what a model takes for its best cell of a rare class is worth a look.
    rows = np.flatnonzero(in_fields & np.isfinite(values))
    return _first(rows, np.argsort(-values[rows], kind="stable"), settings.cells_per_class)


def _doubtful_cells(
    values: NDArray[np.floating[Any]],
    in_fields: NDArray[np.bool_],
    confident: Sequence[int],
    settings: ReportSettings,
) -> list[int]:
    is_left = in_fields & (values >= settings.threshold)
    is_left[list(confident)] = False
    rows = np.flatnonzero(is_left)
    return _first(rows, np.argsort(values[rows], kind="stable"), settings.cells_per_class)


def _disagreements(table: CellTable, in_fields: NDArray[np.bool_], num: int) -> list[Disagreement]:
    positions = {field_id: row for row, field_id in enumerate(table.fields[Column.FIELD_ID])}
    rows = np.flatnonzero(in_fields)
    fields = [positions[field_id] for field_id in table.cells[Column.FIELD_ID].to_numpy()[rows]]
    of_cells, of_fields = table.probabilities()[rows], table.field_probabilities()[fields]
    # A class that either does not know is no disagreement.
    gaps = np.nan_to_num(np.abs(of_cells - of_fields), nan=-1.0)
    if not gaps.size:
        return []
    classes = gaps.argmax(axis=1)
    largest = gaps.max(axis=1)
    order = np.argsort(-largest, kind="stable")[:num]
    return [
        Disagreement(
            row=int(rows[at]),
            class_index=int(classes[at]),
            of_cell=float(of_cells[at, classes[at]]),
            of_field=float(of_fields[at, classes[at]]),
        )
        for at in order
        if largest[at] > 0
    ]


def _first(rows: NDArray[np.int64], order: NDArray[np.int64], num: int) -> list[int]:
    return [int(row) for row in rows[order[:num]]]
