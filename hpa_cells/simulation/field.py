"""A simulated field: its four channels, its cells and what each of them truly shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy, build_anatomy
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.cytoplasmic_patterns import endoplasmic_reticulum, grow_er
from hpa_cells.simulation.debris import draw_debris
from hpa_cells.simulation.fibre_patterns import Microtubules, grow_microtubules, microtubules
from hpa_cells.simulation.labels import FieldPlan, draw_plan, field_streams
from hpa_cells.simulation.nuclear_patterns import dna
from hpa_cells.simulation.optics import expose
from hpa_cells.simulation.protein import draw_protein
from hpa_cells.simulation.recipe import Recipe
from hpa_cells.simulation.variation import recipe_of_field
from hpa_cells.types import Channel, Field, Segmentation

__all__ = [
    "SimulatedField",
    "field_id_of",
    "reference_light",
    "render_field",
    "simulate_field",
    "visible_cells",
]

_SMALLEST_VISIBLE_NUCLEUS_UM2 = 10.0
# Brightness of the brightest two pixels in a thousand, from field to field: 0.5 to 1.0 in real ones.
_FULL_SCALE = {Channel.MICROTUBULES: (0.6, 1.15), Channel.NUCLEUS: (0.45, 1.0), Channel.ER: (0.6, 1.15)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedField:
    """A field with its truth.

    Attributes
    ----------
    field
        The picture.
    segmentation
        The true masks. Cells whose nucleus lies outside the field are not in it, so ids have gaps.
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


def field_id_of(index: int) -> str:
    """Name of field `index`.

    Examples
    --------
    >>> field_id_of(123)
    'sim-000123'
    """
    return f"sim-{index:06d}"


def simulate_field(recipe: Recipe, index: int) -> SimulatedField:
    """Field `index`, from 0, of a recipe; the same in any process and any order.

    Examples
    --------
    >>> simulated = simulate_field(Recipe(height_px=64, width_px=96, pixel_size_um=0.5), index=0)
    >>> simulated.field.image.shape
    (4, 64, 96)
    """
    recipe = recipe_of_field(recipe, index)
    plan_rng, pixel_rng = field_streams(recipe, index)
    plan = draw_plan(recipe, index, plan_rng)
    return render_field(recipe, plan, pixel_rng, field_id=field_id_of(index))


def render_field(
    recipe: Recipe, plan: FieldPlan, rng: np.random.Generator, *, field_id: str
) -> SimulatedField:
    """Draw a field whose cells and labels are decided already."""
    canvas = Canvas(height_px=recipe.height_px, width_px=recipe.width_px, pixel_size_um=recipe.pixel_size_um)
    anatomy = build_anatomy(canvas, plan, rng)
    segmentation = visible_cells(anatomy, field_id)
    return SimulatedField(
        field=Field(
            field_id=field_id,
            image=expose(canvas, _light(anatomy, recipe, rng), recipe, rng),
            pixel_size_um=recipe.pixel_size_um,
            missing=frozenset() if recipe.has_er else frozenset({Channel.ER}),
        ),
        segmentation=segmentation,
        cell_labels=plan.cell_labels[segmentation.cell_ids - 1],
        field_labels=plan.field_labels,
        cell_line=plan.cell_line.name,
    )


def _light(anatomy: Anatomy, recipe: Recipe, rng: np.random.Generator) -> dict[Channel, FloatImage]:
    """What each channel would show through a perfect microscope, (H, W) each."""
    tubules, er = grow_microtubules(anatomy, rng), grow_er(anatomy, rng)
    light = reference_light(anatomy, rng, grown_microtubules=tubules, grown_er=er)
    light[Channel.PROTEIN] = draw_protein(anatomy, recipe, rng, grown_microtubules=tubules, grown_er=er)
    if not recipe.has_er:
        del light[Channel.ER]
    dirt = draw_debris(anatomy.canvas, recipe.debris_per_field, rng)
    return {channel: light[channel] + dirt[channel] for channel in sorted(light)}


def reference_light(
    anatomy: Anatomy,
    rng: np.random.Generator,
    *,
    grown_microtubules: Microtubules,
    grown_er: FloatImage,
    stain_spread: float = 0.2,
) -> dict[Channel, FloatImage]:
    """Light of microtubules, nuclei and ER, (H, W) each, about 1 where bright.

    Parameters
    ----------
    stain_spread
        Cell-to-cell spread of each stain: standard deviation of its logarithm.
    """
    red, blue, yellow = (
        rng.lognormal(0, stain_spread, anatomy.num_cells).astype(np.float32) for _ in range(3)
    )
    light = {
        Channel.MICROTUBULES: microtubules(anatomy, red, rng, grown=grown_microtubules),
        Channel.NUCLEUS: dna(anatomy, blue, rng),
        Channel.ER: endoplasmic_reticulum(anatomy, yellow, rng, grown=grown_er),
    }
    return {channel: _with_gain(each, channel, rng) for channel, each in light.items()}


def _with_gain(light: FloatImage, channel: Channel, rng: np.random.Generator) -> FloatImage:
    """A reference channel as the operator sets its gain: two pixels in a thousand are about full scale."""
    bright = float(np.quantile(light[::3, ::3], 0.998))
    return light * np.float32(rng.uniform(*_FULL_SCALE[channel]) / max(bright, 1e-6))


def visible_cells(anatomy: Anatomy, field_id: str) -> Segmentation:
    """The true masks, without the cells of which too little of the nucleus is in the field."""
    nucleus_px = np.bincount(anatomy.nuclei.ravel(), minlength=anatomy.num_cells + 1)
    visible = nucleus_px * anatomy.canvas.pixel_size_um**2 >= _SMALLEST_VISIBLE_NUCLEUS_UM2
    visible[0] = False
    ids = np.where(visible, np.arange(len(visible)), 0).astype(np.int32)
    return Segmentation(
        field_id=field_id,
        cells=ids[anatomy.cells],
        nuclei=ids[anatomy.nuclei],
        pixel_size_um=anatomy.canvas.pixel_size_um,
    )
