"""Overlays, montages, figures and the HTML page of a run."""

from hpa_cells.report.cell_plots import plot_class_montage, plot_gallery, tile_grid
from hpa_cells.report.cell_tiles import CellTiles
from hpa_cells.report.composite import composite
from hpa_cells.report.drawing import read_pixels
from hpa_cells.report.field_plots import plot_overlay, plot_side_by_side
from hpa_cells.report.field_tile import field_tile
from hpa_cells.report.montage import cell_tile, montage
from hpa_cells.report.overlay import overlay
from hpa_cells.report.page import Failure
from hpa_cells.report.selection import available_fields
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.write import WrittenReport, write_report

__all__ = [
    "CellTiles",
    "Failure",
    "ReportSettings",
    "WrittenReport",
    "available_fields",
    "cell_tile",
    "composite",
    "field_tile",
    "montage",
    "overlay",
    "plot_class_montage",
    "plot_gallery",
    "plot_overlay",
    "plot_side_by_side",
    "read_pixels",
    "tile_grid",
    "write_report",
]
