from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import CLASS_SETS
from hpa_cells.table import CELL_COLUMNS, FIELD_COLUMNS, Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Segmentation

CLASSES = CLASS_SETS["hpa2021"]


@pytest.fixture
def segmentation() -> Segmentation:
    cells = np.zeros((30, 50), dtype=np.int32)
    cells[2:12, 3:20] = 7
    cells[15:30, 10:30] = 70_000
    cells[5:10, 40:50] = 300
    nuclei = np.zeros_like(cells)
    nuclei[5:9, 8:12] = 7
    nuclei[20:25, 15:20] = 70_000
    return Segmentation(field_id="f", cells=cells, nuclei=nuclei, pixel_size_um=0.5)


@pytest.fixture
def scores() -> CellScores:
    """Of the same cells, in another order."""
    rng = np.random.default_rng(0)
    return CellScores(
        field_id="f",
        class_set=CLASSES,
        cell_ids=np.array([70_000, 7, 300], dtype=np.int32),
        probabilities=rng.random((3, len(CLASSES)), dtype=np.float32),
        field_probabilities=rng.random(len(CLASSES), dtype=np.float32),
        embeddings=rng.random((3, 5), dtype=np.float32),
    )


def test_a_row_a_cell_with_all_columns(segmentation: Segmentation, scores: CellScores) -> None:
    rows = cell_rows(segmentation, scores)
    assert list(rows) == [*CELL_COLUMNS, *Column.probabilities(CLASSES), Column.EMBEDDING]
    assert rows[Column.CELL_ID].tolist() == [7, 300, 70_000]
    assert rows[Column.AREA_PX].tolist() == [170, 50, 300]
    assert rows[Column.AREA_UM2].tolist() == [42.5, 12.5, 75.0]
    assert rows[Column.NUCLEUS_AREA_PX].tolist() == [16, 0, 25]
    assert rows[Column.NUCLEUS_AREA_UM2].tolist() == [4.0, 0.0, 6.25]
    assert rows[Column.TOUCHES_BORDER].tolist() == [False, True, True]
    box = rows[[Column.BBOX_X_PX, Column.BBOX_Y_PX, Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX]]
    assert box.to_numpy().tolist() == [[3, 2, 17, 10], [40, 5, 10, 5], [10, 15, 20, 15]]


def test_probabilities_follow_their_cell_and_not_its_position(
    segmentation: Segmentation, scores: CellScores
) -> None:
    rows = cell_rows(segmentation, scores).set_index(Column.CELL_ID)
    for position, cell_id in enumerate(scores.cell_ids):
        row = rows.loc[cell_id]
        np.testing.assert_array_equal(
            row[Column.probabilities(CLASSES)].astype(np.float32), scores.probabilities[position]
        )
        np.testing.assert_array_equal(row[Column.EMBEDDING], scores.embeddings[position])


def test_masks_are_those_of_pycocotools(segmentation: Segmentation) -> None:
    rows = cell_rows(segmentation, None).set_index(Column.CELL_ID)
    for cell_id in segmentation.cell_ids:
        for column, labels in (
            (Column.CELL_RLE, segmentation.cells),
            (Column.NUCLEUS_RLE, segmentation.nuclei),
        ):
            expected = coco.encode(np.asfortranarray((labels == cell_id).astype(np.uint8)))["counts"]
            found = rows.loc[cell_id, column]
            if (labels == cell_id).any():
                assert found == expected.decode()
            else:
                assert pd.isna(found)


def test_the_row_of_the_field(segmentation: Segmentation, scores: CellScores) -> None:
    row = field_row(segmentation, scores)
    assert list(row) == [*FIELD_COLUMNS, *Column.probabilities(CLASSES)]
    assert (row[Column.HEIGHT_PX], row[Column.WIDTH_PX], row[Column.NUM_CELLS]) == (30, 50, 3)
    assert row["p_negative"] == scores.field_probabilities[-1]


def test_rows_without_scores(segmentation: Segmentation) -> None:
    assert list(cell_rows(segmentation, None)) == list(CELL_COLUMNS)
    assert list(field_row(segmentation, None)) == list(FIELD_COLUMNS)


def test_a_field_without_cells_has_no_rows(segmentation: Segmentation, scores: CellScores) -> None:
    nothing = np.zeros_like(segmentation.cells)
    empty = replace(segmentation, cells=nothing, nuclei=nothing)
    none = replace(
        scores,
        cell_ids=scores.cell_ids[:0],
        probabilities=scores.probabilities[:0],
        embeddings=scores.embeddings[:0],
    )
    assert cell_rows(empty, none).empty
    assert field_row(empty, none)[Column.NUM_CELLS] == 0


def test_scores_of_other_cells_are_refused(segmentation: Segmentation, scores: CellScores) -> None:
    with pytest.raises(ValueError, match="the scores are of g"):
        cell_rows(segmentation, replace(scores, field_id="g"))
    with pytest.raises(ValueError, match="the scores are of g"):
        field_row(segmentation, replace(scores, field_id="g"))
    others = replace(scores, cell_ids=np.array([70_000, 8, 300], dtype=np.int32))
    with pytest.raises(ValueError, match=r"3 cells were scored, 3 segmented \(only in one: 7, 8\)"):
        cell_rows(segmentation, others)


def test_rows_survive_the_cell_table(segmentation: Segmentation, scores: CellScores, tmp_path: Path) -> None:
    provenance = Provenance(version="test", class_set=CLASSES.name, source="test")
    rows = cell_rows(segmentation, scores)
    with TableWriter(tmp_path, provenance=provenance) as writer:
        writer.add(cells=rows, field_row=field_row(segmentation, scores))
    table = read_table(tmp_path)
    plain = rows.columns.drop([Column.EMBEDDING, Column.NUCLEUS_RLE])
    pd.testing.assert_frame_equal(table.cells[plain], rows[plain], check_dtype=False)
    np.testing.assert_array_equal(np.stack(table.cells[Column.EMBEDDING]), np.stack(rows[Column.EMBEDDING]))
    np.testing.assert_array_equal(table.field_probabilities()[0], scores.field_probabilities)
