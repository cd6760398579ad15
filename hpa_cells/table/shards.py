"""The files of a run."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq

from hpa_cells.parquet import arrow_file
from hpa_cells.places import Place

__all__ = ["cells_beside", "count_fields", "field_shards", "shard_number"]


def field_shards(folder: Place) -> list[Place]:
    """The files with the rows of finished fields, in the order in which they were written."""
    # By name, which is what tells them apart.
    return sorted(folder.glob("fields-*.parquet"), key=lambda path: path.name)


def count_fields(folder: Place) -> int:
    """Number of finished fields of a table."""
    return sum(_num_rows(path) for path in field_shards(folder))


def _num_rows(path: Place) -> int:
    try:
        return int(pq.read_metadata(arrow_file(path)).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no whole Parquet file ({error}): copy or make it again.") from error


def cells_beside(path: Place) -> Place:
    """The shard of the cells of a shard of fields."""
    return path.with_name(path.name.replace("fields-", "cells-", 1))


def shard_number(path: Place) -> int:
    """The number in the name of a shard of fields."""
    match = re.fullmatch(r"fields-(\d+)\.parquet", path.name)
    if match is None:
        raise ValueError(f"{path} is not a shard of a cell table (fields-000000.parquet): move it elsewhere.")
    return int(match.group(1))
