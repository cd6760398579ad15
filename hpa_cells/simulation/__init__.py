"""Simulated fields that look like those of the Human Protein Atlas, with the truth of every cell."""

from __future__ import annotations

from hpa_cells.simulation.cell_lines import CELL_LINES, CellLine
from hpa_cells.simulation.field import SimulatedField, simulate_field
from hpa_cells.simulation.labels import SimulatedLabels, simulate_labels
from hpa_cells.simulation.real_layout import RealLayout
from hpa_cells.simulation.recipe import Recipe
from hpa_cells.simulation.varied_field import vary
from hpa_cells.simulation.variety import Variety

__all__ = [
    "CELL_LINES",
    "CellLine",
    "RealLayout",
    "Recipe",
    "SimulatedField",
    "SimulatedLabels",
    "Variety",
    "simulate_field",
    "simulate_labels",
    "vary",
]
