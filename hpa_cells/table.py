"""The cell table: one row a cell, the file that every view of a run is made from.

A run's folder holds shards of two tables. ``cells-*.parquet`` has one row a cell, ``fields-*.parquet`` one
row a finished field, also a field without cells. The shard of fields is written last: a field is finished
when it is there. A simulated truth has the same form, with probabilities of 0 and 1.
"""

from __future__ import annotations

import logging
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success, sole_writer
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.parquet import arrow_file, read_parquet
from hpa_cells.places import Address, Place, place
from hpa_cells.provenance import Provenance, read_provenance

__all__ = [
    "CELL_COLUMNS",
    "FIELD_COLUMNS",
    "CellTable",
    "Column",
    "Provenance",
    "TableWriter",
    "count_fields",
    "field_shards",
    "read_table",
]

log = logging.getLogger(__name__)


class Column:
    """The names of the columns; nowhere else are they spelt."""

    FIELD_ID: Final = "field_id"
    CELL_ID: Final = "cell_id"
    HEIGHT_PX: Final = "height_px"
    WIDTH_PX: Final = "width_px"
    PIXEL_SIZE_UM: Final = "pixel_size_um"
    BBOX_X_PX: Final = "bbox_x_px"
    BBOX_Y_PX: Final = "bbox_y_px"
    BBOX_WIDTH_PX: Final = "bbox_width_px"
    BBOX_HEIGHT_PX: Final = "bbox_height_px"
    CENTROID_X_PX: Final = "centroid_x_px"
    CENTROID_Y_PX: Final = "centroid_y_px"
    AREA_PX: Final = "area_px"
    AREA_UM2: Final = "area_um2"
    NUCLEUS_AREA_PX: Final = "nucleus_area_px"
    NUCLEUS_AREA_UM2: Final = "nucleus_area_um2"
    TOUCHES_BORDER: Final = "touches_border"
    CELL_RLE: Final = "cell_rle"
    NUCLEUS_RLE: Final = "nucleus_rle"
    EMBEDDING: Final = "embedding"
    NUM_CELLS: Final = "num_cells"

    @staticmethod
    def probabilities(class_set: ClassSet) -> list[str]:
        """The probability columns, one a class in the order of the class set, e.g. ``p_nucleoli``."""
        return [f"p_{key}" for key in class_set.keys]


