from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.segmentation import TableMasks
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import Channel, Field, Segmentation

IDS = (3, 300, 70_001)


def segmentation(field_id: str, ids: tuple[int, ...] = IDS) -> Segmentation:
    cells = np.zeros((30, 50), dtype=np.int32)
    nuclei = np.zeros_like(cells)
    for position, cell_id in enumerate(ids):
        cells[3:20, 2 + 15 * position : 15 + 15 * position] = cell_id
        if position:
            nuclei[6:12, 5 + 15 * position : 9 + 15 * position] = cell_id
    return Segmentation(field_id=field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(tmp_path / "table", provenance=provenance) as writer:
        for field_id, ids in (("a", IDS), ("bb", IDS[:2]), ("empty", ())):
            part = segmentation(field_id, ids)
            writer.add(cells=cell_rows(part, None), field_row=field_row(part, None))
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
