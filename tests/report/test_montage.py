from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.cells import normalise_field
from hpa_cells.fields import read_field
from hpa_cells.report import cell_tile, montage


def test_a_tile_shows_the_cell_and_darkens_the_rest(world, label_images) -> None:
    channels = normalise_field(read_field(world.sources[0], pixel_size_um=0.3))
    tile = cell_tile(channels, label_images["first"], world.table.cells.iloc[0], side_px=96)
    assert tile.shape == (96, 96, 3)
    assert tile.dtype == np.uint8
    assert tile[48, 48, 1] > 200
    assert tile[2, 2].max() < 60
    assert tile[48, 48, 1] > tile[48, 48, 0]


@pytest.mark.parametrize("side_px", [16, 33, 300])
def test_a_cell_at_the_corner_of_the_field(world, label_images, side_px: int) -> None:
    channels = normalise_field(read_field(world.sources[0], pixel_size_um=0.3))
    for row in range(3):
        tile = cell_tile(channels, label_images["first"], world.table.cells.iloc[row], side_px=side_px)
        assert tile.shape == (side_px, side_px, 3)


def test_beyond_the_field_it_is_black(make_table) -> None:
    labels = np.zeros((30, 30), np.int32)
    labels[:10, :3] = 1
    table = make_table({"a": labels})
    tile = cell_tile(np.full((4, 30, 30), 255, np.uint8), labels, table.cells.iloc[0], side_px=60)
    assert not tile[:, :5].any()


def test_tiles_stand_in_rows() -> None:
    tiles = [np.full((10, 10, 3), value, np.uint8) for value in (1, 2, 3)]
    picture = montage(tiles, num_columns=2)
    assert picture.shape == (22, 22, 3)
    assert picture[0, 0, 0] == 1
    assert picture[0, 12, 0] == 2
    assert picture[12, 0, 0] == 3
    assert not picture[12:, 12:].any()
    assert not picture[10:12].any()
    assert montage(tiles, num_columns=3).shape == (10, 34, 3)
