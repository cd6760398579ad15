"""A file per format, each a view of the cell table: the submissions of both challenges, and CSV."""

from hpa_cells.export.csv_table import read_csv, write_csv
from hpa_cells.export.expected import ExpectedFields, FieldSize, expected_fields
from hpa_cells.export.formats import (
    CsvFormat,
    ExportFormat,
    Kaggle2018Format,
    Kaggle2021Format,
    SubmissionFormat,
)
from hpa_cells.export.kaggle2018 import read_kaggle2018, validate_kaggle2018, write_kaggle2018
from hpa_cells.export.kaggle2021 import validate_kaggle2021, write_kaggle2021
from hpa_cells.export.kaggle2021_reading import read_kaggle2021
from hpa_cells.export.problem import Problem

__all__ = [
    "CsvFormat",
    "ExpectedFields",
    "ExportFormat",
    "FieldSize",
    "Kaggle2018Format",
    "Kaggle2021Format",
    "Problem",
    "SubmissionFormat",
    "expected_fields",
    "read_csv",
    "read_kaggle2018",
    "read_kaggle2021",
    "validate_kaggle2018",
    "validate_kaggle2021",
    "write_csv",
    "write_kaggle2018",
    "write_kaggle2021",
]
