"""The cell table: one row a cell, the file that every view of a run is made from.

A run's folder holds shards of two tables: ``cells-*.parquet`` has one row a cell, ``fields-*.parquet`` one row a
finished field, also a field without cells. A simulated truth has the same form, with probabilities of 0 and 1.
"""

from hpa_cells.provenance import Provenance
from hpa_cells.table.columns import CELL_COLUMNS, DESCRIPTIONS, FIELD_COLUMNS, Column, arrow_types, describe
from hpa_cells.table.manifest import check_whole
from hpa_cells.table.reading import CellTable, read_table
from hpa_cells.table.shards import cells_beside, count_fields, field_shards
from hpa_cells.table.writing import TableWriter

__all__ = [
    "CELL_COLUMNS",
    "DESCRIPTIONS",
    "FIELD_COLUMNS",
    "CellTable",
    "Column",
    "Provenance",
    "TableWriter",
    "arrow_types",
    "cells_beside",
    "check_whole",
    "count_fields",
    "describe",
    "field_shards",
    "read_table",
]
