"""Finding, reading and checking fields; label tables; folds."""

from hpa_cells.fields.cell_lines import cell_lines_of, read_cell_lines
from hpa_cells.fields.find import FieldProblem, find_fields, scan_fields
from hpa_cells.fields.folds import assign_folds
from hpa_cells.fields.ids import check_field_id
from hpa_cells.fields.label_layouts import LabelFile, as_label_file
from hpa_cells.fields.labels import LabelTable, read_label_table, write_label_table
from hpa_cells.fields.matching import match_labels, merge_label_tables
from hpa_cells.fields.of_table import read_field_as, sources_of_table
from hpa_cells.fields.read import read_colors, read_field
from hpa_cells.fields.source import FieldSource, ImageFile
from hpa_cells.fields.write import write_field

__all__ = [
    "FieldProblem",
    "FieldSource",
    "ImageFile",
    "LabelFile",
    "LabelTable",
    "as_label_file",
    "assign_folds",
    "cell_lines_of",
    "check_field_id",
    "find_fields",
    "match_labels",
    "merge_label_tables",
    "read_cell_lines",
    "read_colors",
    "read_field",
    "read_field_as",
    "read_label_table",
    "scan_fields",
    "sources_of_table",
    "write_field",
    "write_label_table",
]
