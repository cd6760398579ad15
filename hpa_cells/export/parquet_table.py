"""The cell table as one Parquet file, which tells what its columns mean."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hpa_cells.atomic import replaced_on_success
from hpa_cells.table import CELL_COLUMNS, CellTable, Column, arrow_types, describe

__all__ = ["write_parquet"]

# Rows a group: readers that want some of the rows read these at least.
_GROUP_ROWS = 16_384


def write_parquet(table: CellTable, path: Path, *, masks: bool = True, embeddings: bool = True) -> None:
    """Write one row a cell, in the types of the cell table.

    Each column carries in its metadata, as ``description``, what it says; the file carries, as ``hpa_cells``, the
    provenance, which `read_provenance` reads.

    Parameters
    ----------
    table
        The cell table.
    path
        The file; it appears whole or not at all.
    masks
        Whether to write the masks of cells and nuclei.
    embeddings
        Whether to write the embeddings, if the table has any.
    """
    types = arrow_types(CELL_COLUMNS, table.class_set)
    left_out = ([] if masks else [Column.CELL_RLE, Column.NUCLEUS_RLE]) + (
        [] if embeddings else [Column.EMBEDDING]
    )
    schema = pa.schema(
        [
            pa.field(name, types[name], metadata={"description": describe(name, table.class_set)})
            for name in types
            if name in table.cells and name not in left_out
        ],
        metadata=table.provenance.as_metadata(),
    )
    rows = pa.Table.from_pandas(table.cells[schema.names], schema=schema, preserve_index=False)
    with replaced_on_success(path) as temporary:
        # An absolute path: Arrow takes a relative one with a colon for an address.
        pq.write_table(
            rows.replace_schema_metadata(schema.metadata),
            temporary.absolute(),
            compression="zstd",
            row_group_size=_GROUP_ROWS,
        )
