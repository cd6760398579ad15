"""A file per format, each a view of the cell table: the submissions of both challenges, CSV, Parquet, other tools'."""

from hpa_cells.export.anndata_table import AnnDataFormat, read_anndata, to_anndata, write_anndata
from hpa_cells.export.coco import CocoFormat, write_coco
from hpa_cells.export.coco_reading import read_coco
from hpa_cells.export.crops_folder import CropsFormat, write_crops
from hpa_cells.export.csv_table import read_csv, write_csv
from hpa_cells.export.expected import ExpectedFields, FieldSize, expected_fields
from hpa_cells.export.formats import (
    CsvFormat,
    ExportFormat,
    Kaggle2018Format,
    Kaggle2021Format,
    ParquetFormat,
    SubmissionFormat,
)
from hpa_cells.export.geojson import GeoJsonFormat, write_geojson
from hpa_cells.export.geojson_reading import read_geojson
from hpa_cells.export.h5sc_file import H5scFormat, write_h5sc
from hpa_cells.export.kaggle2018 import read_kaggle2018, validate_kaggle2018, write_kaggle2018
from hpa_cells.export.kaggle2021 import validate_kaggle2021, write_kaggle2021
from hpa_cells.export.kaggle2021_reading import read_kaggle2021
from hpa_cells.export.ome_tiff_files import OmeTiffFormat, write_ome_tiff
from hpa_cells.export.ome_zarr_folder import OmeZarrFormat, write_ome_zarr
from hpa_cells.export.parquet_table import write_parquet
from hpa_cells.export.pixels import FieldWithCells, PixelFormat, open_fields
from hpa_cells.export.problem import Problem
from hpa_cells.export.spatialdata_folder import SpatialDataFormat, write_spatialdata

__all__ = [
    "AnnDataFormat",
    "CocoFormat",
    "CropsFormat",
    "CsvFormat",
    "ExpectedFields",
    "ExportFormat",
    "FieldSize",
    "FieldWithCells",
    "GeoJsonFormat",
    "H5scFormat",
    "Kaggle2018Format",
    "Kaggle2021Format",
    "OmeTiffFormat",
    "OmeZarrFormat",
    "ParquetFormat",
    "PixelFormat",
    "Problem",
    "SpatialDataFormat",
    "SubmissionFormat",
    "expected_fields",
    "open_fields",
    "read_anndata",
    "read_coco",
    "read_csv",
    "read_geojson",
    "read_kaggle2018",
    "read_kaggle2021",
    "to_anndata",
    "validate_kaggle2018",
    "validate_kaggle2021",
    "write_anndata",
    "write_coco",
    "write_crops",
    "write_csv",
    "write_geojson",
    "write_h5sc",
    "write_kaggle2018",
    "write_kaggle2021",
    "write_ome_tiff",
    "write_ome_zarr",
    "write_parquet",
    "write_spatialdata",
]
