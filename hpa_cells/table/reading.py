"""A run read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.parquet import read_parquet
from hpa_cells.places import Place, place
from hpa_cells.provenance import Provenance, read_provenance
from hpa_cells.table.columns import Column
from hpa_cells.table.manifest import check_whole
from hpa_cells.table.shards import cells_beside, field_shards

__all__ = ["CellTable", "read_table"]

_NUM_SHOWN = 3


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

    def of_field(self, field_id: str) -> CellTable:
        """The table of this field alone.

        Raises
        ------
        ValueError
            If it is not in the table.
        """
        is_wanted = self.fields[Column.FIELD_ID] == field_id
        if not is_wanted.any():
            known = self.fields[Column.FIELD_ID].head(_NUM_SHOWN)
            raise ValueError(
                f"Field {field_id} is not in the table: give one of its {len(is_wanted)} fields, such as "
                f"{', '.join(known)}."
            )
        return replace(
            self,
            cells=self.cells[self.cells[Column.FIELD_ID] == field_id].reset_index(drop=True),
            fields=self.fields[is_wanted].reset_index(drop=True),
        )

    def parts(self, num_fields: int) -> Iterator[CellTable]:
        """The table in parts of at most `num_fields` fields each, in its order; a table without fields is one part."""
        rows_of_field = self.cells.groupby(Column.FIELD_ID).indices
        for start in range(0, max(1, len(self.fields)), num_fields):
            fields = self.fields.iloc[start : start + num_fields]
            rows = [rows_of_field[each] for each in fields[Column.FIELD_ID] if each in rows_of_field]
            yield replace(
                self,
                cells=self.cells.iloc[np.concatenate([np.empty(0, dtype=np.intp), *rows])].reset_index(
                    drop=True
                ),
                fields=fields.reset_index(drop=True),
            )


def read_table(folder: Place | str) -> CellTable:
    """Read a run, or a simulated truth, from its folder.

    Cells of a shard whose fields were never written (a stop between the two) are left out.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished field.
    ValueError
        If its shards come from different settings, one is not a shard of a cell table, or some are missing.
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
    shards = [read_parquet(path) for path in paths]
    fields = pd.concat(shards, ignore_index=True)
    check_whole(folder, num_fields=len(fields))
    cells = pd.concat(
        [_cells_of(shard, path) for shard, path in zip(shards, paths, strict=True)], ignore_index=True
    )
    return CellTable(
        cells=cells.sort_values([Column.FIELD_ID, Column.CELL_ID], ignore_index=True),
        fields=fields.sort_values(Column.FIELD_ID, ignore_index=True),
        class_set=get_class_set(provenance.class_set),
        provenance=provenance,
    )


def _cells_of(fields: pd.DataFrame, path: Place) -> pd.DataFrame:
    """The cells of a shard, but for those of fields that were not written with it."""
    cells = read_parquet(cells_beside(path))
    return cells[cells[Column.FIELD_ID].isin(fields[Column.FIELD_ID])]
