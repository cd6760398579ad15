"""The protein channel: for every class its pattern, in the cells that show it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation import cytoplasmic_patterns as cytoplasmic
from hpa_cells.simulation import fibre_patterns as fibres
from hpa_cells.simulation import nuclear_patterns as nuclear
from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.cytoplasmic_patterns import SMALLEST_DOT_UM2
from hpa_cells.simulation.fibre_patterns import Microtubules
from hpa_cells.simulation.priors import CLASS_SET
from hpa_cells.simulation.recipe import Recipe

__all__ = ["draw_protein", "protein_patterns"]

Pattern: TypeAlias = Callable[[Anatomy, NDArray[np.float32], np.random.Generator], FloatImage]

_UNSPECIFIC_LIGHT = 0.022
# Many antibodies leave fine dots all over cells and nuclei: how many, and their brightness at most.
_DOTS_PER_UM2 = (0.3, 2.0)
_BRIGHTEST_DOTS = 0.2


def draw_protein(
    anatomy: Anatomy,
    recipe: Recipe,
    rng: np.random.Generator,
    *,
    grown_microtubules: Microtubules,
    grown_er: FloatImage,
) -> FloatImage:
    """(H, W) light: the patterns that cells show, on what the antibody leaves in every cell.

    The gain is turned down where too much would be overexposed, but never up: a Negative field is dark.
    """
    num_cells = anatomy.num_cells
    everywhere = _UNSPECIFIC_LIGHT * rng.lognormal(0, 0.65) * rng.lognormal(0, 0.25, num_cells)
    light = anatomy.per_pixel(everywhere) * anatomy.slope * np.exp(0.6 * anatomy.canvas.noise(rng, 0.25))
    light = light + _unspecific_dots(anatomy, rng)
    expression = rng.lognormal(0, recipe.expression_spread, num_cells) * recipe.contrast
    expression *= rng.uniform(0.5, 1.1)
    patterns = protein_patterns(grown_microtubules, grown_er)
    for index, key in enumerate(CLASS_SET.keys):
        shown = anatomy.plan.cell_labels[:, index]
        if key in patterns and shown.any():
            amplitudes = rng.uniform(0.6, 1.0) * expression * shown
            light = light + patterns[key](anatomy, amplitudes.astype(np.float32), rng)
    overexposed = max(float(np.quantile(light[::3, ::3], 0.995)), 1.0)
    exposed: FloatImage = light / np.float32(overexposed)
    return exposed


def _unspecific_dots(anatomy: Anatomy, rng: np.random.Generator) -> FloatImage:
    """Dots that mean nothing: faint in most fields, plain in some."""
    canvas = anatomy.canvas
    number = rng.poisson(rng.uniform(*_DOTS_PER_UM2) * np.prod(canvas.size_um))
    places = (rng.random((number, 2)) * canvas.size_um).astype(np.float32)
    peak = _BRIGHTEST_DOTS * rng.random() ** 2 * rng.lognormal(-0.2, 0.5, number)
    sigma_um = rng.uniform(0.08, 0.16)
    light = 2 * np.pi * (sigma_um**2 + SMALLEST_DOT_UM2) * peak
    dots = canvas.blur(canvas.points(places, light.astype(np.float32)), sigma_um)
    inside: FloatImage = dots * anatomy.slope * (anatomy.cells > 0)
    return inside


def protein_patterns(grown_microtubules: Microtubules, grown_er: FloatImage) -> dict[str, Pattern]:
    """How each class looks; Negative looks like nothing."""
    on_microtubules = partial(fibres.microtubules, grown=grown_microtubules)
    return {
        "nucleoplasm": nuclear.nucleoplasm,
        "nuclear_membrane": nuclear.nuclear_membrane,
        "nucleoli": nuclear.nucleoli,
        "nucleoli_fibrillar_center": nuclear.fibrillar_centers,
        "nuclear_speckles": nuclear.nuclear_speckles,
        "nuclear_bodies": nuclear.nuclear_bodies,
        "endoplasmic_reticulum": partial(cytoplasmic.endoplasmic_reticulum, grown=grown_er),
        "golgi_apparatus": fibres.golgi_apparatus,
        "intermediate_filaments": fibres.intermediate_filaments,
        "actin_filaments": fibres.actin_filaments,
        "microtubules": on_microtubules,
        "mitotic_spindle": on_microtubules,
        "centrosome": cytoplasmic.centrosome,
        "plasma_membrane": cytoplasmic.plasma_membrane,
        "mitochondria": fibres.mitochondria,
        "aggresome": cytoplasmic.aggresome,
        "cytosol": cytoplasmic.cytosol,
        "vesicles": cytoplasmic.vesicles,
    }
