"""``hpa-cells report``: a run as one HTML page, or as figures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from hpa_cells.classes import ClassSet
from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.report_figures import (
    FigureKind,
    FigureSettings,
    figures_of_classes,
    figures_of_fields,
    write_figures,
)
from hpa_cells.commands.settings import to_settings
from hpa_cells.fields import FieldSource, LabelTable, merge_label_tables, read_label_table, scan_fields
from hpa_cells.places import Address, Place, place
from hpa_cells.prediction.failures import read_failures
from hpa_cells.report import Failure, ReportSettings, available_fields, write_report
from hpa_cells.table import CellTable, read_table
from hpa_cells.types import Channel

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write a page to `out`, ``report.html`` with ``overlays/`` and ``montages/``, or figures of another kind.

    Raises
    ------
    FieldsFailedError
        If fields could not be read; the page is written and lists them, and other figures are there.
    """
    kind, out = FigureKind.parse(cfg.kind), Path(cfg.out)
    page, figure = to_settings(ReportSettings, cfg.page), to_settings(FigureSettings, cfg.figure)
    table = read_table(place(cfg.table))
    sources, problems = scan_fields(cfg.fields, optional=frozenset(Channel), csv_addresses=cfg.csv_addresses)
    for problem in problems:
        log.warning("%s", problem.message)
    if kind is FigureKind.PAGE:
        _write_page(cfg, table, sources, out, page)
        return
    shown = list(available_fields(table, sources, skip_missing=page.skip_missing).values())
    if kind is FigureKind.MONTAGE:
        write_figures(figures_of_classes(table, shown, figure), out, figure)
        return
    figures = figures_of_fields(
        table,
        shown,
        figure,
        kind=kind,
        threshold=page.threshold,
        beside=None if cfg.beside is None else read_table(cfg.beside),
        names=(_name_of(place(cfg.table)), "" if cfg.beside is None else _name_of(place(cfg.beside))),
    )
    write_figures(figures, out, figure)


def _write_page(
    cfg: DictConfig, table: CellTable, sources: Sequence[FieldSource], out: Path, settings: ReportSettings
) -> None:
    folder = place(cfg.table)
    report = write_report(
        table,
        sources,
        out,
        truth=None if cfg.truth is None else _read_truth(Path(cfg.truth), table.class_set),
        failures=[Failure(each.field_id, each.stage, each.error) for each in read_failures(folder)],
        settings=replace(settings, title=settings.title or _name_of(folder)),
        track=_with_progress,
    )
    log.info("%s: %d cells of %d fields", report.page, len(table.cells), len(table.fields))
    if report.unreadable:
        raise FieldsFailedError(
            f"{len(report.unreadable)} of {len(table.fields)} fields could not be read and are not shown; "
            f"{report.page} lists them."
        )


def _read_truth(path: Path, class_set: ClassSet) -> CellTable | LabelTable:
    """A cell table, or the labels of fields in a CSV, mapped to the classes of the run."""
    return merge_label_tables([read_label_table(path)], class_set) if path.is_file() else read_table(path)


def _name_of(folder: Place) -> str:
    return folder.name if isinstance(folder, Address) else folder.resolve().name


def _with_progress(field_ids: Sequence[str]) -> Iterator[str]:
    with field_progress("Drawing", len(field_ids)) as progress:
        for field_id in field_ids:
            yield field_id
            progress.advance()
