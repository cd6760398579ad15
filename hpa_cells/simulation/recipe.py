"""The recipe of a simulated data set: what its fields look like and how weak its labels are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hpa_cells.simulation.cell_lines import CELL_LINES

__all__ = ["LIMITS", "Recipe"]

_LARGEST_SIDE_PX = 16_384
# Lowest and highest value of each setting that is a number.
LIMITS = {
    "seed": (0, 2**32 - 1),
    "height_px": (32, _LARGEST_SIDE_PX),
    "width_px": (32, _LARGEST_SIDE_PX),
    "pixel_size_um": (0.02, 2.0),
    "crowding": (0.1, 3.0),
    "class_floor": (0.0, 0.04),
    "label_noise": (0.0, 1.0),
    "weakness": (0.0, 1.5),
    "agreement": (0.1, 1000.0),
    "mitotic_share": (0.0, 1.0),
    "binucleated_share": (0.0, 1.0),
    "contrast": (0.1, 20.0),
    "expression_spread": (0.0, 2.0),
    "photons": (0.5, 10_000.0),
    "read_noise": (0.0, 0.5),
    "background": (0.0, 0.5),
    "bleed_through": (0.0, 0.5),
    "uneven_light": (0.0, 1.0),
    "blur": (0.1, 10.0),
    "haze": (0.0, 0.9),
    "debris_per_field": (0.0, 1000.0),
    "variation": (0.0, 1.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How simulated fields are made; equal recipes give equal fields.

    Attributes
    ----------
    seed
        Chooses the data set. Field `index` of a recipe is the same whichever other fields are made.
    height_px, width_px
        Size of a field.
    pixel_size_um
        Side of a pixel. All structures have their size in um: a larger pixel shows more cells in less detail.
    bit_depth
        8 or 16.
    cell_lines
        Names of the lines to mix, by their real shares; empty for all of `CELL_LINES`.
    crowding
        Number of cells an area, relative to the real one of the line.
    class_floor
        Every class is on at least this share of the fields, where the real frequency is lower.
    label_noise
        Share of fields with one wrong label: one left out, added or swapped.
    weakness
        1: a cell shows a label of its field with the real probability; 0: always; 1.5: half as often again not.
    agreement
        How alike fields of one label are in the share of their cells that show it: concentration of a beta
        distribution. Real fields are far apart: half of the classes are below 2.5.
    mitotic_share, binucleated_share
        Share of cells in mitosis, and with two nuclei.
    contrast
        Brightness of the protein against what antibodies leave everywhere; 1 is as in reality.
    expression_spread
        Cell-to-cell spread of the protein's brightness: standard deviation of its logarithm.
    photons
        Photons in a bright spot of the size of a pixel of 0.08 um: fewer give grainier fields.
    read_noise, background
        Detector noise, and what it shows without any cell; shares of full scale.
    bleed_through
        Share of a channel that leaks into its spectral neighbour.
    uneven_light
        Loss of light in the darkest corner, as a share.
    blur
        Width of the point spread function, relative to that of the real microscope (confocal, 63x, NA 1.4).
    haze
        Share of light that comes from out of focus.
    debris_per_field
        Mean number of pieces of dirt on an area of 164 by 164 um (a real field).
    has_er
        Whether the ER channel is imaged.
    variation
        0: all fields are made as said above. Up to 1: crowding, light, optics and the shape of cells differ from
        field to field around it; see `hpa_cells.simulation.variation`.
    """

    seed: int = 0
    height_px: int = 1024
    width_px: int = 1024
    pixel_size_um: float = 0.16
    bit_depth: int = 8
    cell_lines: list[str] = field(default_factory=list)
    crowding: float = 1.0
    class_floor: float = 0.02
    label_noise: float = 0.04
    weakness: float = 1.0
    agreement: float = 2.5
    mitotic_share: float = 0.02
    binucleated_share: float = 0.03
    contrast: float = 1.0
    expression_spread: float = 0.35
    photons: float = 220.0
    read_noise: float = 0.008
    background: float = 0.01
    bleed_through: float = 0.015
    uneven_light: float = 0.2
    blur: float = 1.0
    haze: float = 0.1
    debris_per_field: float = 3.0
    has_er: bool = True
    variation: float = 0.0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and lowest <= value <= highest):
                raise ValueError(f"Recipe: {name} is {value}, expected a number from {lowest} to {highest}.")
        if self.bit_depth not in (8, 16):
            raise ValueError(f"Recipe: bit_depth is {self.bit_depth}, expected 8 or 16.")
        unusual = self.mitotic_share + self.binucleated_share
        if unusual > 1:
            raise ValueError(
                f"Recipe: mitotic_share and binucleated_share add up to {unusual}, expected 1 or less."
            )
        unknown = [name for name in self.cell_lines if name not in CELL_LINES]
        if unknown:
            raise ValueError(
                f"Recipe: cell line {', '.join(unknown)} is unknown: use some of {', '.join(CELL_LINES)}."
            )
