"""Small cell tables with embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from hpa_cells.classes import get_class_set
from hpa_cells.table import CELL_COLUMNS, FIELD_COLUMNS, Column, Provenance, TableWriter

CLASS_SET = get_class_set("hpa2021")

WriteTable = Callable[..., Path]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    return lambda *args, **kwargs: _write_table(tmp_path / "run", *args, **kwargs)


def _write_table(
    folder: Path,
    cells: Mapping[str, NDArray[np.float32] | int],
    *,
    source: str = "model",
    shard_fields: int = 2,
    fields: Mapping[str, NDArray[np.float32]] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Path:
    """A table of cells with ids 11, 12 ... and these embeddings (a number: so many cells without).

    A cell's probability of class k is (its position in the field + k) / 100; `fields` may give those of fields.
    """
    provenance = Provenance(version="1", class_set="hpa2021", source=source, settings=dict(settings or {}))
    columns = Column.probabilities(CLASS_SET)
    with TableWriter(folder, provenance=provenance, shard_fields=shard_fields) as writer:
        for field_id, vectors in cells.items():
            number = vectors if isinstance(vectors, int) else len(vectors)
            rows = pd.DataFrame(dict.fromkeys(CELL_COLUMNS, 1), index=range(number))
            rows[Column.FIELD_ID], rows[Column.CELL_ID] = field_id, 11 + np.arange(number)
            rows[[Column.CELL_RLE, Column.NUCLEUS_RLE]] = "1"
            rows[columns] = (np.arange(number)[:, None] + np.arange(len(columns))) / 100
            if not isinstance(vectors, int):
                rows[Column.EMBEDDING] = list(vectors.astype(np.float32))
            row = dict.fromkeys(FIELD_COLUMNS, 1) | {Column.FIELD_ID: field_id, Column.NUM_CELLS: number}
            of_field = np.full(len(columns), np.nan) if fields is None else fields[field_id]
            writer.add(cells=rows, field_row=row | dict(zip(columns, of_field, strict=True)))
    return folder
