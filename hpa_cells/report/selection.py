"""Which fields and cells a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpa_cells.fields import FieldSource
from hpa_cells.report.settings import ReportSettings
from hpa_cells.table import CellTable, Column

__all__ = ["Selection", "select"]

_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is shown of a run.

    Attributes
    ----------
    sources
        The fields of the table that can be shown, by id, in its order.
    shown
        Ids of those that are shown as a whole.
    rows_of_class
        For each class, the rows of ``table.cells`` that are shown as single cells, by falling probability.
    """

    sources: dict[str, FieldSource]
    shown: list[str]
    rows_of_class: list[list[int]]


def select(table: CellTable, sources: Sequence[FieldSource], settings: ReportSettings) -> Selection:
    """Choose fields at random and cells by their probability; the same ones for the same seed.

    Raises
    ------
    ValueError
        If fields of the table are not among `sources`, unless `settings.skip_missing` allows it and at least
        one is.
    """
    available = _available_fields(table, sources, skip_missing=settings.skip_missing)
    return Selection(
        sources=available,
        shown=_drawn_fields(list(available), settings),
        rows_of_class=_confident_cells(table, list(available), settings),
    )


def _available_fields(
    table: CellTable, sources: Sequence[FieldSource], *, skip_missing: bool
) -> dict[str, FieldSource]:
    by_id = {source.field_id: source for source in sources}
    field_ids = table.fields[Column.FIELD_ID].tolist()
    missing = [field_id for field_id in field_ids if field_id not in by_id]
    if missing and (not skip_missing or len(missing) == len(field_ids)):
        shown = ", ".join(missing[:_NUM_SHOWN]) + (", ..." if len(missing) > _NUM_SHOWN else "")
        raise ValueError(
            f"{len(missing)} of the table's {len(field_ids)} fields are not among the {len(by_id)} fields "
            f"given ({shown}): give the fields the table was made from, or page.skip_missing=true to show "
            "the others."
        )
    return {field_id: by_id[field_id] for field_id in field_ids if field_id in by_id}


def _drawn_fields(field_ids: Sequence[str], settings: ReportSettings) -> list[str]:
    if len(field_ids) <= settings.max_fields:
        return list(field_ids)
    rng = np.random.default_rng(settings.seed)
    positions = rng.choice(len(field_ids), settings.max_fields, replace=False)
    return [field_ids[position] for position in sorted(positions)]


def _confident_cells(table: CellTable, field_ids: Sequence[str], settings: ReportSettings) -> list[list[int]]:
    in_fields = table.cells[Column.FIELD_ID].isin(field_ids).to_numpy()
    probabilities = table.probabilities()
    rows_of_class = []
    for values in probabilities.T:
        # Also below the threshold: what a model takes for its best cell of a rare class is worth a look.
        rows = np.flatnonzero(in_fields & np.isfinite(values))
        order = np.argsort(-values[rows], kind="stable")[: settings.cells_per_class]
        rows_of_class.append(rows[order].tolist())
    return rows_of_class
