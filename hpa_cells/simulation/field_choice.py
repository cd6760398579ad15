"""What is decided by chance of a varied field before anything of it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from hpa_cells.simulation.cell_lines import CELL_LINES, CellLine
from hpa_cells.simulation.recipe import Recipe
from hpa_cells.simulation.variety import Variety
from hpa_cells.types import Channel

__all__ = ["Content", "FieldChoice", "choose_field"]

# A field is imaged with at most this many pixels a side: what is finer would be averaged away again, since light
# and photons of a pixel grow with its area and everything else is in um.
_LARGEST_SIDE_PX = 1024
_SMALLEST_SIDE_PX = 32
_CYTOPLASM = (Channel.MICROTUBULES, Channel.ER)


class Content(Enum):
    """What lies on a field."""

    CELLS = "cells"
    DEBRIS = "debris"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChoice:
    """One field of a variety.

    Attributes
    ----------
    recipe
        Size in pixels of the microscope, crowding, unusual cells and optics.
    line
        A cell line that there is, or nearly.
    content
        Whether there are cells, debris only, or nothing.
    uses_layout
        Whether the outlines of the cells are real ones, if some are given.
    has_artefacts
        Whether there are large debris and floating dead cells.
    stain_spread
        Cell-to-cell spread of the reference stains.
    missing, dead
        Channels that are all zero, and those that show noise only.
    gains
        What each channel is multiplied with.
    pedestal
        What is added to each channel before that, as a share of full scale.
    """

    recipe: Recipe
    line: CellLine
    content: Content
    uses_layout: bool
    has_artefacts: bool
    stain_spread: float
    missing: frozenset[Channel]
    dead: frozenset[Channel]
    gains: dict[Channel, float]
    pedestal: float


def choose_field(variety: Variety, rng: np.random.Generator) -> FieldChoice:
    """Draw one field of a variety."""
    content = _choose_content(variety, rng)
    missing, dead = _choose_lost_channels(variety, rng)
    gains = dict.fromkeys(Channel, 1.0)
    if _happens(variety.gain_share, rng):
        gains = {channel: _between(variety.lowest_gain, variety.highest_gain, rng) for channel in Channel}
    return FieldChoice(
        recipe=_choose_recipe(variety, content, rng),
        line=_choose_line(variety, rng),
        content=content,
        uses_layout=_happens(variety.layout_share, rng),
        has_artefacts=content != Content.NOTHING and _happens(variety.artefact_share, rng),
        stain_spread=variety.highest_stain_spread * rng.random(),
        missing=missing,
        dead=dead,
        gains=gains,
        pedestal=variety.highest_background * rng.random() * _happens(0.4, rng),
    )


def _choose_content(variety: Variety, rng: np.random.Generator) -> Content:
    place = rng.random()
    if place < variety.empty_share:
        return Content.NOTHING
    return Content.DEBRIS if place < variety.empty_share + variety.debris_only_share else Content.CELLS


def _choose_lost_channels(
    variety: Variety, rng: np.random.Generator
) -> tuple[frozenset[Channel], frozenset[Channel]]:
    """The missing and the dead channels: microtubules, ER, both or, mostly, none."""
    place, nothing = rng.random(), frozenset[Channel]()
    one, both = frozenset({_CYTOPLASM[rng.integers(2)]}), frozenset(_CYTOPLASM)
    missing, dead = variety.missing_share, variety.missing_share + variety.dead_share
    if place < missing:
        return one, nothing
    if place < dead:
        return nothing, one
    if place < dead + variety.nuclei_only_share:
        return (both, nothing) if _happens(0.5, rng) else (nothing, both)
    return nothing, nothing


def _choose_recipe(variety: Variety, content: Content, rng: np.random.Generator) -> Recipe:
    side_um = variety.side_px * variety.um_per_px
    finest = variety.smallest_um_per_px / variety.largest_um_per_px
    # Fine pixels are many and slow: most fields are near the coarse end.
    um_per_px = variety.largest_um_per_px * finest ** (rng.random() ** 6)
    most_px = max(_LARGEST_SIDE_PX, variety.side_px)
    side_px = int(np.clip(round(side_um / um_per_px), _SMALLEST_SIDE_PX, most_px))
    debris = variety.most_debris * rng.random() ** (1 if content == Content.DEBRIS else 3)
    return Recipe(
        height_px=side_px,
        width_px=side_px,
        pixel_size_um=side_um / side_px,
        bit_depth=16 if _happens(variety.sixteen_bit_share, rng) else 8,
        crowding=_between(variety.lowest_crowding, variety.highest_crowding, rng),
        mitotic_share=rng.uniform(0.1, 0.35) if _happens(variety.dividing_share, rng) else 0.02,
        binucleated_share=rng.uniform(0.1, 0.4) if _happens(variety.binucleated_share, rng) else 0.03,
        photons=_between(variety.fewest_photons, variety.most_photons, rng),
        read_noise=variety.highest_read_noise * rng.random() ** 3,
        background=variety.highest_background * rng.random() ** 3,
        bleed_through=variety.highest_bleed_through * rng.random() ** 2,
        uneven_light=variety.highest_uneven_light * rng.random(),
        blur=_between(variety.lowest_blur, variety.highest_blur, rng),
        haze=variety.highest_haze * rng.random() ** 2,
        debris_per_field=0.0 if content == Content.NOTHING else debris,
    )


def _choose_line(variety: Variety, rng: np.random.Generator) -> CellLine:
    """A cell line, changed a little, or made spindly."""
    line = CELL_LINES[str(rng.choice(list(CELL_LINES)))]
    size = rng.lognormal(0, 0.15)
    elongation = 1 + (line.elongation - 1) * rng.lognormal(0, 0.4)
    return replace(
        line,
        spacing_um=line.spacing_um * size,
        radius_um=line.radius_um * size * rng.lognormal(0, 0.1),
        elongation=rng.uniform(2.5, 5.5) if _happens(variety.elongated_share, rng) else elongation,
        roughness=min(line.roughness * rng.lognormal(0, 0.35), 0.5),
        clumping=rng.random() ** 2,
        nucleus_radius_um=line.nucleus_radius_um * size**0.6 * rng.lognormal(0, 0.08),
        nucleus_roughness=min(line.nucleus_roughness * rng.lognormal(0, 0.4), 0.1),
        # On pixels as coarse as a segmenter's, a part of the fibres makes the same picture in less time.
        num_microtubules=round(line.num_microtubules * rng.uniform(0.3, 0.8)),
    )


def _happens(share: float, rng: np.random.Generator) -> bool:
    return bool(rng.random() < share)


def _between(lowest: float, highest: float, rng: np.random.Generator) -> float:
    """Evenly on a logarithmic scale."""
    return math.exp(rng.uniform(math.log(lowest), math.log(highest)))
