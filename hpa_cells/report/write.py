"""A run as a folder that a person looks at: one HTML page, overlays of fields and montages of cells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.fields import FieldSource, LabelTable
from hpa_cells.report.drawing import field_figure, open_field
from hpa_cells.report.figures import CellTile, FieldFigure, cell_words, data_uri
from hpa_cells.report.montage import cell_tile, montage
from hpa_cells.report.overlay import draw_over_field
from hpa_cells.report.page import Failure, Page, render_page
from hpa_cells.report.selection import Selection, select
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.summary import summarise_classes, summarise_run
from hpa_cells.report.truth import KnownTruth, compare_with_truth
from hpa_cells.table import CellTable, Column

__all__ = ["WrittenReport", "write_report"]

log = logging.getLogger(__name__)

_MONTAGE_COLUMNS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenReport:
    """What `write_report` made: the page, and the fields that it could not read."""

    page: Path
    unreadable: list[Failure]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pictures:
    """What was drawn: figures of fields, and single cells by their row of ``table.cells``."""

    figures: list[FieldFigure] = field(default_factory=list)
    tiles: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    unreadable: list[Failure] = field(default_factory=list)


def write_report(
    table: CellTable,
    sources: Sequence[FieldSource],
    out: Path,
    *,
    truth: CellTable | LabelTable | None = None,
    failures: Sequence[Failure] = (),
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
        True cells of the same fields, which adds average precision, and right and wrong to the single cells;
        or only the labels of fields.
    failures
        Fields that failed in the run.
    settings
        Extent and look; None: the defaults of `ReportSettings`.
    track
        Gives back the ids it gets; a place for a progress bar.

    Returns
    -------
    WrittenReport
        A field that cannot be read is left out and listed there, and among the failures of the page.

    Raises
    ------
    ValueError
        If fields of the table are not among `sources`, or the truth is of other fields or classes.
    """
    settings = settings or ReportSettings()
    selection = select(table, sources, settings)
    known = None if truth is None else compare_with_truth(table, truth)
    pictures = _draw(table, selection, out, known=known, settings=settings, track=track)
    _write_montages(out / "montages", table, selection, pictures)
    scores = None if known is None else known.scores
    page = Page(
        title=settings.title or "Run",
        run=summarise_run(table, scores),
        classes=summarise_classes(table, scores, threshold=settings.threshold),
        threshold=settings.threshold,
        figures=pictures.figures,
        tiles=_tiles(table, selection, pictures, known),
        failures=[*failures, *pictures.unreadable],
        provenance=table.provenance,
        notes=_notes(table, selection, known),
    )
    path = out / "report.html"
    with replaced_on_success(path) as temporary:
        temporary.write_text(render_page(page), encoding="utf-8")
    return WrittenReport(page=path, unreadable=pictures.unreadable)


def _draw(
    table: CellTable,
    selection: Selection,
    out: Path,
    *,
    known: KnownTruth | None,
    settings: ReportSettings,
    track: Callable[[Sequence[str]], Iterable[str]],
) -> _Pictures:
    """Read each field that is needed once, and draw all that is shown of it."""
    pictures = _Pictures()
    chosen = sorted({row for rows in selection.rows_of_class for row in rows})
    rows_of_field = table.cells.iloc[chosen].groupby(Column.FIELD_ID).groups
    needed = {*selection.shown, *rows_of_field}
    for field_id in track([each for each in selection.sources if each in needed]):
        try:
            opened = open_field(table, selection.sources[field_id], settings)
        except (OSError, ValueError) as error:
            log.error("%s", error)
            pictures.unreadable.append(Failure(field_id, "report", str(error)))
            continue
        if field_id in selection.shown:
            _write_png(out / "overlays" / f"{field_id}.png", draw_over_field(opened.channels, opened.marks))
            pictures.figures.append(field_figure(opened, table, known, settings))
        for row in rows_of_field.get(field_id, ()):
            tile = cell_tile(opened.channels, opened.labels, table.cells.iloc[row], side_px=settings.tile_px)
            pictures.tiles[int(row)] = tile
    return pictures


def _write_montages(folder: Path, table: CellTable, selection: Selection, pictures: _Pictures) -> None:
    for key, rows in zip(table.class_set.keys, selection.rows_of_class, strict=True):
        tiles = [pictures.tiles[row] for row in rows if row in pictures.tiles]
        if tiles:
            _write_png(folder / f"{key}.png", montage(tiles, num_columns=min(len(tiles), _MONTAGE_COLUMNS)))


def _tiles(
    table: CellTable, selection: Selection, pictures: _Pictures, known: KnownTruth | None
) -> list[list[CellTile]]:
    """For each class its single cells, with what is told of them."""
    uris = {row: data_uri(tile) for row, tile in pictures.tiles.items()}
    probabilities = table.probabilities()
    return [
        [
            CellTile(
                picture=uris[row],
                probability=float(probabilities[row, index]),
                told=cell_words(
                    table.cells.iloc[row], table.class_set, known.words(row, table.class_set) if known else ""
                ),
                is_right=known.is_right(row, index) if known else None,
            )
            for row in rows
            if row in uris
        ]
        for index, rows in enumerate(selection.rows_of_class)
    ]


def _notes(table: CellTable, selection: Selection, known: KnownTruth | None) -> list[str]:
    notes = []
    num_missing = len(table.fields) - len(selection.sources)
    if num_missing:
        notes.append(
            f"{num_missing} of {len(table.fields)} fields count in the numbers, but their pictures "
            "were not given."
        )
    if known is not None and known.num_unpredicted:
        notes.append(
            f"True fields that are not in the run: {known.num_unpredicted}. Their cells count as missed."
        )
    return notes


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    with replaced_on_success(path) as temporary:
        if not cv2.imwrite(str(temporary), image[..., ::-1]):
            raise OSError(f"{path} cannot be written: check the place and the space left there.")
