from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.simulation import RealLayout
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.simulation.real_layout import View, draw_view, surrounded

CANVAS = Canvas(height_px=40, width_px=60, pixel_size_um=0.5)


def checkered(height: int, width: int) -> RealLayout:
    """Squares of 5 px with ids that have gaps; every one has a nucleus in its middle."""
    rows, columns = np.indices((height, width))
    cells = (7 + 3 * (rows // 5) + 1000 * (columns // 5)).astype(np.int32)
    nuclei = np.where((rows % 5 == 2) & (columns % 5 == 2), cells, 0).astype(np.int32)
    return RealLayout(cells=cells, nuclei=nuclei, pixel_size_um=1.0)


def slow_surrounded(cells: np.ndarray, margin: int) -> np.ndarray:
    """Pixel by pixel: the mirror image, and which tile it lies in."""
    height, width = cells.shape
    across = len({column // width for column in range(-margin, width + margin)})
    down = len({row // height for row in range(-margin, height + margin)})
    first_row, first_column = -margin // height, -margin // width
    middle = -first_row * across - first_column
    result = np.zeros((height + 2 * margin, width + 2 * margin), dtype=np.int32)
    for row in range(-margin, height + margin):
        for column in range(-margin, width + margin):
            y, x = row % (2 * height), column % (2 * width)
            cell = cells[min(y, 2 * height - 1 - y), min(x, 2 * width - 1 - x)]
            tile = (row // height - first_row) * across + column // width - first_column
            tile = (tile - middle) % (across * down)
            result[row + margin, column + margin] = cell + tile * (cells.max() + 1) if cell else 0
    return result


def test_labels_of_another_type_or_shape_are_refused() -> None:
    cells = np.zeros((4, 5), dtype=np.int32)
    with pytest.raises(TypeError, match=r"cells are uint8 \(4, 5\), expected int32"):
        RealLayout(cells=cells.astype(np.uint8), nuclei=None, pixel_size_um=0.1)
    with pytest.raises(TypeError, match=r"nuclei are int32 \(5, 4\), expected int32 \(H, W\) of one shape"):
        RealLayout(cells=cells, nuclei=cells.T.copy(), pixel_size_um=0.1)
    with pytest.raises(ValueError, match="pixel_size_um is 0, expected a positive number"):
        RealLayout(cells=cells, nuclei=None, pixel_size_um=0)


@given(height=st.integers(1, 7), width=st.integers(1, 7), margin=st.integers(0, 16), seed=st.integers(0, 99))
def test_mirror_images_are_those_of_the_slow_way(height: int, width: int, margin: int, seed: int) -> None:
    cells = np.random.default_rng(seed).integers(0, 4, (height, width), dtype=np.int32)
    layout = RealLayout(cells=cells, nuclei=cells, pixel_size_um=0.25)
    mirrored = surrounded(layout, margin * 0.25)
    np.testing.assert_array_equal(mirrored.cells, slow_surrounded(cells, margin))
    np.testing.assert_array_equal(mirrored.nuclei, mirrored.cells)


def test_a_view_samples_what_its_positions_say() -> None:
    layout = checkered(50, 70)
    view = View(
        matrix=np.array([[0.0, -1.0], [1.0, 0.0]]) / 1.25,
        canvas_middle_um=np.array([10.0, 15.0]),
        layout_middle_um=np.array([24.0, 33.0]),
        bend_um=(np.zeros(CANVAS.shape, dtype=np.float32),) * 2,
    )
    seen = view.sample(layout.cells, 1.0, CANVAS.pixel_size_um)
    assert view.scale == pytest.approx(1.25)
    for place in ([24.0, 33.0], [22.0, 37.0], [27.0, 32.0]):
        row, column = np.rint(view.to_canvas(np.array(place)) / CANVAS.pixel_size_um).astype(int)
        assert seen[row, column] == layout.cells[int(place[0]), int(place[1])]


@pytest.mark.parametrize("shape", [(50, 70), (12, 9), (200, 300)])
def test_views_are_full_to_their_corners(shape: tuple[int, int]) -> None:
    layout = checkered(*shape)
    scales, angles = [], []
    for seed in range(40):
        whole, view = draw_view(CANVAS, layout, np.random.default_rng(seed))
        assert view.sample(whole.cells, whole.pixel_size_um, CANVAS.pixel_size_um).min() > 0
        scales.append(view.scale)
        angles.append(np.arctan2(view.matrix[1, 0], view.matrix[0, 0]) / (np.pi / 2))
    assert 0.8 <= min(scales) < 0.87
    assert 1.15 < max(scales) <= 1.25
    by_quarters = np.isclose(angles, np.rint(angles))
    assert 8 < by_quarters.sum() < 32
