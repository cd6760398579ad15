"""From label images to single cells: crops for a model, measurements and rows for the cell table."""

from hpa_cells.cells.crops import CropSettings, crop_cells
from hpa_cells.cells.field_scales import cut_square
from hpa_cells.cells.field_view import FieldViewSettings, pad_fields, view_field
from hpa_cells.cells.morphology import CellMorphology, measure_cells
from hpa_cells.cells.normalisation import NORMALISATION_QUANTILES, channel_range, normalise_field
from hpa_cells.cells.rows import MaskRows, cell_rows, field_row, mask_rows
from hpa_cells.cells.squares import SquareSettings, cut_squares

__all__ = [
    "NORMALISATION_QUANTILES",
    "CellMorphology",
    "CropSettings",
    "FieldViewSettings",
    "MaskRows",
    "SquareSettings",
    "cell_rows",
    "channel_range",
    "crop_cells",
    "cut_square",
    "cut_squares",
    "field_row",
    "mask_rows",
    "measure_cells",
    "normalise_field",
    "pad_fields",
    "view_field",
]
