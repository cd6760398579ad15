"""Overlays, montages and the HTML page of a run."""

from hpa_cells.report.composite import composite
from hpa_cells.report.montage import cell_tile, montage
from hpa_cells.report.overlay import overlay
from hpa_cells.report.page import Failure
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.write import WrittenReport, write_report

__all__ = [
    "Failure",
    "ReportSettings",
    "WrittenReport",
    "cell_tile",
    "composite",
    "montage",
    "overlay",
    "write_report",
]
