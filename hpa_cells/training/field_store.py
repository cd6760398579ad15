"""All training fields as a network sees them whole, on disk, read by memory mapping; the other kind of `crop_store`.

    STORE/<hash of the settings>/settings.json       how the cells were found and the fields resized
    STORE/<hash of the settings>/<shard>.npy         uint8, the (4, h, w) pixels of its fields one after another
    STORE/<hash of the settings>/<shard>_masks.npy   uint16 (uint32 above 65,535 cells), their (h, w) label images
    STORE/<hash of the settings>/<shard>.parquet     one row a cell; written last

In a label image a cell is its position among the cells of its field, plus 1; 0 is background. The table has the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.cells import pad_fields
from hpa_cells.table import Column
from hpa_cells.training.crop_store import (
    CropStore,
    ShardPaths,
    map_array,
    read_tables,
    restore,
    rows_of_field,
    state_of,
)
from hpa_cells.types import NUM_CHANNELS, FieldView

__all__ = ["CellStore", "FieldStore", "open_field_store", "write_field_shard"]

_HEIGHT: Final = "view_height_px"
_WIDTH: Final = "view_width_px"


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldStore:
    """Views of F fields with N cells.

    Attributes
    ----------
    cells
        One row a cell: ``field_id``, ``cell_id``, ``touches_border``, ``area_um2``, the cells of a field one after
        another; a row's position is its number.
    images
        F memory-mapped (4, h, w) uint8.
    masks
        F memory-mapped (h, w) uint16 or uint32: a cell's position in its field, plus 1; 0 for none.
    first_rows
        (F,) int64, the row of each field's first cell.
    paths
        The files; none where the fields are in memory only.
    """

    cells: pd.DataFrame
    images: tuple[NDArray[np.uint8], ...]
    masks: tuple[NDArray[Any], ...]
    first_rows: NDArray[np.int64]
    paths: tuple[ShardPaths, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state, open_field_store)

    def read(
        self, rows: NDArray[np.int64], bag_index: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The fields that these cells are of, and where the cells are in them.

        Parameters
        ----------
        rows
            (n,) int64, no cell twice in a bag.
        bag_index
            (n,) int64, the bag of each. A field with cells in several bags is there several times.

        Returns
        -------
        images
            (B, 4, H, W) uint8; smaller fields have a black border, see `hpa_cells.cells.pad_fields`.
        masks
            (B, H, W) int32: a pixel's cell as its position in `rows`, plus 1; 0 for other cells and for none.
        """
        field_of_row = np.searchsorted(self.first_rows, rows, side="right") - 1
        pairs, image_of_row = np.unique(
            np.stack([bag_index, field_of_row], axis=1), axis=0, return_inverse=True
        )
        masks = []
        for image, field in enumerate(pairs[:, 1]):
            own = np.flatnonzero(image_of_row.reshape(-1) == image)
            numbers = np.zeros(self._num_cells(field) + 1, dtype=np.int32)
            numbers[rows[own] - self.first_rows[field] + 1] = own + 1
            masks.append(numbers[self.masks[field]])
        return pad_fields([self.images[field] for field in pairs[:, 1]], masks)

    def rows_of_field(self) -> dict[str, NDArray[np.int64]]:
        """List the rows of each field that has cells, ascending."""
        return rows_of_field(self.cells)

    def _num_cells(self, field: int) -> int:
        end = self.first_rows[field + 1] if field + 1 < len(self.first_rows) else len(self.cells)
        return int(end - self.first_rows[field])


CellStore = CropStore | FieldStore


def write_field_shard(paths: ShardPaths, views: Sequence[FieldView]) -> None:
    """Write the views of some fields; the file that says the shard is complete comes last."""
    views = [view for view in views if len(view.cell_ids)]
    sizes = [len(view.cell_ids) for view in views]
    kind = np.uint16 if max(sizes, default=0) <= np.iinfo(np.uint16).max else np.uint32
    images: NDArray[np.uint8] = _joined([view.image for view in views], np.uint8)
    masks = _joined([view.positions for view in views], kind)
    cells = pd.DataFrame(
        {
            Column.FIELD_ID: np.repeat([view.field_id for view in views], sizes),
            Column.CELL_ID: _joined([view.cell_ids for view in views], np.int32),
            Column.TOUCHES_BORDER: _joined([view.touches_border for view in views], np.bool_),
            Column.AREA_UM2: _joined([view.areas_um2 for view in views], np.float64),
            _HEIGHT: np.repeat([view.labels.shape[0] for view in views], sizes),
            _WIDTH: np.repeat([view.labels.shape[1] for view in views], sizes),
        }
    )
    for path, pixels in ((paths.images, images), (_masks_of(paths), masks)):
        with replaced_on_success(path) as temporary:
            np.save(temporary, pixels, allow_pickle=False)
    with replaced_on_success(paths.cells) as temporary:
        cells.to_parquet(temporary, index=False)


def open_field_store(shards: Sequence[ShardPaths]) -> FieldStore:
    """Map these shards, which are complete.

    Raises
    ------
    ValueError
        If none of them holds a cell, or one is damaged.
    """
    tables, filled = read_tables(shards)
    images: list[NDArray[np.uint8]] = []
    masks: list[NDArray[Any]] = []
    for table, paths in zip(tables, filled, strict=True):
        shapes = (
            table.groupby(Column.FIELD_ID, sort=False)[[_HEIGHT, _WIDTH]].first().to_numpy(dtype=np.int64)
        )
        num_px = int(shapes.prod(axis=1).sum())
        images += _split(map_array(paths.images, NUM_CHANNELS * num_px, "pixels"), shapes, NUM_CHANNELS)
        masks += [mask[0] for mask in _split(map_array(_masks_of(paths), num_px, "pixels"), shapes, 1)]
    cells = pd.concat(tables, ignore_index=True)
    starts_field = cells[Column.FIELD_ID].ne(cells[Column.FIELD_ID].shift())
    return FieldStore(
        cells=cells.drop(columns=[_HEIGHT, _WIDTH]),
        images=tuple(images),
        masks=tuple(masks),
        first_rows=np.flatnonzero(starts_field).astype(np.int64),
        paths=tuple(filled),
    )


def _split(pixels: NDArray[Any], shapes: NDArray[np.int64], num_channels: int) -> list[NDArray[Any]]:
    """The (C, h, w) arrays that lie one after another."""
    ends = np.cumsum(num_channels * shapes.prod(axis=1))
    parts = np.split(pixels, ends[:-1])
    return [part.reshape(num_channels, *shape) for part, shape in zip(parts, shapes, strict=True)]


def _joined(arrays: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    """All values one after another, also of no array."""
    return np.concatenate([np.zeros(0, dtype=kind), *(each.ravel().astype(kind) for each in arrays)])


def _masks_of(paths: ShardPaths) -> Path:
    return paths.images.with_name(f"{paths.images.stem}_masks.npy")
