from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.fields import read_field
from hpa_cells.report import composite, overlay
from hpa_cells.report.colors import color_on_dark
from hpa_cells.report.marks import CellMark
from hpa_cells.report.overlay import draw_lines, draw_marks
from hpa_cells.table import Column


def test_small_fields_are_enlarged_and_large_ones_are_not(world) -> None:
    field = read_field(world.sources[0], pixel_size_um=0.3)
    picture = overlay(field, world.table.cells.iloc[:3], world.table.class_set)
    assert picture.shape == (768, 1024, 3)
    assert picture.dtype == np.uint8


def test_the_outline_has_the_colour_of_the_most_probable_class(world, label_images) -> None:
    field = read_field(world.sources[0], pixel_size_um=0.3)
    cells = world.table.cells.iloc[:1].copy()
    columns = Column.probabilities(world.table.class_set)
    cells[columns] = np.float32(0)
    cells[columns[6]] = np.float32(0.9)
    picture = overlay(field, cells, world.table.class_set).astype(int)
    color = np.array(color_on_dark(world.table.class_set.colors[6]))
    # Cell 3 is a disk of radius 24 around (40, 40): its leftmost pixel is x = 16; the picture is 6.4 times as
    # large.
    edge = picture[int(40.5 * 6.4), int(14 * 6.4) : int(19 * 6.4)]
    assert (np.abs(edge - color).max(axis=1) < 60).any()


def test_without_cells_it_is_the_composite(world) -> None:
    field = read_field(world.sources[2], pixel_size_um=0.3)
    picture = overlay(field, world.table.cells.iloc[:0], world.table.class_set)
    assert picture.shape == (768, 1024, 3)
    assert np.abs(picture.mean(axis=(0, 1)) - composite(field).mean(axis=(0, 1))).max() < 2


def test_masks_of_another_field_are_refused(world) -> None:
    field = read_field(world.sources[0], pixel_size_um=0.3)
    cells = world.table.cells.iloc[:1].assign(**{Column.CELL_RLE: "11"})
    with pytest.raises(ValueError, match="of cell 3"):
        overlay(field, cells, world.table.class_set)


def test_lines_lie_on_the_edge_of_the_pixels() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    square = np.float32([[2.625, 2.625], [7.625, 2.625], [7.625, 7.625], [2.625, 7.625]])
    draw_lines(picture, [square], (255, 255, 255), scale=4, width_px=1)
    y, x = np.nonzero(picture[..., 0] > 128)
    assert (x.min(), x.max(), y.min(), y.max()) == (10, 30, 10, 30)


@pytest.mark.parametrize(("num_cells", "has_names"), [(9, True), (400, False)])
def test_of_many_cells_only_the_ids_are_written(monkeypatch, num_cells: int, has_names: bool) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "PIL.ImageDraw.ImageDraw.multiline_text", lambda self, place, text, **_: written.append(text)
    )
    marks = [
        CellMark(
            cell_id=number + 1,
            outlines_px=[],
            middle_px=(number % 20 * 50.0, number // 20 * 40.0),
            color=(255, 0, 0),
            classes=("Actin filaments",),
            is_sure=True,
        )
        for number in range(num_cells)
    ]
    draw_marks(np.zeros((800, 1024, 3), np.uint8), marks, scale=1.0)
    assert written == [mark.words if has_names else str(mark.cell_id) for mark in marks]