# Column -> type, in the order of the file; the probability columns follow, then the embedding.
CELL_COLUMNS: Final[dict[str, pa.DataType]] = {
    Column.FIELD_ID: pa.string(),
    Column.CELL_ID: pa.int32(),
    Column.HEIGHT_PX: pa.int32(),
    Column.WIDTH_PX: pa.int32(),
    Column.PIXEL_SIZE_UM: pa.float64(),
    Column.BBOX_X_PX: pa.int32(),
    Column.BBOX_Y_PX: pa.int32(),
    Column.BBOX_WIDTH_PX: pa.int32(),
    Column.BBOX_HEIGHT_PX: pa.int32(),
    Column.CENTROID_X_PX: pa.float32(),
    Column.CENTROID_Y_PX: pa.float32(),
    Column.AREA_PX: pa.int64(),
    Column.AREA_UM2: pa.float64(),
    Column.NUCLEUS_AREA_PX: pa.int64(),
    Column.NUCLEUS_AREA_UM2: pa.float64(),
    Column.TOUCHES_BORDER: pa.bool_(),
    Column.CELL_RLE: pa.string(),
    Column.NUCLEUS_RLE: pa.string(),
}
FIELD_COLUMNS: Final[dict[str, pa.DataType]] = {
    Column.FIELD_ID: pa.string(),
    Column.HEIGHT_PX: pa.int32(),
    Column.WIDTH_PX: pa.int32(),
    Column.PIXEL_SIZE_UM: pa.float64(),
    Column.NUM_CELLS: pa.int32(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CellTable:
    """A run read back.

    Attributes
    ----------
    cells
        One row a cell, sorted by field and cell id: the columns of `CELL_COLUMNS`, one probability column a
        class and the embedding (a list of float32; absent where the model gives none).
    fields
        One row a finished field, sorted by field id: the columns of `FIELD_COLUMNS` and one probability
        column a class for the field as a whole (NaN where there is none).
    class_set
        The classes.
    provenance
        Where it comes from.
    """

    cells: pd.DataFrame
    fields: pd.DataFrame
    class_set: ClassSet
    provenance: Provenance

    def probabilities(self) -> NDArray[np.float32]:
        """(N, K) float32, one row a cell."""
        return self.cells[Column.probabilities(self.class_set)].to_numpy(dtype=np.float32)

    def field_probabilities(self) -> NDArray[np.float32]:
        """(F, K) float32, one row a field."""
        return self.fields[Column.probabilities(self.class_set)].to_numpy(dtype=np.float32)


class TableWriter:
    """Writes a run shard by shard, so that a stop at any moment loses at most the shard under way.

    Inside its ``with`` block no other writer may enter one for the same folder (`BlockingIOError`).

    Parameters
    ----------
    folder
        The run's folder.
    provenance
        Written into every shard; a folder with shards of another provenance is refused.
    shard_fields
        Number of fields a shard.

    Raises
    ------
    ValueError
        If the folder holds shards made with other settings, or a shard would hold no field.
    """

    def __init__(self, folder: Place, *, provenance: Provenance, shard_fields: int = 64) -> None:
        if shard_fields < 1:
            raise ValueError(f"shard_fields is {shard_fields}: give at least 1.")
        self._folder = folder
        self._provenance = provenance
        self._class_set = get_class_set(provenance.class_set)
        self._shard_fields = shard_fields
        self._added: list[tuple[pd.DataFrame, dict[str, Any]]] = []
        self._background = ThreadPoolExecutor(1, thread_name_prefix="hpa-cells write")
        self._behind: list[tuple[pd.DataFrame, dict[str, Any]]] = []
        self._under_way: Future[None] | None = None
        self._hold = sole_writer(folder)
        if not isinstance(folder, Address):
            folder.mkdir(parents=True, exist_ok=True)
        shards = field_shards(folder)
        self._next_shard = 1 + max((_shard_number(path) for path in shards), default=-1)
        self.finished: frozenset[str] = frozenset()
        if shards:
            self._refuse_other_settings(read_provenance(shards[0]))
            ids = [
                pq.read_table(arrow_file(path), columns=[Column.FIELD_ID])[Column.FIELD_ID].to_pylist()
                for path in shards
            ]
            self.finished = frozenset(field_id for shard in ids for field_id in shard)

    def add(self, *, cells: pd.DataFrame, field_row: dict[str, Any]) -> None:
        """Add a finished field: its cells (may be none) and its row of `FIELD_COLUMNS` and probabilities.

        A full shard is written behind the caller's back; that it could not be is said at the next one, or at the end.
        """
        self._added.append((cells, field_row))
        if len(self._added) >= self._shard_fields:
            self._write_behind()

    def flush(self) -> None:
        """Write what was added since the last shard, and wait until all is written."""
        self._write_behind()
        self._wait()

    def _write_behind(self) -> None:
        """Begin to write a shard; two at most are in memory."""
        self._wait()
        if self._added:
            # In one step: a Ctrl-C may come between any two, and no field may be written twice.
            self._behind, self._added = self._added, []
            self._under_way = self._background.submit(self._write_shard, self._behind, self._next_shard)

    def _wait(self) -> None:
        """Wait for the shard that is being written; its rows stay, to be tried again, where it could not be."""
        if self._under_way is None:
            return
        under_way, self._under_way = self._under_way, None
        try:
            under_way.result()
        except BaseException:
            self._added = [*self._behind, *self._added]
            raise
        self._next_shard += 1

    def _write_shard(self, added: list[tuple[pd.DataFrame, dict[str, Any]]], number: int) -> None:
        filled = [cells for cells, _ in added if len(cells)]
        field_rows = [field_row for _, field_row in added]
        cells = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
        name = f"{number:06d}.parquet"
        self._write(self._folder / f"cells-{name}", cells, CELL_COLUMNS)
        self._write(self._folder / f"fields-{name}", pd.DataFrame(field_rows), FIELD_COLUMNS)

    def __enter__(self) -> TableWriter:
        self._hold.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._background.shutdown()
            self._hold.__exit__(None, None, None)

    def _write(self, path: Place, rows: pd.DataFrame, columns: dict[str, pa.DataType]) -> None:
        schema = pa.schema(columns | dict.fromkeys(Column.probabilities(self._class_set), pa.float32()))
        if Column.EMBEDDING in rows:
            schema = schema.append(pa.field(Column.EMBEDDING, pa.list_(pa.float32())))
        rows = rows.reindex(columns=schema.names)
        table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
        table = table.replace_schema_metadata(self._provenance.as_metadata())
        with replaced_on_success(path) as temporary:
            # An absolute path: Arrow takes a relative one with a colon for an address.
            pq.write_table(table, temporary.absolute(), compression="zstd")

    def _refuse_other_settings(self, found: Provenance) -> None:
        differences = found.differences(self._provenance)
        if differences:
            raise ValueError(
                f"{self._folder} holds a run with other settings ({'; '.join(differences)}): "
                "choose another `out`, or repeat the command with the settings of that run to resume it."
            )


def read_table(folder: Place | str) -> CellTable:
    """Read a run, or a simulated truth, from its folder.

    Cells of a shard whose fields were never written (a stop between the two) are left out.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished field.
    ValueError
        If its shards come from different settings, or one is not a shard of a cell table.
    """
    folder = place(folder)
    paths = field_shards(folder)
    if not paths:
        raise FileNotFoundError(
            f"{folder} holds no cell table (fields-*.parquet): give the folder that `hpa-cells predict` "
            "wrote to."
        )
    provenance = read_provenance(paths[0])
    for path in paths[1:]:
        differences = provenance.differences(read_provenance(path))
        if differences:
            raise ValueError(
                f"{path} differs from {paths[0].name}: {'; '.join(differences)}. Keep one run a folder."
            )
    fields = pd.concat([read_parquet(path) for path in paths], ignore_index=True)
    cells = pd.concat(
        [read_parquet(_cells_beside(path)) for path in paths],
        ignore_index=True,
    )
    return CellTable(
        cells=cells.sort_values([Column.FIELD_ID, Column.CELL_ID], ignore_index=True),
        fields=fields.sort_values(Column.FIELD_ID, ignore_index=True),
        class_set=get_class_set(provenance.class_set),
        provenance=provenance,
    )


def field_shards(folder: Place) -> list[Place]:
    """The files with the rows of finished fields, in the order in which they were written."""
    # By name, which is what tells them apart.
    return sorted(folder.glob("fields-*.parquet"), key=lambda path: path.name)


def count_fields(folder: Place) -> int:
    """Number of finished fields of a table."""
    return sum(pq.read_metadata(arrow_file(path)).num_rows for path in field_shards(folder))


def _cells_beside(path: Place) -> Place:
    return path.with_name(path.name.replace("fields-", "cells-", 1))


def _shard_number(path: Place) -> int:
    match = re.fullmatch(r"fields-(\d+)\.parquet", path.name)
    if match is None:
        raise ValueError(f"{path} is not a shard of a cell table (fields-000000.parquet): move it elsewhere.")
    return int(match.group(1))
