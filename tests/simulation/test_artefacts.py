from __future__ import annotations

import numpy as np

from hpa_cells.simulation.artefacts import draw_artefacts
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.types import Channel

CANVAS = Canvas(height_px=150, width_px=200, pixel_size_um=0.4)


def test_artefacts_are_bright_somewhere_and_nowhere_negative() -> None:
    brightest = []
    for seed in range(10):
        light = draw_artefacts(CANVAS, np.random.default_rng(seed))
        assert set(light) == set(Channel)
        assert all(each.shape == CANVAS.shape and each.min() > -1e-4 for each in light.values())
        brightest.append(max(float(each.max()) for each in light.values()))
    assert sum(value > 0.3 for value in brightest) > 5


def test_dark_where_nothing_lies() -> None:
    light = draw_artefacts(CANVAS, np.random.default_rng(0))[Channel.ER]
    assert np.quantile(light, 0.2) < 0.02
