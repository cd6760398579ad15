"""The cells of a cell table as a segmentation: to score true masks, or to train on the cells of an earlier run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.masks import paint_labels
from hpa_cells.places import place
from hpa_cells.provenance import read_provenance
from hpa_cells.table import Column, field_shards, read_table
from hpa_cells.types import Channel, Field, Segmentation

__all__ = ["TableMasks"]


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

    def prepare(self) -> None:
        """Read the masks of the table.

        Raises
        ------
        ValueError, OSError
            If there is no cell table, or it is damaged.
        """
        _read_masks(self.folder)

    def fingerprint(self) -> str:
        """SHA-256 of the provenance of the table.

        Raises
        ------
        ValueError, OSError
            If there is no cell table, or it is damaged.
        """
        shards = field_shards(place(self.folder))
        provenance = read_provenance(shards[0]) if shards else read_table(self.folder).provenance
        return hashlib.sha256(json.dumps(asdict(provenance)).encode()).hexdigest()

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
    table = read_table(folder)
    rows = table.cells.groupby(Column.FIELD_ID).indices
    columns = [Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX]
    return {
        field_id: ((int(height_px), int(width_px)), table.cells.iloc[rows.get(field_id, [])])
        for field_id, height_px, width_px in table.fields[columns].itertuples(index=False)
    }
