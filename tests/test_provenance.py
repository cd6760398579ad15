"""Provenance in the metadata of a stranger's shard."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpa_cells.provenance import read_provenance

WHOLE = {"version": "1", "class_set": "hpa2021", "source": "model"}


def shard(path: Path, metadata: bytes) -> Path:
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({b"hpa_cells": metadata}), path)
    return path


def test_it_is_read(tmp_path: Path) -> None:
    assert read_provenance(shard(tmp_path / "a.parquet", json.dumps(WHOLE).encode())).source == "model"


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        json.dumps(WHOLE | {"more": 1}).encode(),
        json.dumps(WHOLE | {"class_set": ["hpa2021"]}).encode(),
        json.dumps(WHOLE | {"settings": "none"}).encode(),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, metadata: bytes) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet carries a provenance that cannot be read"):
        read_provenance(shard(tmp_path / "a.parquet", metadata))


@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(50) + b"PAR1", b"\x80\x04."])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="is not a Parquet file"):
        read_provenance(tmp_path / "a.parquet")
