"""The fields of a table with their pixels and their label images, one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.fields import FieldSource, read_field_as, sources_of_table
from hpa_cells.masks import paint_labels
from hpa_cells.table import CellTable, Column
from hpa_cells.types import Field, Segmentation

__all__ = ["LABEL_KINDS", "FieldWithCells", "PixelFormat", "open_fields"]

log = logging.getLogger(__name__)

# The label images of a field, as `Segmentation` and the files call them.
LABEL_KINDS: Final = ("cells", "nuclei")
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldWithCells:
    """A field of a table, opened.

    Attributes
    ----------
    field
        Its pixels, with the pixel size of the table.
    segmentation
        Its label images, painted from the masks of the table: the ids in them are those of `cells`.
    cells
        Its rows of ``table.cells``, by ascending id.
    """

    field: Field
    segmentation: Segmentation
    cells: pd.DataFrame


@runtime_checkable
class PixelFormat(Protocol):
    """A format that shows pixels, and so needs the fields beside the table."""

    file_name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def write_with_fields(self, table: CellTable, fields: Iterable[FieldWithCells], path: Path) -> None:
        """Write the file or folder; it appears whole or not at all.

        Parameters
        ----------
        table
            The cell table.
        fields
            Each of its fields, in its order; from `open_fields`. None is held beyond the next.
        path
            Where to.
        """


def open_fields(
    table: CellTable,
    sources: Sequence[FieldSource],
    *,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Iterator[FieldWithCells]:
    """Yield each field of a table with its pixels and label images, in the order of the table.

    Parameters
    ----------
    table
        The cell table.
    sources
        Its fields; others are left aside.
    track
        Gives back the ids it gets; a place for a progress bar.

    Yields
    ------
    FieldWithCells

    Raises
    ------
    ValueError
        If fields of the table are not among `sources` (at once), or one cannot be read, has another size than in the
        table, or has masks that a label image cannot hold (when it is its turn).
    """
    by_id = sources_of_table(table, sources)
    return _opened(table, by_id, track(list(by_id)))


def _opened(
    table: CellTable, sources: Mapping[str, FieldSource], field_ids: Iterable[str]
) -> Iterator[FieldWithCells]:
    columns = [Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX, Column.PIXEL_SIZE_UM]
    known = {row[0]: row[1:] for row in table.fields[columns].itertuples(index=False, name=None)}
    positions = table.cells.groupby(Column.FIELD_ID).indices
    for field_id in field_ids:
        height_px, width_px, pixel_size_um = known[field_id]
        cells = table.cells.iloc[positions.get(field_id, [])]
        shape = (int(height_px), int(width_px))
        field = read_field_as(sources[field_id], shape=shape, pixel_size_um=float(pixel_size_um))
        yield FieldWithCells(field=field, segmentation=_segmentation(field, cells), cells=cells)


def _segmentation(field: Field, cells: pd.DataFrame) -> Segmentation:
    """The label images that the masks of the table make.

    Raises
    ------
    ValueError
        If a cell has no pixel in them: its mask is missing or empty, or others lie over it.
    """
    painted = Segmentation(
        field_id=field.field_id,
        cells=_paint(field, cells, Column.CELL_RLE),
        nuclei=_paint(field, cells, Column.NUCLEUS_RLE),
        pixel_size_um=field.pixel_size_um,
    )
    ids = cells[Column.CELL_ID].to_numpy(np.int32)
    lost = np.setdiff1d(ids, painted.cell_ids)
    if lost.size:
        raise ValueError(
            f"Field {field.field_id}: {lost.size} of {len(ids)} cells have no pixel in its label image "
            f"({', '.join(map(str, lost[:_NUM_SHOWN]))}), since their masks are empty or others lie over them: a "
            "label image holds one cell a pixel, so export a table whose masks do not overlap."
        )
    covered_px = int(cells[Column.AREA_PX].sum() - np.count_nonzero(painted.cells))
    if covered_px:
        log.warning(
            "Field %s: masks overlap in %d px, which go to the later cell", field.field_id, covered_px
        )
    return painted


def _paint(field: Field, cells: pd.DataFrame, column: str) -> NDArray[np.int32]:
    """(H, W) int32; a cell without a mask is left out."""
    known = cells[cells[column].notna()]
    counts = [mask.encode() for mask in known[column]]
    try:
        return paint_labels(known[Column.CELL_ID].tolist(), counts, field.height_px, field.width_px)
    except ValueError as error:
        raise ValueError(f"Field {field.field_id}: {error}") from error
