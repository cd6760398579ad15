"""Simulated fields that look like those of the Human Protein Atlas, with the truth of every cell."""

from __future__ import annotations

from hpa_cells.simulation.cell_lines import CELL_LINES, CellLine
from hpa_cells.simulation.field import SimulatedField, simulate_field
from hpa_cells.simulation.labels import SimulatedLabels, simulate_labels
from hpa_cells.simulation.recipe import Recipe

__all__ = [
    "CELL_LINES",
    "CellLine",
    "Recipe",
    "SimulatedField",
    "SimulatedLabels",
    "simulate_field",
    "simulate_labels",
]
