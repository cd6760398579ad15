"""Which fields a submission must have, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from hpa_cells.export.problem import Problem
from hpa_cells.export.rows import Row, read_rows
from hpa_cells.fields import find_fields
from hpa_cells.limits import check_side
from hpa_cells.table import CellTable, Column
from hpa_cells.types import Channel

__all__ = ["HEADER_2018", "HEADER_2021", "ExpectedFields", "FieldSize", "expected_fields", "parsed_size"]

HEADER_2021 = ("ID", "ImageWidth", "ImageHeight", "PredictionString")
HEADER_2018 = ("Id", "Predicted")
_LARGEST_SIDE_PX = 999_999


@dataclass(frozen=True, slots=True)
class FieldSize:
    """Width and height of a field, in px, in the order of the file."""

    width_px: int
    height_px: int

    def __str__(self) -> str:
        return f"{self.width_px} x {self.height_px}"


# The size is None where the source does not tell it: the sample submission of 2018.
ExpectedFields: TypeAlias = dict[str, FieldSize | None]


def expected_fields(source: CellTable | Path | str) -> ExpectedFields:
    """Ids and sizes of the fields that a submission must have.

    Parameters
    ----------
    source
        The competition's ``sample_submission.csv`` of 2021 or 2018, a folder of fields, or a cell table.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If the file is no sample submission, or the folder holds no fields.
    """
    if isinstance(source, CellTable):
        columns = (Column.FIELD_ID, Column.WIDTH_PX, Column.HEIGHT_PX)
        rows = zip(*(source.fields[column].tolist() for column in columns), strict=True)
        return {field_id: FieldSize(width, height) for field_id, width, height in rows}
    path = Path(source)
    return _fields_in_folder(path) if path.is_dir() else _fields_in_sample(path)


def parsed_size(row: Row) -> FieldSize | None:
    """The size in a row of 2021; None where it is not two whole numbers from 1 to 999,999."""
    width, height = (
        int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0 for text in row.values[1:3]
    )
    return FieldSize(width, height) if width and height else None


def _fields_in_sample(path: Path) -> ExpectedFields:
    with path.open("rb") as file:
        is_2018 = file.readline().strip() == ",".join(HEADER_2018).encode()
    problems: list[Problem] = []
    expected: ExpectedFields = {}
    for row in read_rows(path, HEADER_2018 if is_2018 else HEADER_2021, problems):
        expected[row.values[0]] = None if is_2018 else parsed_size(row)
    if problems:
        raise ValueError(f"{path} is no sample submission: {problems[0]}")
    return expected


def _fields_in_folder(folder: Path) -> ExpectedFields:
    expected: ExpectedFields = {}
    # A channel may be missing where a model allows it, and the size is that of the others.
    for source in find_fields(folder, optional=frozenset(Channel)):
        first_file = next(iter(source.files.values()))
        # Pillow reads the header only: a folder of 20,000 fields is checked without decoding a pixel.
        try:
            # Of the many formats that Pillow knows, some run other programs on the file.
            with Image.open(BytesIO(first_file.read_bytes()), formats=("PNG", "JPEG", "TIFF")) as image:
                width_px, height_px = image.size
                check_side(height_px, width_px)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"Field {source.field_id}: {first_file} cannot be used: {error}.") from error
        expected[source.field_id] = FieldSize(width_px, height_px)
    return expected
