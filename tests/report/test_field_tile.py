from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.report import field_tile
from hpa_cells.report.composite import mix_channels


@pytest.mark.parametrize(("height", "width"), [(60, 60), (30, 60), (60, 20), (200, 100), (1, 300)])
def test_a_field_of_any_shape_lies_in_the_middle_of_a_square(height: int, width: int) -> None:
    channels = np.full((4, height, width), 200, dtype=np.uint8)
    tile = field_tile(channels, side_px=60)
    assert tile.shape == (60, 60, 3)
    is_field = (tile != 255).any(axis=2)
    scale = 60 / max(height, width)
    assert is_field.sum() == max(1, round(height * scale)) * max(1, round(width * scale))
    rows, columns = np.flatnonzero(is_field.any(axis=1)), np.flatnonzero(is_field.any(axis=0))
    assert abs(rows[0] - (59 - rows[-1])) <= 1
    assert abs(columns[0] - (59 - columns[-1])) <= 1
    np.testing.assert_array_equal(tile[rows[0], columns[0]], mix_channels(channels[:, :1, :1])[0, 0])


def test_a_shrunken_field_is_the_mean_of_its_pixels() -> None:
    channels = np.random.default_rng(0).integers(0, 200, (4, 40, 40), dtype=np.uint8)
    means = channels.reshape(4, 10, 4, 10, 4).mean(axis=(2, 4))
    expected = mix_channels(np.round(means).astype(np.uint8))
    assert np.abs(field_tile(channels, side_px=10).astype(int) - expected).max() <= 2
