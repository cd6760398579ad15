"""Small cell tables, built from label images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from hpa_cells.classes import get_class_set
from hpa_cells.masks import encode_labels
from hpa_cells.table import CellTable, Column, Provenance

MakeTable = Callable[..., CellTable]


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """A function that makes a table of label images, by field, and probabilities (N, up to K)."""

    def make(
        images: Mapping[str, NDArray[np.int32]],
        probabilities: NDArray[np.generic] | Sequence[Sequence[float]],
        class_set: str = "hpa2021",
    ) -> CellTable:
        classes = get_class_set(class_set)
        rows = [
            {Column.FIELD_ID: field_id, Column.CELL_ID: cell_id, Column.CELL_RLE: counts.decode()}
            for field_id, labels in images.items()
            for cell_id, counts in zip(*encode_labels(labels), strict=True)
        ]
        cells = pd.DataFrame(rows, columns=[Column.FIELD_ID, Column.CELL_ID, Column.CELL_RLE])
        values = np.asarray(probabilities, dtype=np.float32)
        for index, column in enumerate(Column.probabilities(classes)):
            cells[column] = values[:, index] if index < values.shape[1] else np.float32(0)
        fields = pd.DataFrame(
            [(field_id, *labels.shape) for field_id, labels in images.items()],
            columns=[Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX],
        )
        provenance = Provenance(version="test", class_set=class_set, source="test")
        return CellTable(cells=cells, fields=fields, class_set=classes, provenance=provenance)

    return make
