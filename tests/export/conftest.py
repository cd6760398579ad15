"""Cell tables made from label images, without any pixel of a real field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.table import CellTable, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Segmentation

TableMaker: TypeAlias = Callable[..., CellTable]


@pytest.fixture(scope="session")
def make_table() -> TableMaker:
    """Table of the given label images (by field id), with random probabilities and no nuclei."""

    def make(
        labels: Mapping[str, NDArray[np.int32]],
        *,
        class_set: str = "hpa2021",
        seed: int = 0,
        embeddings: int = 0,
    ) -> CellTable:
        classes = get_class_set(class_set)
        rng = np.random.default_rng(seed)
        provenance = Provenance(version="0", class_set=class_set, source="test")
        with TemporaryDirectory() as folder:
            with TableWriter(Path(folder), provenance=provenance) as writer:
                for field_id, image in labels.items():
                    segmentation, scores = scored_field(field_id, image, classes, rng, embeddings)
                    writer.add(
                        cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores)
                    )
            return read_table(folder)

    return make


def scored_field(
    field_id: str, image: NDArray[np.int32], classes: ClassSet, rng: np.random.Generator, embeddings: int
) -> tuple[Segmentation, CellScores]:
    """Random scores for the cells of a label image; a field without cells has no probabilities as a whole."""
    nuclei = np.zeros_like(image)
    segmentation = Segmentation(field_id=field_id, cells=image, nuclei=nuclei, pixel_size_um=0.16)
    num_cells, num_classes = len(segmentation.cell_ids), len(classes)
    of_field = (
        rng.random(num_classes, dtype=np.float32) if num_cells else np.full(num_classes, np.nan, np.float32)
    )
    scores = CellScores(
        field_id=field_id,
        class_set=classes,
        cell_ids=segmentation.cell_ids,
        probabilities=rng.random((num_cells, num_classes), dtype=np.float32),
        field_probabilities=of_field,
        embeddings=rng.random((num_cells, embeddings), dtype=np.float32),
    )
    return segmentation, scores


@pytest.fixture
def small_table(make_table: TableMaker) -> CellTable:
    """Three fields: ids with gaps, not square; one cell over everything; no cells."""
    first = np.zeros((12, 20), np.int32)
    first[1:5, 2:9] = 3
    first[5:12, 0:4] = 7
    first[2:9, 12:18] = 300
    return make_table({"a": first, "b": np.ones((8, 8), np.int32), "c": np.zeros((9, 7), np.int32)})
