"""One field at a time: read once, for its pictures, its overlay and its single cells."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.fields import FieldSource, read_field_as
from hpa_cells.report.marks import CellMark, cell_marks, label_image
from hpa_cells.report.pictures import channel_uris, flat_outline, thumbnail_uri
from hpa_cells.report.settings import ReportSettings
from hpa_cells.table import CellTable, Column

__all__ = ["FieldPicture", "OpenField", "field_picture", "open_field", "read_pixels"]

# How far a line on the page may be from the edge of its cell, in px of the picture.
_TOLERANCE_PX = 0.6
# What the page carries of a cell beside its outline: probabilities, box, areas.
_BYTES_A_CELL = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenField:
    """A field read for drawing.

    Attributes
    ----------
    channels
        (4, H, W) uint8, stretched.
    cells
        Its rows of ``table.cells``.
    labels
        (H, W) int32, its label image.
    marks
        What is drawn over it, one a cell.
    pixel_size_um
        Side of a pixel; None where the table does not know it.
    """

    channels: NDArray[np.uint8]
    cells: pd.DataFrame
    labels: NDArray[np.int32]
    marks: list[CellMark]
    pixel_size_um: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldPicture:
    """A field as the page carries it.

    Attributes
    ----------
    field_id
        Its id.
    thumbnail
        Data URI of a small picture in colours.
    channels
        Data URIs of grey pictures: microtubules, protein, nucleus, ER; empty where a channel is black all over.
    height, width
        Of these, in px.
    outlines
        For each cell, in the order of the table, the lines around its pieces; see `flat_outline`.
    """

    field_id: str
    thumbnail: str
    channels: list[str]
    height: int
    width: int
    outlines: list[list[list[int]]]


def open_field(table: CellTable, source: FieldSource, settings: ReportSettings) -> OpenField:
    """Read a field and paint its cells.

    Raises
    ------
    OSError, ValueError
        If a file cannot be read, or the table lacks the field or has it in another size.
    """
    channels, cells, labels = read_pixels(table, source)
    is_own = table.fields[Column.FIELD_ID] == source.field_id
    pixel_size_um = float(table.fields.loc[is_own, Column.PIXEL_SIZE_UM].iloc[0])
    return OpenField(
        channels=channels,
        cells=cells,
        labels=labels,
        marks=cell_marks(cells, labels, table.class_set, threshold=settings.threshold),
        pixel_size_um=pixel_size_um if math.isfinite(pixel_size_um) else None,
    )


def read_pixels(
    table: CellTable, source: FieldSource
) -> tuple[NDArray[np.uint8], pd.DataFrame, NDArray[np.int32]]:
    """Channels, rows and label image of `OpenField`; errors as `open_field`."""
    alone = table.of_field(source.field_id)
    row = alone.fields.iloc[0]
    shape = (int(row[Column.HEIGHT_PX]), int(row[Column.WIDTH_PX]))
    field = read_field_as(source, shape=shape, pixel_size_um=float(row[Column.PIXEL_SIZE_UM]))
    return normalise_field(field), alone.cells, label_image(alone.cells, *shape)


def field_picture(opened: OpenField, field_id: str, *, side_px: int | None, max_bytes: float) -> FieldPicture:
    """The field for the page, with its cells in about `max_bytes`, for which pictures are shrunk; see `channel_uris`.

    Pictures always get a quarter of that, however many cells there are.
    """
    height_px = opened.channels.shape[1]
    finest = _outlines(opened, height_px if side_px is None else min(side_px, height_px))
    cells_bytes = len(json.dumps(finest, separators=(",", ":"))) + _BYTES_A_CELL * len(finest)
    left_bytes = max(max_bytes / 4, max_bytes - cells_bytes)
    channels, (height, width) = channel_uris(opened.channels, side_px=side_px, max_bytes=left_bytes)
    return FieldPicture(
        field_id=field_id,
        thumbnail=thumbnail_uri(opened.channels),
        channels=channels,
        height=height,
        width=width,
        outlines=_outlines(opened, height),
    )


def _outlines(opened: OpenField, picture_height: int) -> list[list[list[int]]]:
    """`FieldPicture.outlines` over a picture of this height."""
    tolerance_px = _TOLERANCE_PX * opened.channels.shape[1] / picture_height
    return [[flat_outline(line, tolerance_px) for line in mark.outlines_px] for mark in opened.marks]
