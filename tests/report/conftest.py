"""Small fields with cells, as files, and the tables of their cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.fields import FieldSource, find_fields, write_field
from hpa_cells.table import CellTable, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Field, Segmentation


def disks(height: int, width: int, centers: dict[int, tuple[int, int]], radius: int) -> NDArray[np.int32]:
    """Label image of disks at (y, x)."""
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int32)
    for cell_id, (center_y, center_x) in centers.items():
        labels[(y - center_y) ** 2 + (x - center_x) ** 2 <= radius**2] = cell_id
    return labels


@dataclass(frozen=True, slots=True)
class World:
    """Fields on disk, their sources and their table."""

    folder: Path
    sources: list[FieldSource]
    table: CellTable


MakeTable = Callable[..., CellTable]


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Table of label images by field id, with probabilities from `seed`; rounded to 0 and 1 for a truth."""

    def make(labels: dict[str, NDArray[np.int32]], *, seed: int = 0, is_truth: bool = False) -> CellTable:
        classes = get_class_set("hpa2021")
        rng = np.random.default_rng(seed)
        provenance = Provenance(
            version="0.0",
            class_set="hpa2021",
            source="test",
            settings={"tta": "d4", "crops": {"size_px": 64}},
        )
        with TemporaryDirectory() as folder:
            with TableWriter(Path(folder), provenance=provenance) as writer:
                for field_id, image in labels.items():
                    segmentation = Segmentation(
                        field_id=field_id, cells=image, nuclei=np.zeros_like(image), pixel_size_um=0.3
                    )
                    num_cells = len(segmentation.cell_ids)
                    values = rng.random((num_cells, len(classes)), dtype=np.float32)
                    of_field = values.max(axis=0) if num_cells else np.full(len(classes), np.nan, np.float32)
                    scores = CellScores(
                        field_id=field_id,
                        class_set=classes,
                        cell_ids=segmentation.cell_ids,
                        probabilities=values.round() if is_truth else values,
                        field_probabilities=of_field.round() if is_truth else of_field,
                        embeddings=np.zeros((num_cells, 0), np.float32),
                    )
                    writer.add(
                        cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores)
                    )
            return read_table(folder)

    return make


@pytest.fixture(scope="session")
def label_images() -> dict[str, NDArray[np.int32]]:
    """Two fields that are not square, with gaps in the ids and a cell at the edge, and one without cells."""
    return {
        "first": disks(120, 160, {3: (40, 40), 300: (60, 110), 7: (118, 150)}, 24),
        "plain": disks(120, 160, {1: (60, 80)}, 40),
        "void": np.zeros((120, 160), np.int32),
    }


@pytest.fixture(scope="session")
def world(
    label_images: dict[str, NDArray[np.int32]],
    make_table: MakeTable,
    tmp_path_factory: pytest.TempPathFactory,
) -> World:
    """The label images as fields on disk: every channel is bright inside of the cells."""
    folder = tmp_path_factory.mktemp("fields")
    rng = np.random.default_rng(1)
    for field_id, image in label_images.items():
        pixels = rng.integers(5, 20, (4, *image.shape)) + 180 * (image > 0)
        write_field(Field(field_id=field_id, image=pixels.astype(np.uint8), pixel_size_um=0.3), folder)
    return World(folder, find_fields(folder), make_table(label_images))
