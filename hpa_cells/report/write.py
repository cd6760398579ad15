"""A run as a folder that a person looks at: one HTML page, overlays of fields and montages of cells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpa_cells.atomic import replaced_on_success
from hpa_cells.fields import FieldSource, LabelTable
from hpa_cells.report.contents import Pictures, page_of
from hpa_cells.report.drawing import field_picture, open_field
from hpa_cells.report.files import remove_earlier, write_picture
from hpa_cells.report.montage import cell_tile, montage
from hpa_cells.report.overlay import draw_over_field
from hpa_cells.report.page import Failure, render_page
from hpa_cells.report.selection import Selection, select
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.truth import compare_with_truth
from hpa_cells.table import CellTable, Column

__all__ = ["WrittenReport", "write_report"]

log = logging.getLogger(__name__)

_MONTAGE_COLUMNS = 6
_BYTES_PER_MB = 1e6


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
    truth: CellTable | LabelTable | None = None,
    failures: Sequence[Failure] = (),
    settings: ReportSettings | None = None,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> WrittenReport:
    """Write ``report.html``, ``overlays/<field_id>.png`` of some fields and ``montages/<class>.png``.

    Overlays and montages that an earlier report left there, and this one does not have, are removed.

    Parameters
    ----------
    table
        The run.
    sources
        Its fields; others are left aside.
    out
        The folder.
    truth
        True cells of the same fields, which adds scores, and right and wrong to the single cells; or only the labels of
        fields, which adds scores of fields.
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
    pictures = _draw(table, selection, out, settings=settings, track=track)
    montages = set(_write_montages(out / "montages", table, selection, pictures))
    path = out / "report.html"
    with replaced_on_success(path) as temporary:
        page = page_of(table, selection, pictures, known, settings=settings, failures=failures)
        temporary.write_text(render_page(page), encoding="utf-8")
    unreadable = {each.field_id for each in pictures.unreadable}
    overlays = {_overlay(out, field_id) for field_id in selection.overlaid if field_id not in unreadable}
    remove_earlier(out / "overlays", overlays)
    remove_earlier(out / "montages", montages)
    return WrittenReport(page=path, unreadable=pictures.unreadable)


def _overlay(out: Path, field_id: str) -> Path:
    return out / "overlays" / f"{field_id}.png"


def _draw(
    table: CellTable,
    selection: Selection,
    out: Path,
    *,
    settings: ReportSettings,
    track: Callable[[Sequence[str]], Iterable[str]],
) -> Pictures:
    """Read each field that is needed once, and draw all that is shown of it."""
    pictures = Pictures()
    field_ids = table.cells[Column.FIELD_ID].to_numpy()
    rows_of_field: dict[str, list[int]] = {}
    for row in selection.rows:
        rows_of_field.setdefault(field_ids[row], []).append(row)
    needed = {*selection.shown, *rows_of_field}
    max_bytes = (settings.fields_mb or float("inf")) * _BYTES_PER_MB / max(1, len(selection.shown))
    for field_id in track([each for each in selection.sources if each in needed]):
        try:
            opened = open_field(table, selection.sources[field_id], settings)
        except (OSError, ValueError) as error:
            log.error("%s", error)
            pictures.unreadable.append(Failure(field_id, "report", str(error)))
            continue
        if field_id in selection.shown:
            pictures.fields.append(
                field_picture(opened, field_id, side_px=settings.field_px, max_bytes=max_bytes)
            )
        if field_id in selection.overlaid:
            write_picture(_overlay(out, field_id), draw_over_field(opened.channels, opened.marks))
        for row in rows_of_field.get(field_id, ()):
            tile = cell_tile(opened.channels, opened.labels, table.cells.iloc[row], side_px=settings.tile_px)
            pictures.tiles[row] = tile
    return pictures


def _write_montages(
    folder: Path, table: CellTable, selection: Selection, pictures: Pictures
) -> Iterator[Path]:
    for key, rows in zip(table.class_set.keys, selection.most, strict=True):
        tiles = [pictures.tiles[row] for row in rows if row in pictures.tiles]
        if tiles:
            path = folder / f"{key}.png"
            write_picture(path, montage(tiles, num_columns=min(len(tiles), _MONTAGE_COLUMNS)))
            yield path
