"""The numbers of a report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpa_cells.report.colors import short_name
from hpa_cells.report.evidence import Evidence
from hpa_cells.report.leaderboard import LEADERBOARD_2021
from hpa_cells.table import CellTable, Column

__all__ = ["ClassSummary", "RunSummary", "summarise_classes", "summarise_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """A run in a few numbers.

    Attributes
    ----------
    num_fields, num_cells
        Finished fields, and cells in them.
    median_cells
        Median number of cells a field; NaN without fields.
    border_share
        Share of the cells that are cut by the edge of their field; NaN without cells.
    mean_ap
        Mean average precision over the classes that have truths; NaN where none is known.
    num_scored
        How many classes that are.
    num_classes
        Of the class set.
    """

    num_fields: int
    num_cells: int
    median_cells: float
    border_share: float
    mean_ap: float
    num_scored: int
    num_classes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSummary:
    """A class in a few numbers.

    Attributes
    ----------
    name
        Short name of the location.
    color
        ``#rrggbb``.
    num_cells
        Cells with a probability from the threshold up.
    num_truths
        True cells, or where only fields are labelled, fields; None where no truth is known.
    ap
        Average precision in [0, 1]; NaN where there are no truths.
    leaderboard
        What the ten best of 2021 reached, for orientation; NaN for what is no cell of those classes.
    """

    name: str
    color: str
    num_cells: int
    num_truths: int | None
    ap: float
    leaderboard: float


def summarise_run(table: CellTable, evidence: Evidence | None) -> RunSummary:
    """The numbers of the run; `evidence` is None where no truth is known."""
    num_fields, num_cells = len(table.fields), len(table.cells)
    known = np.empty(0) if evidence is None else evidence.ap[~np.isnan(evidence.ap)]
    return RunSummary(
        num_fields=num_fields,
        num_cells=num_cells,
        median_cells=float(table.fields[Column.NUM_CELLS].median()) if num_fields else float("nan"),
        border_share=float(table.cells[Column.TOUCHES_BORDER].mean()) if num_cells else float("nan"),
        mean_ap=float(np.mean(known)) if len(known) else float("nan"),
        num_scored=len(known),
        num_classes=len(table.class_set),
    )


def summarise_classes(table: CellTable, evidence: Evidence | None, *, threshold: float) -> list[ClassSummary]:
    """The numbers of each class, in the order of the class set."""
    num_cells = (table.probabilities() >= threshold).sum(axis=0)
    is_challenge = evidence is not None and evidence.of == "cells" and table.class_set.name == "hpa2021"
    return [
        ClassSummary(
            name=short_name(location.key),
            color=location.color,
            num_cells=int(num_cells[index]),
            num_truths=None if evidence is None else int(evidence.num_truths[index]),
            ap=float("nan") if evidence is None else float(evidence.ap[index]),
            leaderboard=LEADERBOARD_2021[location.key] if is_challenge else float("nan"),
        )
        for index, location in enumerate(table.class_set.locations)
    ]
