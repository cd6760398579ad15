from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import ellipse

from hpa_cells.simulation.real_layout import View
from hpa_cells.simulation.shapes import measure_shapes, seen_through


def test_an_ellipse_has_its_radius_axis_and_elongation() -> None:
    labels = np.zeros((200, 240), dtype=np.int32)
    # Twenty by sixty px, turned by 30 degrees from the x axis towards larger y.
    labels[ellipse(90, 120, 20, 60, rotation=-np.pi / 6)] = 2
    labels[3:6, 4:7] = 1
    shapes = measure_shapes(labels, 2, 0.5, np.random.default_rng(0))
    assert shapes.radii_um[1] == pytest.approx(0.5 * np.sqrt(20 * 60), rel=0.01)
    assert shapes.elongations[1] == pytest.approx(3, rel=0.02)
    assert np.tan(shapes.axes[1]) == pytest.approx(np.tan(np.pi / 6), rel=0.03)
    assert shapes.depths_um[1] > 0.75 * 10
    row, column = (shapes.middles_um[1] / 0.5).astype(int)
    assert labels[row, column] == 2
    np.testing.assert_allclose(shapes.middles_um[0], [2.0, 2.5])


def test_no_labels_are_no_shapes() -> None:
    shapes = measure_shapes(np.zeros((5, 5), dtype=np.int32), 0, 1.0, np.random.default_rng(0))
    assert shapes.middles_um.shape == (0, 2)
    assert shapes.radii_um.shape == (0,)


def test_a_view_turns_and_scales_shapes() -> None:
    labels = np.zeros((60, 60), dtype=np.int32)
    labels[20:24, 10:50] = 1
    shapes = measure_shapes(labels, 1, 1.0, np.random.default_rng(0))
    view = View(
        matrix=np.array([[0.0, -1.0], [1.0, 0.0]]) / 2,
        canvas_middle_um=np.zeros(2),
        layout_middle_um=np.zeros(2),
        bend_um=(np.zeros((2, 2), dtype=np.float32),) * 2,
    )
    seen = seen_through(shapes, view)
    assert seen.radii_um[0] == pytest.approx(2 * shapes.radii_um[0])
    assert seen.depths_um[0] == pytest.approx(2 * shapes.depths_um[0])
    assert abs(np.sin(shapes.axes[0])) == pytest.approx(0, abs=1e-6)
    assert abs(np.sin(seen.axes[0])) == pytest.approx(1)
