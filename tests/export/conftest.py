"""Cell tables made from label images, without any pixel of a real field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.fields import FieldSource, find_fields, write_field
from hpa_cells.table import CellTable, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Channel, Field, Segmentation

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
    field_id: str,
    image: NDArray[np.int32],
    classes: ClassSet,
    rng: np.random.Generator,
    embeddings: int,
    nuclei: NDArray[np.int32] | None = None,
    pixel_size_um: float = 0.16,
) -> tuple[Segmentation, CellScores]:
    """Random scores for the cells of a label image; a field without cells has no probabilities as a whole."""
    nuclei = np.zeros_like(image) if nuclei is None else nuclei
    segmentation = Segmentation(field_id=field_id, cells=image, nuclei=nuclei, pixel_size_um=pixel_size_um)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelRun:
    """Fields on disk, and the table of their cells."""

    table: CellTable
    folder: Path
    segmentations: dict[str, Segmentation]
    fields: dict[str, Field]

    @property
    def sources(self) -> list[FieldSource]:
        return find_fields(self.folder, optional=frozenset(Channel))


@pytest.fixture(scope="session")
def pixel_run(tmp_path_factory: pytest.TempPathFactory) -> PixelRun:
    """Fields of many kinds, none of them square.

    300 cells; 16 bit with ids beyond 65,535; no cells and no ER; a name that is another's with a space for ``_``; one
    cell over everything. Some cells have no nucleus.
    """
    rng = np.random.default_rng(0)
    many = 1 + np.arange(40 * 60, dtype=np.int32).reshape(40, 60) // 8
    large = np.zeros((33, 21), np.int32)
    large[3:14, 5:16], large[20:, :8] = 70_000, 2**31 - 1
    cells = {
        "many": many,
        "large ids": large,
        "=1+1, é": np.zeros((12, 50), np.int32),
        "Large_ids": np.full((9, 8), 300, np.int32),
    }
    nuclei = {
        "many": np.where((many % 2 == 0) & (np.arange(60) % 8 < 3), many, 0),
        "large ids": np.where((large == 70_000) & (np.arange(21) > 8), large, 0),
    }
    folder, run = tmp_path_factory.mktemp("fields"), tmp_path_factory.mktemp("run")
    fields, segmentations = {}, {}
    provenance = Provenance(version="0", class_set="hpa2021", source="test", settings={"a": [1, None]})
    with TableWriter(run, provenance=provenance) as writer:
        for field_id, labels in cells.items():
            bits = 16 if field_id == "large ids" else 8
            image = rng.integers(0, 2**bits, (4, *labels.shape)).astype(f"uint{bits}")
            missing = frozenset({Channel.ER} if field_id == "=1+1, é" else ())
            image[list(missing)] = 0
            field = Field(field_id=field_id, image=image, pixel_size_um=0.25, missing=missing)
            write_field(field, folder)
            segmentation, scores = scored_field(
                field_id, labels, get_class_set("hpa2021"), rng, 3, nuclei.get(field_id), 0.25
            )
            writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
            fields[field_id], segmentations[field_id] = field, segmentation
    return PixelRun(table=read_table(run), folder=folder, segmentations=segmentations, fields=fields)
