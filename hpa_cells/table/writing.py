"""The writing of a cell table: shard by shard, in the background, and whole or not at all.

The shard of fields is written after that of their cells: a field is finished when it is there. ``manifest.json`` says
what is done with which settings, for a person, and for who reads a copy of the folder that lacks a shard.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Protocol, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hpa_cells.atomic import replaced_on_success, sole_writer
from hpa_cells.classes import get_class_set
from hpa_cells.parquet import read_parquet
from hpa_cells.places import Address, Place
from hpa_cells.provenance import Provenance, read_provenance
from hpa_cells.table.columns import CELL_COLUMNS, FIELD_COLUMNS, Column, arrow_types
from hpa_cells.table.manifest import Manifest, write_manifest
from hpa_cells.table.shards import field_shards, shard_number

__all__ = ["TableWriter"]


class _OfField(Protocol):
    @property
    def field_id(self) -> str: ...


F = TypeVar("F", bound=_OfField)


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
        self._told: Manifest | None = None
        self._look(field_shards(folder))

    def _look(self, shards: list[Place]) -> None:
        """Take up what is there."""
        self._shards = shards
        self._next_shard = 1 + max((shard_number(path) for path in shards), default=-1)
        if shards:
            self._refuse_other_settings(read_provenance(shards[0]))
        counted = [read_parquet(path, columns=[Column.FIELD_ID, Column.NUM_CELLS]) for path in shards]
        self.finished: frozenset[str] = frozenset(
            field_id for shard in counted for field_id in shard[Column.FIELD_ID]
        )
        self._num_fields = len(self.finished)
        self._num_cells = sum(int(shard[Column.NUM_CELLS].sum()) for shard in counted)

    def unfinished(self, fields: Iterable[F]) -> list[F]:
        """Those of the fields that are not in the table yet."""
        return [each for each in fields if each.field_id not in self.finished]

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
        # A Ctrl-C in here changes nothing.
        wait([self._under_way])
        if (error := self._under_way.exception()) is not None:
            added = [*self._behind, *self._added]
            self._under_way, self._added = None, added
            raise error
        num_fields, num_cells = len(self._behind), sum(len(cells) for cells, _ in self._behind)
        # Without a call, and so without a Ctrl-C, between them: the next shard must not take the place of this one.
        self._next_shard += 1
        self._num_fields += num_fields
        self._num_cells += num_cells
        self._under_way = None
        self._tell()

    def _write_shard(self, added: list[tuple[pd.DataFrame, dict[str, Any]]], number: int) -> None:
        filled = [cells for cells, _ in added if len(cells)]
        field_rows = [field_row for _, field_row in added]
        cells = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
        name = f"{number:06d}.parquet"
        self._write(self._folder / f"cells-{name}", cells, CELL_COLUMNS)
        self._write(self._folder / f"fields-{name}", pd.DataFrame(field_rows), FIELD_COLUMNS)

    def __enter__(self) -> TableWriter:
        self._hold.__enter__()
        try:
            # Until now another writer may have been at work.
            shards = field_shards(self._folder)
            if shards != self._shards:
                self._look(shards)
            self._remove_half_written()
        except BaseException:
            self._hold.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
            self._tell()
        finally:
            self._background.shutdown()
            self._hold.__exit__(None, None, None)

    def _write(self, path: Place, rows: pd.DataFrame, columns: dict[str, pa.DataType]) -> None:
        types = arrow_types(columns, self._class_set)
        if Column.EMBEDDING not in rows:
            del types[Column.EMBEDDING]
        schema = pa.schema(types)
        rows = rows.reindex(columns=schema.names)
        table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
        table = table.replace_schema_metadata(self._provenance.as_metadata())
        with replaced_on_success(path) as temporary:
            # An absolute path: Arrow takes a relative one with a colon for an address.
            pq.write_table(table, temporary.absolute(), compression="zstd")

    def _remove_half_written(self) -> None:
        """Remove what writers that were killed have left."""
        if isinstance(self._folder, Address):
            return
        for kind in ("cells", "fields", "manifest"):
            for path in self._folder.glob(f".{kind}*.tmp.*"):
                path.unlink(missing_ok=True)

    def _tell(self) -> None:
        """Say in the manifest what is done; a stop before that leaves one that says less."""
        told = Manifest(num_fields=self._num_fields, num_cells=self._num_cells, provenance=self._provenance)
        if told != self._told and self._num_fields:
            write_manifest(self._folder, told)
            self._told = told

    def _refuse_other_settings(self, found: Provenance) -> None:
        differences = found.differences(self._provenance)
        wanted = self._provenance.settings
        is_older = "segmenter_fingerprint" in wanted.keys() - found.settings.keys()
        if is_older and wanted.get("segmenter") == found.settings.get("segmenter"):
            raise ValueError(
                f"{self._folder} holds a run of an earlier version, which did not put on record by which weights its "
                "cells were found: choose another `out`."
            )
        if differences:
            raise ValueError(
                f"{self._folder} holds a run with other settings ({'; '.join(differences)}): "
                "choose another `out`, or repeat the command with the settings of that run to resume it."
            )
