"""A run as a folder that a person looks at: one HTML page, overlays of fields and montages of cells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.fields import FieldSource
from hpa_cells.metrics import challenge_average_precision
from hpa_cells.report.drawing import FieldPainter
from hpa_cells.report.figures import CellTile, FieldFigure, cell_words, data_uri
from hpa_cells.report.montage import montage
from hpa_cells.report.page import Failure, Page, render_page
from hpa_cells.report.selection import available_fields, confident_cells, drawn_fields, true_classes
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.summary import summarise_classes, summarise_run
from hpa_cells.table import CellTable, Column

__all__ = ["WrittenReport", "write_report"]

log = logging.getLogger(__name__)

_MONTAGE_COLUMNS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenReport:
    """What `write_report` made: the page, and the fields that it could not read."""

    page: Path
    unreadable: list[Failure]


def write_report(
    table: CellTable,
    sources: Sequence[FieldSource],
    out: Path,
    *,
    truth: CellTable | None = None,
    failures: Sequence[Failure] = (),
    title: str = "Run",
    settings: ReportSettings | None = None,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> WrittenReport:
    """Write ``report.html``, ``overlays/<field_id>.png`` of the fields it shows and ``montages/<class>.png``.

    Parameters
    ----------
    table
        The run.
    sources
        Its fields; others are left aside.
    out
        The folder.
    truth
        True cells of the same fields: adds average precision, and right and wrong to the single cells.
    failures
        Fields that failed in the run.
    title
        Name of the run.
    settings
        Extent and look; None: the defaults of `ReportSettings`.
    track
        Gives back the ids it gets; a place for a progress bar.

    Raises
    ------
    ValueError
        If fields of the table are not among `sources`, or the truth is of other fields or classes.
    """
    settings = settings or ReportSettings()
    available = available_fields(table, sources, skip_missing=settings.skip_missing)
    shown = drawn_fields(list(available), settings)
    rows_of_class = confident_cells(table, list(available), settings)
    scores = None if truth is None else challenge_average_precision(table, truth, missing_fields="no_cells")
    true_of_row = None if truth is None else true_classes(table, truth)

    painter = FieldPainter(table=table, truth=truth, true_of_row=true_of_row, settings=settings)
    rows_of_field = _by_field(table, {row for rows in rows_of_class for row in rows})
    figures: list[FieldFigure] = []
    tiles: dict[int, NDArray[np.uint8]] = {}
    unreadable: list[Failure] = []
    for field_id in track([each for each in available if each in {*shown, *rows_of_field}]):
        try:
            painted = painter.read(available[field_id])
        except (OSError, ValueError) as error:
            log.error("%s", error)
            unreadable.append(Failure(field_id, "report", str(error)))
            continue
        if field_id in shown:
            _write_png(out / "overlays" / f"{field_id}.png", painter.overlay(painted))
            figures.append(painter.figure(painted))
        tiles |= {row: painter.tile(painted, row) for row in rows_of_field.get(field_id, ())}
    ...
