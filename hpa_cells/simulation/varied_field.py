"""An endless stream of very different fields for the training of a segmenter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy, build_anatomy
from hpa_cells.simulation.artefacts import draw_artefacts
from hpa_cells.simulation.canvas import Canvas, FloatImage
from hpa_cells.simulation.cell_lines import CellLine
from hpa_cells.simulation.cytoplasmic_patterns import grow_er
from hpa_cells.simulation.debris import draw_debris
from hpa_cells.simulation.fibre_patterns import grow_microtubules
from hpa_cells.simulation.field import SimulatedField, field_id_of, reference_light, visible_cells
from hpa_cells.simulation.field_choice import Content, FieldChoice, choose_field
from hpa_cells.simulation.labels import CellState, draw_num_cells
from hpa_cells.simulation.optics import detect
from hpa_cells.simulation.real_layout import RealLayout
from hpa_cells.simulation.tracing import blank_plan, trace_anatomy
from hpa_cells.simulation.variety import Variety
from hpa_cells.types import NUM_CHANNELS, Channel, Field, Segmentation

__all__ = ["vary"]

# Nuclei of a confluent field are this many of their radii apart.
_NUCLEUS_ROOM = 3.0


def vary(variety: Variety, index: int, layouts: Sequence[RealLayout] | None = None) -> SimulatedField:
    """Field `index`, from 0, of a variety; the same in any process and any order.

    It has no protein: its cells are all Negative, and the channel is missing.

    Parameters
    ----------
    layouts
        Outlines of real cells: `layout_share` of the fields show cells in one of them. Masks and nothing else
        are taken from there: every pixel is simulated.

    Examples
    --------
    >>> varied = vary(Variety(side_px=96, um_per_px=0.5), index=3)
    >>> varied.field.image.shape, varied.field.pixel_size_um
    ((4, 96, 96), 0.5)
    """
    rng = np.random.default_rng([variety.seed, index])
    choice = choose_field(variety, rng)
    recipe = choice.recipe
    canvas = Canvas(height_px=recipe.height_px, width_px=recipe.width_px, pixel_size_um=recipe.pixel_size_um)
    anatomy = _draw_anatomy(canvas, choice, layouts or (), rng)
    image = _take_picture(canvas, choice, _draw_light(choice, anatomy, rng), variety.side_px, rng)
    segmentation = _on_common_grid(visible_cells(anatomy, field_id_of(index)), variety)
    return SimulatedField(
        field=Field(
            field_id=segmentation.field_id,
            image=image,
            pixel_size_um=variety.um_per_px,
            missing=choice.missing | {Channel.PROTEIN},
        ),
        segmentation=segmentation,
        cell_labels=anatomy.plan.cell_labels[segmentation.cell_ids - 1],
        field_labels=anatomy.plan.field_labels,
        cell_line=choice.line.name,
    )


def _draw_anatomy(
    canvas: Canvas, choice: FieldChoice, layouts: Sequence[RealLayout], rng: np.random.Generator
) -> Anatomy:
    recipe, line = choice.recipe, choice.line
    if choice.content != Content.CELLS:
        return build_anatomy(canvas, blank_plan(line, np.zeros(0, dtype=np.int8)), rng)
    if choice.uses_layout and layouts:
        given = layouts[int(rng.integers(len(layouts)))]
        return trace_anatomy(canvas, given, line, rng, binucleated_share=recipe.binucleated_share)
    mitotic, binucleated = recipe.mitotic_share, recipe.binucleated_share
    states = rng.choice(
        np.array(CellState, dtype=np.int8),
        size=min(draw_num_cells(recipe, line, rng), _most_cells(canvas, line)),
        p=[1 - mitotic - binucleated, binucleated, mitotic / 3, mitotic / 3, mitotic / 3],
    )
    return build_anatomy(canvas, blank_plan(line, states), rng)


def _most_cells(canvas: Canvas, line: CellLine) -> int:
    """As many cells as leave room for cytoplasm between their nuclei."""
    area_um2 = math.prod(side + 2 * line.margin_um for side in canvas.size_um)
    return int(area_um2 / (_NUCLEUS_ROOM * line.nucleus_radius_um) ** 2)


def _draw_light(choice: FieldChoice, anatomy: Anatomy, rng: np.random.Generator) -> dict[Channel, FloatImage]:
    """(H, W) light of each channel that is not missing."""
    light = reference_light(
        anatomy,
        rng,
        grown_microtubules=grow_microtubules(anatomy, rng),
        grown_er=grow_er(anatomy, rng),
        stain_spread=choice.stain_spread,
    )
    spoilt = [draw_debris(anatomy.canvas, choice.recipe.debris_per_field, rng)]
    if choice.has_artefacts:
        spoilt.append(draw_artefacts(anatomy.canvas, rng))
    for dirt in spoilt:
        light = {channel: each + dirt[channel] for channel, each in light.items()}
    return {
        channel: np.zeros_like(each) if channel in choice.dead else each
        for channel, each in light.items()
        if channel not in choice.missing
    }


def _take_picture(
    canvas: Canvas,
    choice: FieldChoice,
    light: dict[Channel, FloatImage],
    side_px: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(4, side, side): detected, amplified, clipped and, like a real field, resized only then."""
    pixel_type = np.uint8 if choice.recipe.bit_depth == 8 else np.uint16
    interpolation = cv2.INTER_AREA if canvas.width_px > side_px else cv2.INTER_LINEAR
    image = np.zeros((NUM_CHANNELS, side_px, side_px), dtype=pixel_type)
    for channel, detected in detect(canvas, light, choice.recipe, rng).items():
        amplified = np.float32(choice.gains[channel]) * (detected + np.float32(choice.pedestal))
        resized = cv2.resize(np.clip(amplified, 0, 1), (side_px, side_px), interpolation=interpolation)
        image[channel] = np.rint(resized * np.iinfo(pixel_type).max)
    return image


def _on_common_grid(segmentation: Segmentation, variety: Variety) -> Segmentation:
    side = (variety.side_px, variety.side_px)
    cells, nuclei = (
        np.asarray(cv2.resize(labels, side, interpolation=cv2.INTER_NEAREST_EXACT)).astype(np.int32)
        for labels in (segmentation.cells, segmentation.nuclei)
    )
    return Segmentation(
        field_id=segmentation.field_id, cells=cells, nuclei=nuclei, pixel_size_um=variety.um_per_px
    )
