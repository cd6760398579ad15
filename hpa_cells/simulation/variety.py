"""How far fields for the training of a segmenter may differ from each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

__all__ = ["Variety"]

_LIMITS = {
    "seed": (0, 2**32 - 1),
    "side_px": (32, 4096),
    "um_per_px": (0.02, 2.0),
    "smallest_um_per_px": (0.02, 2.0),
    "largest_um_per_px": (0.02, 2.0),
    "lowest_crowding": (0.1, 3.0),
    "highest_crowding": (0.1, 3.0),
    "fewest_photons": (0.5, 10_000.0),
    "most_photons": (0.5, 10_000.0),
    "lowest_blur": (0.1, 10.0),
    "highest_blur": (0.1, 10.0),
    "highest_haze": (0.0, 0.9),
    "highest_background": (0.0, 0.5),
    "highest_read_noise": (0.0, 0.5),
    "highest_bleed_through": (0.0, 0.5),
    "highest_uneven_light": (0.0, 1.0),
    "highest_stain_spread": (0.0, 2.0),
    "most_debris": (0.0, 1000.0),
    "lowest_gain": (0.05, 20.0),
    "highest_gain": (0.05, 20.0),
}
_RANGES = (
    ("smallest_um_per_px", "largest_um_per_px"),
    ("lowest_crowding", "highest_crowding"),
    ("fewest_photons", "most_photons"),
    ("lowest_blur", "highest_blur"),
    ("lowest_gain", "highest_gain"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variety:
    """Ranges that each field's recipe is drawn from, and how often something unusual is on it.

    What has a lowest and a highest value is drawn evenly on a logarithmic scale. What ends with `_share` is a
    share of the fields, from 0 to 1; they are drawn independently of each other, except that a field is empty,
    or holds debris only, or neither.

    Attributes
    ----------
    seed
        Chooses the stream of fields. Field `index` of a variety is the same whichever others are made.
    side_px, um_per_px
        Size of all fields, and of their pixels.
    smallest_um_per_px, largest_um_per_px
        Pixel size of the microscope, most often near the largest: a field is imaged with it, and brought to
        `um_per_px` like a real one.
    lowest_crowding, highest_crowding
        Number of cells an area, relative to the real one of the line.
    fewest_photons, most_photons, lowest_blur, highest_blur, highest_haze, highest_background
        As in `Recipe`; these and the next ones that have no lowest value begin at 0.
    highest_read_noise, highest_bleed_through, highest_uneven_light, most_debris
        As in `Recipe`.
    highest_stain_spread
        Cell-to-cell spread of the reference stains: standard deviation of their logarithm.
    lowest_gain, highest_gain
        What a channel is multiplied with before it is clipped, where `gain_share` wants it to be.
    gain_share
        Fields whose channels have gains other than a good operator's.
    layout_share
        Fields whose cells have given outlines, where some are given.
    empty_share, debris_only_share
        Fields without any cell: with nothing but noise and background, and with dirt on it.
    missing_share, dead_share
        Fields without microtubules or ER: all zero, or nothing but noise.
    nuclei_only_share
        Fields without both.
    sixteen_bit_share
        Fields of 16 bit; the others have 8.
    elongated_share, dividing_share, binucleated_share
        Fields of which all cells are spindly, or many divide, or many have two nuclei.
    artefact_share
        Fields with large bright debris and dead cells that float out of focus.
    """

    seed: int = 0
    side_px: int = 512
    um_per_px: float = 0.32
    smallest_um_per_px: float = 0.05
    largest_um_per_px: float = 0.4
    lowest_crowding: float = 0.2
    highest_crowding: float = 2.4
    fewest_photons: float = 8.0
    most_photons: float = 1500.0
    lowest_blur: float = 0.7
    highest_blur: float = 5.0
    highest_haze: float = 0.5
    highest_background: float = 0.12
    highest_read_noise: float = 0.05
    highest_bleed_through: float = 0.12
    highest_uneven_light: float = 0.6
    highest_stain_spread: float = 0.7
    most_debris: float = 25.0
    lowest_gain: float = 0.2
    highest_gain: float = 5.0
    gain_share: float = 0.4
    layout_share: float = 0.4
    empty_share: float = 0.04
    debris_only_share: float = 0.04
    missing_share: float = 0.12
    dead_share: float = 0.06
    nuclei_only_share: float = 0.03
    sixteen_bit_share: float = 0.2
    elongated_share: float = 0.12
    dividing_share: float = 0.1
    binucleated_share: float = 0.1
    artefact_share: float = 0.15

    def __post_init__(self) -> None:
        shares = {each.name: (0.0, 1.0) for each in fields(self) if each.name.endswith("_share")}
        for name, (lowest, highest) in (_LIMITS | shares).items():
            value = getattr(self, name)
            if not (math.isfinite(value) and lowest <= value <= highest):
                raise ValueError(f"Variety: {name} is {value}, expected a number from {lowest} to {highest}.")
        for low, high in _RANGES:
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"Variety: {low} is {getattr(self, low)} and {high} {getattr(self, high)}: swap them."
                )
        for kinds in (
            ("empty_share", "debris_only_share"),
            ("missing_share", "dead_share", "nuclei_only_share"),
        ):
            total = sum(getattr(self, name) for name in kinds)
            if total > 1:
                raise ValueError(f"Variety: {', '.join(kinds)} add up to {total:g}, expected 1 or less.")
