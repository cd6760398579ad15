"""Labels of single cells, read from a cell table: a truth, or what an earlier model said (a second round).

Shapes: N cells, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.masks import paint_labels
from hpa_cells.table import CellTable, Column, read_table
from hpa_cells.types import Channel, Field, Segmentation

__all__ = ["TableMasks", "match_cell_labels"]

_NUM_SHOWN = 5


def match_cell_labels(cells: pd.DataFrame, table: CellTable, class_set: ClassSet) -> NDArray[np.float32]:
    """Look up the labels of these cells.

    Parameters
    ----------
    cells
        N rows with ``field_id`` and ``cell_id``.
    table
        The labels: probabilities, which may be anything from 0 to 1.
    class_set
        The K classes wanted.

    Returns
    -------
    (N, K) float32 in [0, 1].

    Raises
    ------
    ValueError
        If the table has other classes or lacks one of the cells.
    """
    if table.class_set.name != class_set.name:
        raise ValueError(
            f"The cell labels are of class set {table.class_set.name}, the data of {class_set.name}: "
            "they must be of one."
        )
    names = [Column.FIELD_ID, Column.CELL_ID]
    rows = pd.MultiIndex.from_frame(table.cells[names]).get_indexer(pd.MultiIndex.from_frame(cells[names]))
    lost = np.flatnonzero(rows < 0)
    if lost.size:
        some = ", ".join("/".join(map(str, pair)) for pair in cells[names].to_numpy()[lost[:_NUM_SHOWN]])
        raise ValueError(
            f"{lost.size} of {len(cells)} cells have no label (field/cell {some}): their ids must be "
            "those of the table. Cut the cells by its own masks with segmenter=cell_table, or by the label "
            "images that it was made from with segmenter=precomputed."
        )
    return table.probabilities()[rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableMasks:
    """A segmenter that takes the cells, with their ids, from a cell table.

    Attributes
    ----------
    folder
        The table's folder.
    """

    folder: str

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """All: the images are not looked at."""
        return frozenset(Channel)

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Paint the cells and nuclei of each field as the table has them.

        Raises
        ------
        ValueError
            If the table lacks a field, or has it in another size.
        """
        return [self._segment(field) for field in fields]

    def _segment(self, field: Field) -> Segmentation:
        masks = _read_masks(self.folder)
        if field.field_id not in masks:
            raise ValueError(
                f"Field {field.field_id} is not in cell table {self.folder}: predict it, or drop it."
            )
        size_px, cells = masks[field.field_id]
        if size_px != field.image.shape[1:]:
            raise ValueError(
                f"Field {field.field_id} has shape {field.image.shape[1:]}, in cell table {self.folder} "
                f"{size_px}: give the images that the table was made from."
            )
        return Segmentation(
            field_id=field.field_id,
            cells=_paint(cells[Column.CELL_ID], cells[Column.CELL_RLE], size_px),
            nuclei=_paint(cells[Column.CELL_ID], cells[Column.NUCLEUS_RLE], size_px),
            pixel_size_um=field.pixel_size_um,
        )


def _paint(ids: pd.Series[int], masks: pd.Series[str], size_px: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W) int32; a cell without a mask (no nucleus) is left out."""
    known = masks.notna()
    counts = [mask.encode() for mask in masks[known]]
    return paint_labels(ids[known].tolist(), counts, *size_px)


# Once a process, not once a field.
@lru_cache(maxsize=2)
def _read_masks(folder: str) -> dict[str, tuple[tuple[int, int], pd.DataFrame]]:
    """Height and width, in px, and the rows of the cells of every field of a table."""
    table = read_table(Path(folder))
    rows = table.cells.groupby(Column.FIELD_ID).indices
    columns = [Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX]
    return {
        field_id: ((int(height_px), int(width_px)), table.cells.iloc[rows.get(field_id, [])])
        for field_id, height_px, width_px in table.fields[columns].itertuples(index=False)
    }
