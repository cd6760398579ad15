"""Parquet files of strangers: read as pandas reads them, or refused before they fill the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpa_cells.parquet import read_parquet


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells-000000.parquet"


def repeated(text: str, times: int) -> pa.Table:
    return pa.table({"field_id": pa.DictionaryArray.from_arrays(np.zeros(times, np.int32), [text])})


def test_as_pandas_reads_it(path: Path) -> None:
    rows = pd.DataFrame(
        {
            "field_id": ["a", "b", "b"],
            "cell_rle": [None, "121", ""],
            "cell_id": np.arange(3, dtype=np.int32),
            "embedding": [[1.0], [2.0], []],
        }
    )
    rows.to_parquet(path)
    pd.testing.assert_frame_equal(read_parquet(path), pd.read_parquet(path))
    assert read_parquet(path, ["cell_id"]).columns.tolist() == ["cell_id"]


def test_more_rows_than_bytes(path: Path) -> None:
    pq.write_table(repeated("x", 4_000_000), path)
    with pytest.raises(ValueError, match=r"cells-000000\.parquet .*promises 4,000,000 rows in \d"):
        read_parquet(path)


def test_a_text_that_all_rows_share_is_not_written_out(path: Path) -> None:
    pq.write_table(repeated("A" * (1 << 20), 1_000_000), path, compression="zstd")
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"texts of field_id unpack from .* to 1,048,576,000,000 bytes"):
        read_parquet(path)


def test_zeros_that_unpack_without_end(path: Path) -> None:
    numbers = pa.table({"a": np.zeros(1 << 20), **{f"c{index}": np.zeros(1 << 20) for index in range(40)}})
    pq.write_table(numbers, path, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match=r"unpacks from .* to 3"):
        read_parquet(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and no more PAR1", b"\x80\x04"])
def test_what_is_no_parquet_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no whole Parquet file"):
        read_parquet(path)


def test_a_column_that_is_missing_or_there_twice(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_parquet(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ValueError, match="it lacks b, c"):
        read_parquet(path, ["a", "b", "c"])
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(ValueError, match="two columns of one name"):
        read_parquet(path)
