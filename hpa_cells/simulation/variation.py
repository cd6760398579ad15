"""Fields of one recipe that are not made alike: optics, light, crowding and shape differ from field to field.

Randomising what does not matter teaches a network to look at what does [1]_.

References
----------
.. [1] Tobin et al., "Domain randomization for transferring deep neural networks from simulation to the real
   world", IROS 2017, arXiv 1703.06907.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from hpa_cells.simulation.cell_lines import CellLine
from hpa_cells.simulation.recipe import LIMITS, Recipe

__all__ = ["line_of_field", "recipe_of_field"]

# Factors on the values of the recipe at variation 1, drawn evenly on a logarithmic scale.
_FACTORS: Final[dict[str, tuple[float, float]]] = {
    "crowding": (0.5, 1.6),
    "mitotic_share": (0.5, 5.0),
    "binucleated_share": (0.5, 4.0),
    "contrast": (0.5, 1.6),
    "expression_spread": (0.5, 1.8),
    "photons": (0.15, 5.0),
    "read_noise": (0.3, 4.0),
    "background": (0.3, 5.0),
    "bleed_through": (0.3, 5.0),
    "uneven_light": (0.3, 2.0),
    "blur": (0.75, 1.8),
    "haze": (0.3, 3.5),
    "debris_per_field": (0.3, 6.0),
}
# Standard deviations of the logarithm at variation 1.
_SPREAD_OF_LINE: Final[dict[str, float]] = {
    "roughness": 0.35,
    "nucleus_roughness": 0.4,
    "nucleus_radius_um": 0.08,
    "num_microtubules": 0.3,
}
_SPREAD_OF_SIZE, _SPREAD_OF_LENGTH = 0.15, 0.3


def recipe_of_field(recipe: Recipe, index: int) -> Recipe:
    """The recipe of field `index` alone; `recipe` itself where its variation is 0."""
    if recipe.variation == 0:
        return recipe
    # A stream of its own: labels and pixels have theirs.
    rng = np.random.default_rng([recipe.seed, index, 2])
    values: dict[str, Any] = {}
    for name, (lowest, highest) in _FACTORS.items():
        factor = math.exp(recipe.variation * rng.uniform(math.log(lowest), math.log(highest)))
        values[name] = float(np.clip(getattr(recipe, name) * factor, *LIMITS[name]))
    # A hair more, so that rounding does not lift the sum above 1.
    unusual = max((values["mitotic_share"] + values["binucleated_share"]) * (1 + 1e-9), 1.0)
    values["mitotic_share"] /= unusual
    values["binucleated_share"] /= unusual
    return replace(recipe, **values)


def line_of_field(line: CellLine, variation: float, rng: np.random.Generator) -> CellLine:
    """A cell line as it is on one field: larger or smaller, longer or rounder, rougher or smoother."""
    if variation == 0:
        return line
    size = rng.lognormal(0, variation * _SPREAD_OF_SIZE)
    changed = {
        name: getattr(line, name) * rng.lognormal(0, variation * spread)
        for name, spread in _SPREAD_OF_LINE.items()
    }
    return replace(
        line,
        spacing_um=line.spacing_um * size,
        radius_um=line.radius_um * size,
        elongation=1 + (line.elongation - 1) * rng.lognormal(0, variation * _SPREAD_OF_LENGTH),
        roughness=min(changed["roughness"], 0.5),
        nucleus_radius_um=changed["nucleus_radius_um"] * size**0.6,
        nucleus_roughness=min(changed["nucleus_roughness"], 0.15),
        num_microtubules=round(changed["num_microtubules"]),
    )
