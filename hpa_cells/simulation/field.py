"""A simulated field: its four channels, its cells and what each of them truly shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation import cytoplasmic_patterns as cytoplasmic
from hpa_cells.simulation import nuclear_patterns as nuclear
from hpa_cells.simulation.anatomy import Anatomy, build_anatomy
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.debris import draw_debris
from hpa_cells.simulation.filaments import Filaments
from hpa_cells.simulation.labels import FieldPlan, draw_plan, field_streams
from hpa_cells.simulation.optics import expose
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE
from hpa_cells.simulation.recipe import Recipe
from hpa_cells.simulation.references import (
    er_pattern,
    grow_microtubules,
    grow_spindles,
    microtubule_pattern,
    nucleus_channel,
)
from hpa_cells.types import Channel, Field, Segmentation

__all__ = ["SimulatedField", "render_field", "simulate_field"]

_SMALLEST_VISIBLE_NUCLEUS_UM2 = 10.0

_PATTERNS: dict[str, Callable[[Anatomy, NDArray[np.floating], np.random.Generator], FloatImage]] = {
    "nucleoplasm": nuclear.nucleoplasm,
    "nuclear_membrane": nuclear.nuclear_membrane,
    "nucleoli": nuclear.nucleoli,
    "nucleoli_fibrillar_center": nuclear.fibrillar_centers,
    "nuclear_speckles": nuclear.nuclear_speckles,
    "nuclear_bodies": nuclear.nuclear_bodies,
    "endoplasmic_reticulum": er_pattern,
    "golgi_apparatus": cytoplasmic.golgi_apparatus,
    "intermediate_filaments": cytoplasmic.intermediate_filaments,
    "actin_filaments": cytoplasmic.actin_filaments,
    "centrosome": cytoplasmic.centrosome,
    "plasma_membrane": cytoplasmic.plasma_membrane,
    "mitochondria": cytoplasmic.mitochondria,
    "aggresome": cytoplasmic.aggresome,
    "cytosol": cytoplasmic.cytosol,
    "vesicles": cytoplasmic.vesicles,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedField:
    """A field with its truth.

    Attributes
    ----------
    field
        The picture.
    segmentation
        The true masks. Cells whose nucleus lies outside the field are not in it.
    cell_labels
        (N, 19) bool, what each cell of `segmentation.cell_ids` shows.
    field_labels
        (19,) bool, what the field is labelled with.
    cell_line
        Name of the cell line.
    """

    field: Field
    segmentation: Segmentation
    cell_labels: NDArray[np.bool_]
    field_labels: NDArray[np.bool_]
    cell_line: str


def simulate_field(recipe: Recipe, index: int) -> SimulatedField:
    """Field `index` of a recipe; the same in any process and any order.

    Parameters
    ----------
    recipe
        How it is made.
    index
        From 0; its name is ``sim-`` and six digits of it.
    """
    plan_rng, pixel_rng = field_streams(recipe, index)
    plan = draw_plan(recipe, index, plan_rng)
    return render_field(recipe, plan, pixel_rng, field_id=f"sim-{index:06d}")


def render_field(
    recipe: Recipe, plan: FieldPlan, rng: np.random.Generator, *, field_id: str
) -> SimulatedField:
    """Draw a field whose labels and cells are decided already."""
    canvas = Canvas(height_px=recipe.height_px, width_px=recipe.width_px, pixel_size_um=recipe.pixel_size_um)
    anatomy = build_anatomy(canvas, plan, rng)
    filaments = grow_microtubules(anatomy, rng), grow_spindles(anatomy, rng)
    light = [
        _with_gain(microtubule_pattern(anatomy, filaments, _staining(anatomy, rng), rng), rng),
        _protein(anatomy, filaments, recipe, rng),
        _with_gain(nucleus_channel(anatomy, _staining(anatomy, rng), rng), rng),
        _with_gain(er_pattern(anatomy, _staining(anatomy, rng), rng), rng),
    ]
    segmentation = _visible(anatomy, field_id)
    for channel, dirt in zip(light, draw_debris(canvas, recipe.debris_per_field, rng), strict=True):
        channel += dirt
    return SimulatedField(
        field=Field(
            field_id=field_id,
            image=expose(canvas, light, recipe, rng),
            pixel_size_um=recipe.pixel_size_um,
            missing=frozenset() if recipe.has_er else frozenset({Channel.ER}),
        ),
        segmentation=segmentation,
        cell_labels=plan.cell_labels[segmentation.cell_ids - 1],
        field_labels=plan.field_labels,
        cell_line=plan.cell_line.name,
    )


def _staining(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float64]:
    """How strongly a reference stain takes in each cell."""
    return rng.lognormal(0, 0.3, anatomy.num_cells)


def _with_gain(light: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A reference channel as the operator sets its gain: a few pixels in a thousand reach full scale."""
    bright = float(np.quantile(light[::3, ::3], 0.998))
    return light * np.float32(rng.uniform(0.7, 1.2) / max(bright, 1e-6))


def _protein(
    anatomy: Anatomy, filaments: tuple[Filaments, Filaments], recipe: Recipe, rng: np.random.Generator
) -> FloatImage:
    """The green channel: what each cell shows, on what the antibody leaves everywhere."""
    everywhere = anatomy.per_pixel(0.022 * rng.lognormal(0, 0.8) * rng.lognormal(0, 0.25, anatomy.num_cells))
    light: FloatImage = everywhere * anatomy.slope * np.exp(0.6 * anatomy.canvas.noise(rng, 0.25))
    shown = anatomy.plan.cell_labels
    strength = (
        rng.lognormal(0, recipe.expression_spread, anatomy.num_cells)
        * recipe.contrast
        * rng.uniform(0.5, 1.1)
    )
    for index, key in enumerate(CLASS_SET.keys):
        if index == NEGATIVE or not shown[:, index].any():
            continue
        share = rng.uniform(0.6, 1.0) if shown[:, index].sum() else 1.0
        amplitudes = share * strength * shown[:, index]
        if key in ("microtubules", "mitotic_spindle"):
            light = light + microtubule_pattern(anatomy, filaments, amplitudes, rng)
        else:
            light = light + _PATTERNS[key](anatomy, amplitudes, rng)
    # The operator turns the gain down where too much would be overexposed, never up: a dark channel stays dark.
    return light / np.float32(max(float(np.quantile(light[::3, ::3], 0.995)), 1.0))


def _visible(anatomy: Anatomy, field_id: str) -> Segmentation:
    """The true masks: without the cells of which too little of the nucleus is in the field."""
    nucleus_px = np.bincount(anatomy.nuclei.ravel(), minlength=anatomy.num_cells + 1)
    enough = nucleus_px * anatomy.canvas.pixel_size_um**2 >= _SMALLEST_VISIBLE_NUCLEUS_UM2
    enough[0] = False
    ids = np.where(enough, np.arange(len(enough)), 0).astype(np.int32)
    return Segmentation(
        field_id=field_id,
        cells=ids[anatomy.cells],
        nuclei=ids[anatomy.nuclei],
        pixel_size_um=anatomy.canvas.pixel_size_um,
    )
