"""Simulated fields as training fields."""

from __future__ import annotations

import pytest

from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.training.segmenter.training_field import TrainingField, training_field

UM_PER_PX = 0.32


@pytest.fixture(scope="session")
def fields() -> list[TrainingField]:
    """Three of 320 x 384 px, the last as if only its nuclei were known."""
    made = []
    for index, source in enumerate(("simulated", "cells", "nuclei")):
        simulated = simulate_field(Recipe(height_px=640, width_px=768, pixel_size_um=0.16), index)
        made.append(
            training_field(simulated.field, simulated.segmentation, source=source, um_per_px=UM_PER_PX)
        )
    return made
