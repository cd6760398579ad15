"""The crops of all training cells on disk, read by memory mapping.

    STORE/<hash of the settings>/settings.json     how the cells were found and cut
    STORE/<hash of the settings>/<shard>.npy       (N, 4, S, S) uint8
    STORE/<hash of the settings>/<shard>.parquet   one row a crop; written last

A shard is named after its fields and their files, so that a store is never stale: other settings make another
folder, a changed image another shard, and cutting that was stopped goes on with the missing shards.
"""

from __future__ import annotations

import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.table import Column
from hpa_cells.types import CellCrops

__all__ = [
    "CropStore",
    "ShardPaths",
    "map_array",
    "open_store",
    "read_tables",
    "restore",
    "rows_of_field",
    "state_of",
    "write_shard",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPaths:
    """The two files of a shard."""

    images: Path
    cells: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> ShardPaths:
        """Those of this name in `folder`."""
        return cls(images=folder / f"{name}.npy", cells=folder / f"{name}.parquet")

    @property
    def is_written(self) -> bool:
        """Whether the shard is complete."""
        return self.cells.exists()


@dataclass(frozen=True, kw_only=True, slots=True)
class CropStore:
    """Crops of N cells.

    Attributes
    ----------
    cells
        One row a crop: ``field_id``, ``cell_id``, ``touches_border``, ``area_um2``; its position is its row number.
    shards
        Memory-mapped (n, 4, S, S) uint8, one after another the N crops.
    starts
        (number of shards,) int64, the row of each shard's first crop.
    paths
        The files; none where the crops are in memory only.
    """

    cells: pd.DataFrame
    shards: tuple[NDArray[np.uint8], ...]
    starts: NDArray[np.int64]
    paths: tuple[ShardPaths, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state, open_store)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, 4, S, S) uint8: the crops of these rows, in their order."""
        crops = np.empty((len(rows), *self.shards[0].shape[1:]), dtype=np.uint8)
        shard_of_row = np.searchsorted(self.starts, rows, side="right") - 1
        for position, (shard, row) in enumerate(zip(shard_of_row, rows, strict=True)):
            crops[position] = self.shards[shard][row - self.starts[shard]]
        return crops

    def rows_of_field(self) -> dict[str, NDArray[np.int64]]:
        """List the rows of each field that has cells, ascending."""
        return rows_of_field(self.cells)


def state_of(store: Any) -> dict[str, Any]:
    """What another process needs to have the same store: where its files are, if it has some, and no pixels."""
    return {
        each.name: getattr(store, each.name)
        for each in fields(store)
        if each.name == "paths" or not store.paths
    }


def restore(store: Any, state: dict[str, Any], open_again: Callable[[Sequence[ShardPaths]], Any]) -> None:
    """Fill a store from what `state_of` made of another."""
    if state["paths"]:
        opened = open_again(state["paths"])
        state = {each.name: getattr(opened, each.name) for each in fields(opened)}
    for name, value in state.items():
        object.__setattr__(store, name, value)


def rows_of_field(cells: pd.DataFrame) -> dict[str, NDArray[np.int64]]:
    """List the positions of the rows of each ``field_id``, ascending."""
    groups = cells.groupby(Column.FIELD_ID, sort=True).indices
    return {str(field_id): np.sort(rows).astype(np.int64) for field_id, rows in groups.items()}


def write_shard(paths: ShardPaths, crops: Sequence[CellCrops]) -> None:
    """Write the crops of some fields; the file that says the shard is complete comes last."""
    images = np.concatenate([each.images for each in crops])
    cells = pd.DataFrame(
        {
            Column.FIELD_ID: np.repeat(
                [each.field_id for each in crops], [len(each.cell_ids) for each in crops]
            ),
            Column.CELL_ID: np.concatenate([each.cell_ids for each in crops]),
            Column.TOUCHES_BORDER: np.concatenate([each.touches_border for each in crops]),
            Column.AREA_UM2: np.concatenate([each.areas_um2 for each in crops]),
        }
    )
    with replaced_on_success(paths.images) as temporary:
        np.save(temporary, images, allow_pickle=False)
    with replaced_on_success(paths.cells) as temporary:
        cells.to_parquet(temporary, index=False)


def open_store(shards: Sequence[ShardPaths]) -> CropStore:
    """Map these shards, which are complete.

    Raises
    ------
    ValueError
        If none of them holds a cell, or one is damaged.
    """
    tables, filled = read_tables(shards)
    images = [
        map_array(paths.images, len(table), "crops") for table, paths in zip(tables, filled, strict=True)
    ]
    sizes = [len(each) for each in images]
    return CropStore(
        cells=pd.concat(tables, ignore_index=True),
        shards=tuple(images),
        starts=np.cumsum([0, *sizes[:-1]]),
        paths=tuple(filled),
    )


def read_tables(shards: Sequence[ShardPaths]) -> tuple[list[pd.DataFrame], list[ShardPaths]]:
    """Tables of the cells of those shards that have some, and these shards.

    Raises
    ------
    ValueError
        If none has.
    """
    tables = [pd.read_parquet(paths.cells) for paths in shards]
    filled = [position for position, table in enumerate(tables) if len(table)]
    if not filled:
        raise ValueError("No cell was found in any field: look at what `hpa-cells segment` makes of them.")
    return [tables[position] for position in filled], [shards[position] for position in filled]


def map_array(path: Path, length: int, content: str) -> NDArray[Any]:
    """Map an array into memory.

    Raises
    ------
    ValueError
        If the file is damaged or missing, or not so long as the table of its shard says.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, OverflowError, tokenize.TokenError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete its folder to cut it again.") from error
    if len(array) != length:
        raise ValueError(
            f"{path} holds {len(array)} {content}, the table beside it lists {length}: "
            "delete its folder to cut it again."
        )
    return array
