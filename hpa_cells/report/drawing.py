"""One field at a time: read once, then drawn as a figure of the page and as single cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.fields import FieldSource, read_field
from hpa_cells.report.colors import short_name
from hpa_cells.report.composite import mix_channels
from hpa_cells.report.figures import FieldFigure, cell_shapes, cell_words, data_uri
from hpa_cells.report.marks import CellMark, cell_marks, label_image
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.truth import KnownTruth
from hpa_cells.table import CellTable, Column
from hpa_cells.types import Channel

__all__ = ["OpenField", "field_figure", "open_field"]

# Height of the words, in px of a picture of 800; smaller where many cells share the field.
_FONT_SHARE, _CROWDED_CELLS = 14 / 800, 22


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenField:
    """A field read for drawing.

    Attributes
    ----------
    row
        Its row of ``table.fields``.
    channels
        (4, H, W) uint8, stretched.
    cells
        Its rows of ``table.cells``, with their index.
    labels
        (H, W) int32, its label image.
    marks
        What is drawn over it, one a cell.
    """

    row: pd.Series
    channels: NDArray[np.uint8]
    cells: pd.DataFrame
    labels: NDArray[np.int32]
    marks: list[CellMark]


def open_field(table: CellTable, source: FieldSource, settings: ReportSettings) -> OpenField:
    """Read a field and paint its cells.

    Raises
    ------
    OSError, ValueError
        If a file cannot be read, or the field has another size than in the table.
    """
    row = table.fields.loc[table.fields[Column.FIELD_ID] == source.field_id].iloc[0]
    field = read_field(source, pixel_size_um=float(row[Column.PIXEL_SIZE_UM]))
    expected = (int(row[Column.HEIGHT_PX]), int(row[Column.WIDTH_PX]))
    if (field.height_px, field.width_px) != expected:
        raise ValueError(
            f"Field {field.field_id} has {field.height_px} x {field.width_px} px (height x width), in the "
            f"table {expected[0]} x {expected[1]}: give the fields the table was made from."
        )
    cells = table.cells[table.cells[Column.FIELD_ID] == field.field_id]
    labels = label_image(cells, *expected)
    return OpenField(
        row=row,
        channels=normalise_field(field),
        cells=cells,
        labels=labels,
        marks=cell_marks(cells, labels, table.class_set, threshold=settings.threshold),
    )


def field_figure(
    opened: OpenField, table: CellTable, truth: KnownTruth | None, settings: ReportSettings
) -> FieldFigure:
    """The field as a figure of the page: two small views, and its cells as shapes over them."""
    field_id = str(opened.row[Column.FIELD_ID])
    scale = settings.field_px / max(opened.labels.shape)
    # Area averages when shrinking, which keeps small spots; an enlarged field stays smooth.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = np.stack(
        [cv2.resize(each, None, fx=scale, fy=scale, interpolation=method) for each in opened.channels]
    )
    height, width = small.shape[1:]
    crowding = min(1.0, (_CROWDED_CELLS / max(1, len(opened.marks))) ** 0.5)
    font_size = round(settings.field_px * _FONT_SHARE * crowding, 1)
    true_classes = None if truth is None else truth.classes_of_field.get(field_id)
    told = {
        int(opened.cells[Column.CELL_ID].iloc[position]): cell_words(
            opened.cells.iloc[position], table.class_set, truth.words(row, table.class_set) if truth else ""
        )
        for position, row in enumerate(opened.cells.index.tolist())
    }
    probabilities = opened.row[Column.probabilities(table.class_set)].to_numpy(dtype=np.float32)
    names = [short_name(key) for key in table.class_set.keys]
    return FieldFigure(
        field_id=field_id,
        width=width,
        height=height,
        composite=data_uri(mix_channels(small)),
        protein=data_uri(small[Channel.PROTEIN]),
        shapes=cell_shapes(opened.marks, told, scale=scale, size=(width, height), font_size=font_size),
        font_size=font_size,
        predicted=[names[index] for index in np.flatnonzero(probabilities >= settings.threshold)],
        true=None if true_classes is None else [names[index] for index in true_classes],
    )
