from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from hpa_cells.simulation import CELL_LINES
from hpa_cells.simulation.anatomy import Anatomy, build_anatomy
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.simulation.labels import CellState, FieldPlan
from hpa_cells.simulation.priors import CLASS_SET

MakeAnatomy: TypeAlias = Callable[..., Anatomy]


@pytest.fixture(scope="session")
def make_anatomy() -> MakeAnatomy:
    """Cells in given states, on 70 x 90 um."""

    def make(*states: CellState, line: str = "U-2 OS", pixel_size_um: float = 0.25, seed: int = 0) -> Anatomy:
        labels = np.zeros((len(states), len(CLASS_SET)), dtype=bool)
        plan = FieldPlan(
            cell_line=CELL_LINES[line],
            field_labels=labels[0],
            cell_labels=labels,
            states=np.array(states, dtype=np.int8),
        )
        canvas = Canvas(
            height_px=round(70 / pixel_size_um),
            width_px=round(90 / pixel_size_um),
            pixel_size_um=pixel_size_um,
        )
        return build_anatomy(canvas, plan, np.random.default_rng(seed))

    return make


@pytest.fixture(scope="session")
def anatomy(make_anatomy: MakeAnatomy) -> Anatomy:
    """Twelve cells, three of them dividing, one with two nuclei."""
    return make_anatomy(
        *[CellState.INTERPHASE] * 8,
        CellState.BINUCLEATED,
        CellState.PROMETAPHASE,
        CellState.METAPHASE,
        CellState.ANAPHASE,
    )
