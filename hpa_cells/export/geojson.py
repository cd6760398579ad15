"""The cells as GeoJSON, as QuPath reads it: a file a field, a feature a cell."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar, TextIO

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.export.geojson_features import Classification, features_of
from hpa_cells.export.json_values import compact_json
from hpa_cells.fields.ids import check_field_id
from hpa_cells.table import CellTable, Column

__all__ = ["GeoJsonFormat", "write_geojson"]

SUFFIXES = (".geojson", ".json", ".geojson.gz", ".json.gz")
# RFC 7946 leaves room for members of others; QuPath and GDAL pass over them.
OWN_MEMBER = "hpa_cells"


@dataclass(frozen=True, kw_only=True, slots=True)
class GeoJsonFormat:
    """GeoJSON for QuPath; the settings are those of `write_geojson`."""

    # The folder itself: there is a file for each field.
    file_name: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    threshold: float = 0.0
    all_classes: bool = False
    tolerance_px: float = 0.0
    compress: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"format.threshold is {self.threshold}: give a number from 0 to 1.")
        if self.all_classes and self.threshold == 0:
            raise ValueError(
                "format.all_classes with format.threshold=0 gives every cell every class: "
                "give a threshold above 0, e.g. 0.5."
            )
        if not 0 <= self.tolerance_px <= 100:
            raise ValueError(
                f"format.tolerance_px is {self.tolerance_px}: give a number from 0 to 100, in px."
            )

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_geojson`."""
        write_geojson(
            table,
            path,
            threshold=self.threshold,
            all_classes=self.all_classes,
            tolerance_px=self.tolerance_px,
            compress=self.compress,
        )


def write_geojson(
    table: CellTable,
    path: Path,
    *,
    threshold: float = 0.0,
    all_classes: bool = False,
    tolerance_px: float = 0.0,
    compress: bool = False,
) -> None:
    """Write a feature collection a field, also for a field without cells.

    A feature is a cell: its outline along the edges of its pixels, that of its nucleus if it has one, its most probable
    class in the colour that it has everywhere, and as measurements its id (``cell_id``), its areas and all its
    probabilities, by the names of the columns. Its own id follows from those of field and cell.

    Parameters
    ----------
    table
        The cell table.
    path
        A folder, for a file ``<field_id>.geojson`` each; or a file (``.geojson``, ``.json``, also ``.gz``) for a table
        of one field. A file appears whole or not at all.
    threshold
        Least probability of a class to be given to a cell.
    all_classes
        Whether a cell gets all classes that reach the threshold, and not only the most probable one.
    tolerance_px
        How far outlines may move to have fewer corners, in px; 0: they are exact.
    compress
        Whether to write ``.geojson.gz``, which QuPath does not read.

    Raises
    ------
    ValueError
        If a file is given for several fields, or an id cannot be a file name.
    """
    classification = Classification(threshold=threshold, all_classes=all_classes)
    rows_of_field = table.cells.groupby(Column.FIELD_ID, sort=False).indices
    columns = (Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX, Column.PIXEL_SIZE_UM)
    paths = _paths(table, path, compress)
    for own, file_path in zip(table.fields[[*columns]].itertuples(index=False), paths, strict=True):
        field_id, height_px, width_px, pixel_size_um = own
        about = {
            Column.FIELD_ID: field_id,
            Column.HEIGHT_PX: height_px,
            Column.WIDTH_PX: width_px,
            Column.PIXEL_SIZE_UM: None if math.isnan(pixel_size_um) else pixel_size_um,
            "class_set": table.class_set.name,
            "version": __version__,
        }
        cells = table.cells.iloc[rows_of_field.get(field_id, [])]
        size = (height_px, width_px)
        features = features_of(cells, size, table.class_set, classification, tolerance_px)
        with _text_file(file_path) as file:
            _write_collection(file, about, features)


def _paths(table: CellTable, path: Path, compress: bool) -> list[Path]:
    """The file of each field."""
    field_ids = table.fields[Column.FIELD_ID].tolist()
    if path.name.lower().endswith(SUFFIXES) and not path.is_dir():
        if len(field_ids) != 1:
            raise ValueError(
                f"The table has {len(field_ids)} fields, a GeoJSON file such as {path} holds one: "
                "give a folder as `out`."
            )
        zipped = compress and not path.name.lower().endswith(".gz")
        return [path.with_name(f"{path.name}.gz") if zipped else path]
    return [path / f"{check_field_id(each)}.geojson{'.gz' if compress else ''}" for each in field_ids]


@contextmanager
def _text_file(path: Path) -> Iterator[TextIO]:
    with replaced_on_success(path) as temporary:
        if path.name.lower().endswith(".gz"):
            # Without a time in it: the same cells make the same file.
            with (
                temporary.open("wb") as raw,
                gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
                TextIOWrapper(packed, encoding="ascii", newline="\n") as file,
            ):
                yield file
        else:
            with temporary.open("w", encoding="ascii", newline="\n") as file:
                yield file


def _write_collection(file: TextIO, about: dict[str, Any], features: Iterator[str]) -> None:
    """Write a feature a line."""
    file.write(f'{{"type":"FeatureCollection","{OWN_MEMBER}":{compact_json(about)},"features":[')
    for number, feature in enumerate(features):
        file.write(",\n" if number else "\n")
        file.write(feature)
    file.write("\n]}\n")
