from __future__ import annotations

import cv2
import numpy as np
import pytest

from hpa_cells.report.marks import cell_marks, label_image, outlines_of
from hpa_cells.table import Column


def test_label_image_is_the_one_of_the_table(world, label_images) -> None:
    for field_id, image in label_images.items():
        cells = world.table.cells[world.table.cells[Column.FIELD_ID] == field_id]
        np.testing.assert_array_equal(label_image(cells, *image.shape), image)


def test_masks_of_another_size_are_refused(world) -> None:
    with pytest.raises(ValueError, match="check the height and width"):
        label_image(world.table.cells.iloc[:1], 10, 10)


def test_an_outline_filled_again_is_the_cell(world, label_images) -> None:
    image = label_images["first"]
    for row in range(3):
        cell = world.table.cells.iloc[row]
        outlines = outlines_of(image, cell)
        filled = np.zeros(image.shape, np.uint8)
        cv2.fillPoly(filled, [np.rint(line - 0.5).astype(np.int32) for line in outlines], 1)
        np.testing.assert_array_equal(filled.astype(bool), image == cell[Column.CELL_ID])


def test_a_cell_in_two_pieces_has_two_outlines(make_table) -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:6, 2:6], labels[12:18, 10:15] = 4, 4
    table = make_table({"a": labels})
    assert len(outlines_of(labels, table.cells.iloc[0])) == 2


def test_words_and_colours(world, label_images) -> None:
    cells = world.table.cells.iloc[:3].copy()
    columns = Column.probabilities(world.table.class_set)
    cells[columns] = np.float32(0)
    cells.iloc[0, cells.columns.get_indexer([columns[2], columns[16], columns[7]])] = np.float32(
        [0.9, 0.8, 0.6]
    )
    cells.iloc[1, cells.columns.get_indexer([columns[17]])] = np.float32(0.3)
    cells.iloc[2, cells.columns.get_indexer(columns)] = np.float32(np.nan)
    several, unsure, unknown = cell_marks(cells, label_images["first"], world.table.class_set, threshold=0.5)
    assert several.words == "3\nNucleoli\nCytosol"
    assert unsure.words == "7\nVesicles?"
    assert unknown.words == "300"
    assert several.is_sure
    assert not unsure.is_sure
    assert several.middle_px == pytest.approx((40.5, 40.5))
    assert len({several.color, unsure.color, unknown.color}) == 3


def test_a_cell_under_another_keeps_its_outline_and_its_tile(make_table) -> None:
    """Tables of other programs may have masks that overlap: a label image shows one of them."""
    from hpa_cells.masks import encode_labels
    from hpa_cells.report import cell_tile

    labels = np.zeros((40, 50), np.int32)
    labels[5:25, 5:25], labels[26:36, 30:45] = 1, 2
    table = make_table({"f": labels})
    over = np.zeros_like(labels)
    over[3:30, 3:30] = 2
    cells = table.cells.copy()
    cells.loc[1, "cell_rle"] = encode_labels(over)[1][0].decode()
    cells.loc[1, ["bbox_x_px", "bbox_y_px", "bbox_width_px", "bbox_height_px", "area_px"]] = [
        3,
        3,
        27,
        27,
        729,
    ]
    painted = label_image(cells, 40, 50)
    assert not (painted == 1).any()
    marks = cell_marks(cells, painted, table.class_set, threshold=0.5)
    alone = cell_marks(table.cells, labels, table.class_set, threshold=0.5)
    np.testing.assert_array_equal(marks[0].outlines_px[0], alone[0].outlines_px[0])
    channels = np.full((4, 40, 50), 200, np.uint8)
    np.testing.assert_array_equal(
        cell_tile(channels, painted, cells.iloc[0], side_px=48),
        cell_tile(channels, labels, table.cells.iloc[0], side_px=48),
    )
