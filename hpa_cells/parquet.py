"""Reading the Parquet files of a cell table, of which a few kilobytes can promise any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpa_cells.limits import is_bomb
from hpa_cells.places import Address, Place

__all__ = ["arrow_file", "read_parquet"]

# A row of a cell or a field has an id of its own and dozens of numbers, which do not pack to less than a byte.
_FREE_ROWS: Final = 1 << 20


def arrow_file(path: Place) -> Any:
    """What Arrow reads a file from: its absolute path, or the bytes of an address.

    Arrow takes a relative path with a colon for an address of its own.
    """
    return pa.BufferReader(path.read_bytes()) if isinstance(path, Address) else path.absolute()


def read_parquet(path: Place, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of a file.

    Parameters
    ----------
    path
        The file.
    columns
        Which columns; None for all.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, lacks a column, or promises far more than so short a file holds.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: copy the whole folder again.")
    source = arrow_file(path)
    try:
        num_bytes = source.size() if isinstance(source, pa.NativeFile) else source.stat().st_size
        with pq.ParquetFile(source) as file:
            _check_promises(file.metadata, num_bytes)
            _check_columns(file.schema_arrow, columns)
            texts = [each.name for each in file.schema_arrow if pa.types.is_string(each.type)]
        # Texts as they are in the file, each once: one that all rows share would fill the memory.
        table = pq.read_table(
            source, columns=None if columns is None else list(columns), read_dictionary=texts
        )
        _check_texts(table, num_bytes)
        plain = pa.schema(
            [_without_dictionary(each) for each in table.schema], metadata=table.schema.metadata
        )
        rows: pd.DataFrame = table.cast(plain).to_pandas()
    # The last four are what the notes that pandas leaves in a file can lead to.
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        MemoryError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise ValueError(f"{path} is no whole Parquet file ({error}): copy or make it again.") from error
    return rows


def _check_promises(metadata: pq.FileMetaData, file_bytes: int) -> None:
    if metadata.num_rows > max(_FREE_ROWS, file_bytes):
        raise ValueError(f"it promises {metadata.num_rows:,} rows in {file_bytes:,} bytes")
    unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if is_bomb(unpacked, file_bytes):
        raise ValueError(f"it unpacks from {file_bytes:,} to {unpacked:,} bytes")


def _check_columns(schema: pa.Schema, columns: Sequence[str] | None) -> None:
    if lacking := [name for name in columns or () if name not in schema.names]:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    if len(set(schema.names)) != len(schema.names):
        raise ValueError("it has two columns of one name")


def _check_texts(table: pa.Table, file_bytes: int) -> None:
    """Refuse texts that, written out for every row, are far more than the file."""
    for name in table.column_names:
        if not pa.types.is_dictionary(table.schema.field(name).type):
            continue
        total = 0
        for chunk in table[name].chunks:
            lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
            total += pc.sum(lengths).as_py() or 0
        if is_bomb(total, file_bytes):
            raise ValueError(f"its texts of {name} unpack from {file_bytes:,} to {total:,} bytes")


def _without_dictionary(field: pa.Field) -> pa.Field:
    is_dictionary = pa.types.is_dictionary(field.type)
    return field.with_type(field.type.value_type) if is_dictionary else field
