from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.table import Column, Provenance, TableWriter, read_table
from hpa_cells.training.cell_labels import TableMasks, match_cell_labels
from hpa_cells.types import CellScores, Channel, Field, Segmentation

CLASS_SET = get_class_set("hpa2021")
IDS = (3, 300, 70_001)


def segmentation(field_id: str, ids: tuple[int, ...] = IDS) -> Segmentation:
    cells = np.zeros((30, 50), dtype=np.int32)
    nuclei = np.zeros_like(cells)
    for position, cell_id in enumerate(ids):
        cells[3:20, 2 + 15 * position : 15 + 15 * position] = cell_id
        if position:
            nuclei[6:12, 5 + 15 * position : 9 + 15 * position] = cell_id
    return Segmentation(field_id=field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5)


def scores(field_id: str, num_cells: int) -> CellScores:
    rng = np.random.default_rng(len(field_id))
    return CellScores(
        field_id=field_id,
        class_set=CLASS_SET,
        cell_ids=np.array(IDS[:num_cells], dtype=np.int32),
        probabilities=rng.random((num_cells, 19), dtype=np.float32),
        field_probabilities=np.full(19, np.nan, dtype=np.float32),
        embeddings=np.zeros((num_cells, 0), dtype=np.float32),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(tmp_path / "table", provenance=provenance) as writer:
        for field_id, ids in (("a", IDS), ("bb", IDS[:2]), ("empty", ())):
            part = segmentation(field_id, ids)
            said = scores(field_id, len(ids))
            writer.add(cells=cell_rows(part, said), field_row=field_row(part, said))
    return tmp_path / "table"


def blank(field_id: str, height: int = 30, width: int = 50) -> Field:
    return Field(field_id=field_id, image=np.zeros((4, height, width), np.uint8), pixel_size_um=0.5)


def test_masks_come_back_with_their_ids(folder: Path) -> None:
    segmenter = TableMasks(folder=str(folder))
    found = segmenter.segment([blank("a"), blank("empty"), blank("bb")])
    for each, ids in zip(found, (IDS, (), IDS[:2]), strict=True):
        expected = segmentation(each.field_id, ids)
        np.testing.assert_array_equal(each.cells, expected.cells)
        np.testing.assert_array_equal(each.nuclei, expected.nuclei)


def test_images_are_not_needed_and_it_travels_to_other_processes(folder: Path) -> None:
    segmenter = pickle.loads(pickle.dumps(TableMasks(folder=str(folder))))
    assert segmenter.optional_channels == frozenset(Channel)
    assert segmenter.segment([blank("a")])[0].cell_ids.tolist() == list(IDS)


def test_field_that_is_not_in_the_table(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"Field c is not in cell table"):
        TableMasks(folder=str(folder)).segment([blank("c")])


def test_field_of_another_size(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"Field a has shape \(50, 30\), in cell table .* \(30, 50\)"):
        TableMasks(folder=str(folder)).segment([blank("a", 50, 30)])


def cells_of(*pairs: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=[Column.FIELD_ID, Column.CELL_ID])


def test_labels_are_matched_by_id_not_by_row(folder: Path) -> None:
    found = match_cell_labels(cells_of(("bb", 300), ("a", 70_001), ("a", 3)), read_table(folder), CLASS_SET)
    of_a, of_bb = scores("a", 3).probabilities, scores("bb", 2).probabilities
    np.testing.assert_array_equal(found, np.stack([of_bb[1], of_a[2], of_a[0]]))
    assert found.dtype == np.float32


def test_a_cell_without_label_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"2 of 3 cells have no label \(field/cell a/1, c/3\).*=cell_table"):
        match_cell_labels(cells_of(("a", 3), ("a", 1), ("c", 3)), read_table(folder), CLASS_SET)


def test_other_classes(folder: Path) -> None:
    other: ClassSet = get_class_set("hpa2018")
    with pytest.raises(ValueError, match=r"of class set hpa2021, the data of hpa2018"):
        match_cell_labels(cells_of(("a", 3)), read_table(folder), other)
