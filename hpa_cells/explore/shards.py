"""Some columns of a cell table, shard by shard: a table of many cells is mostly masks, which no statistic needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.parquet import read_parquet
from hpa_cells.provenance import Provenance, read_provenance
from hpa_cells.table import CellTable, Column

__all__ = [
    "FieldScores",
    "finished_shards",
    "provenance_of",
    "read_cell_numbers",
    "read_cells_of_fields",
    "read_field_scores",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldScores:
    """What a cell table says of fields as a whole.

    Attributes
    ----------
    class_set
        The K classes.
    field_ids
        (F,) names, sorted.
    probabilities
        (F, K) float32; NaN for a field without cells.
    provenance
        Where the table comes from.
    """

    class_set: ClassSet
    field_ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    provenance: Provenance


def read_field_scores(folder: Path | str) -> FieldScores:
    """The scores of the fields of a cell table.

    Raises
    ------
    FileNotFoundError, ValueError
        See `finished_shards` and `provenance_of`.
    """
    folder = Path(folder)
    provenance = provenance_of(folder)
    class_set = get_class_set(provenance.class_set)
    columns = Column.probabilities(class_set)
    paths = finished_shards(folder, "fields")
    rows = pd.concat([read_parquet(path, [Column.FIELD_ID, *columns]) for path in paths])
    rows = rows.sort_values(Column.FIELD_ID)
    return FieldScores(
        class_set=class_set,
        field_ids=tuple(rows[Column.FIELD_ID]),
        probabilities=rows[columns].to_numpy(dtype=np.float32),
        provenance=provenance,
    )


def read_cell_numbers(folder: Path | str) -> pd.DataFrame:
    """The field id and the number of cells of each field of a cell table, by id.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished field.
    """
    columns = [Column.FIELD_ID, Column.NUM_CELLS]
    rows = pd.concat([read_parquet(path, columns) for path in finished_shards(Path(folder), "fields")])
    return rows.sort_values(Column.FIELD_ID, ignore_index=True)


def read_cells_of_fields(folder: Path | str, field_ids: Collection[str]) -> CellTable:
    """The cells of some fields, without their embeddings; of a table of many cells no more is kept.

    Raises
    ------
    FileNotFoundError, ValueError
        See `finished_shards` and `provenance_of`.
    """
    folder = Path(folder)
    provenance = provenance_of(folder)
    parts: dict[str, list[pd.DataFrame]] = {"cells": [], "fields": []}
    for fields_path, cells_path in zip(
        finished_shards(folder, "fields"), finished_shards(folder, "cells"), strict=True
    ):
        fields = read_parquet(fields_path)
        fields = fields[fields[Column.FIELD_ID].isin(field_ids)]
        if len(fields):
            cells = read_parquet(cells_path).drop(columns=Column.EMBEDDING, errors="ignore")
            parts["fields"].append(fields)
            parts["cells"].append(cells[cells[Column.FIELD_ID].isin(fields[Column.FIELD_ID])])
        elif not parts["fields"]:
            # Of the columns, in case there is no such field at all.
            cells = read_parquet(cells_path).head(0).drop(columns=Column.EMBEDDING, errors="ignore")
            parts["fields"], parts["cells"] = [fields], [cells]
    return CellTable(
        cells=pd.concat(parts["cells"]).sort_values([Column.FIELD_ID, Column.CELL_ID], ignore_index=True),
        fields=pd.concat(parts["fields"]).sort_values(Column.FIELD_ID, ignore_index=True),
        class_set=get_class_set(provenance.class_set),
        provenance=provenance,
    )


def finished_shards(folder: Path, kind: str) -> list[Path]:
    """The shards of ``cells`` or ``fields`` whose fields are finished.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    # The shard of fields is written last.
    finished = sorted(folder.glob("fields-*.parquet"))
    if not finished:
        raise FileNotFoundError(
            f"{folder} holds no cell table (fields-*.parquet): give the folder that `hpa-cells predict` wrote to."
        )
    return [path.with_name(path.name.replace("fields-", f"{kind}-", 1)) for path in finished]


def provenance_of(folder: Path) -> Provenance:
    """Where a cell table comes from.

    Raises
    ------
    FileNotFoundError
        If there is no table.
    ValueError
        If its shards come from different runs.
    """
    first, *others = finished_shards(folder, "fields")
    provenance = read_provenance(first)
    for path in others:
        differences = provenance.differences(read_provenance(path))
        if differences:
            raise ValueError(
                f"{path} differs from {first.name}: {'; '.join(differences)}. Keep one run a folder."
            )
    return provenance
