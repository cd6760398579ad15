"""The cell lines that can be simulated: shape, size and crowding of each, in um.

The figures are rounded from what the Human Protein Atlas shows of these lines: epithelial sheets, spindly
glial cells and fibroblasts, small neuroblastoma cells and large flat ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CELL_LINES", "CellLine"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellLine:
    """What distinguishes a cell line in a field.

    Attributes
    ----------
    name
        As the Human Protein Atlas spells it.
    share
        How often it is imaged, relative to the others.
    spacing_um
        Typical distance between neighbouring cells: it sets their number.
    radius_um
        Radius of a free, round cell of the same area.
    elongation
        Mean ratio of length to width.
    roughness
        How far the outline departs from an ellipse, 0 (smooth) to 0.5 (spiky).
    clumping
        0: cells spread evenly; 1: cells sit in islands.
    nucleus_radius_um
        Radius of a round nucleus of the same area.
    nucleus_roughness
        How lobed the nuclei are, 0 to 0.3.
    num_microtubules
        Filaments a cell of mean size.
    """

    name: str
    share: float
    spacing_um: float
    radius_um: float
    elongation: float
    roughness: float
    clumping: float
    nucleus_radius_um: float
    nucleus_roughness: float
    num_microtubules: int

    @property
    def margin_um(self) -> float:
        """Width of the margin around a field in which cells are placed too, so that its edges are as full."""
        return 0.5 * self.spacing_um


CELL_LINES: Final[dict[str, CellLine]] = {
    line.name: line
    for line in (
        CellLine(
            name="U-2 OS", share=0.42, spacing_um=39, radius_um=25, elongation=1.5, roughness=0.26,
            clumping=0.1, nucleus_radius_um=8.8, nucleus_roughness=0.05, num_microtubules=450,
        ),
        CellLine(
            name="A-431", share=0.20, spacing_um=29, radius_um=19, elongation=1.25, roughness=0.16,
            clumping=0.5, nucleus_radius_um=8.0, nucleus_roughness=0.09, num_microtubules=390,
        ),
        CellLine(
            name="U-251 MG", share=0.16, spacing_um=37, radius_um=24, elongation=2.1, roughness=0.34,
            clumping=0.1, nucleus_radius_um=8.8, nucleus_roughness=0.12, num_microtubules=450,
        ),
        CellLine(
            name="HEK 293", share=0.05, spacing_um=23, radius_um=14, elongation=1.4, roughness=0.24,
            clumping=0.7, nucleus_radius_um=6.6, nucleus_roughness=0.07, num_microtubules=270,
        ),
        CellLine(
            name="SH-SY5Y", share=0.05, spacing_um=24, radius_um=13, elongation=1.8, roughness=0.38,
            clumping=0.6, nucleus_radius_um=6.2, nucleus_roughness=0.06, num_microtubules=240,
        ),
        CellLine(
            name="HaCaT", share=0.04, spacing_um=27, radius_um=19, elongation=1.2, roughness=0.12,
            clumping=0.3, nucleus_radius_um=7.6, nucleus_roughness=0.07, num_microtubules=390,
        ),
        CellLine(
            name="PC-3", share=0.04, spacing_um=33, radius_um=20, elongation=1.5, roughness=0.3,
            clumping=0.4, nucleus_radius_um=8.2, nucleus_roughness=0.13, num_microtubules=330,
        ),
        CellLine(
            name="BJ", share=0.04, spacing_um=48, radius_um=28, elongation=3.2, roughness=0.2,
            clumping=0.0, nucleus_radius_um=9.0, nucleus_roughness=0.03, num_microtubules=510,
        ),
    )
}  # fmt: skip
