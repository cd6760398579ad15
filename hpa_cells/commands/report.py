"""``hpa-cells report``: a run as one HTML page, overlays of its fields and montages of its cells."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.settings import to_settings
from hpa_cells.fields import scan_fields
from hpa_cells.report import Failure, ReportSettings, write_report
from hpa_cells.table import read_table
from hpa_cells.types import Channel

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write the report; ends with an error after the page is written if fields could not be read."""
    settings = to_settings(ReportSettings, cfg.page)
    table_folder, out = Path(cfg.table), Path(cfg.out)
    table = read_table(table_folder)
    truth = None if cfg.truth is None else read_table(cfg.truth)
    sources, problems = scan_fields(cfg.fields, optional=frozenset(Channel))
    for problem in problems:
        log.warning("%s", problem.message)
    report = write_report(
        table,
        sources,
        out,
        truth=truth,
        failures=_failures_of_run(table_folder),
        title=cfg.title or table_folder.resolve().name,
        settings=settings,
        track=lambda field_ids: track(field_ids, "Drawing", console=Console(stderr=True), transient=True),
    )
    log.info("%s: %d cells of %d fields", report.page, len(table.cells), len(table.fields))
    if report.unreadable:
        raise FieldsFailedError(
            f"{len(report.unreadable)} fields could not be read and are not shown; {report.page} lists them."
        )


def _failures_of_run(folder: Path) -> list[Failure]:
    """The fields in the ``failures.csv`` that predict leaves beside the cell table."""
    path = folder / "failures.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Failure(row["field_id"], row["stage"], row["error"]) for row in csv.DictReader(file)]
