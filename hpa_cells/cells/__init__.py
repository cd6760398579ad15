"""From label images to single cells: crops for a model, measurements and rows for the cell table."""

from hpa_cells.cells.crops import CropSettings, crop_cells
from hpa_cells.cells.morphology import CellMorphology, measure_cells
from hpa_cells.cells.normalisation import normalise_field
from hpa_cells.cells.rows import cell_rows, field_row

__all__ = [
    "CellMorphology",
    "CropSettings",
    "cell_rows",
    "crop_cells",
    "field_row",
    "measure_cells",
    "normalise_field",
]
