"""A field without its cells: squares of it at random places, as systems that know no segmentation see it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells.normalisation import normalise_field
from hpa_cells.types import NUM_CHANNELS, CellCrops, Field

__all__ = ["SquareSettings", "cut_squares"]

_SMALLEST_PX: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class SquareSettings:
    """How squares are cut out of a field.

    Attributes
    ----------
    um_per_px
        Side of a pixel of the resized field, in um: all fields at one physical scale. None: see `field_px`.
    field_px
        Longer side of the resized field, in px, whatever its scale. None, and no `um_per_px`: the field as it is.
    size_px
        Side of a square, at least 8.
    num_training, num_predicted
        Number of squares of a field to learn from, and to predict with: no more, since as many of the former validate.
    seed
        Of the places.
    """

    um_per_px: float | None
    field_px: int | None
    size_px: int
    num_training: int
    num_predicted: int
    seed: int

    def __post_init__(self) -> None:
        if self.um_per_px is not None and self.field_px is not None:
            raise ValueError(
                f"view.um_per_px is {self.um_per_px} and view.field_px {self.field_px}, which both say how large a "
                "resized field is: set one of them to null."
            )
        if self.um_per_px is not None and not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise ValueError(
                f"view.um_per_px is {self.um_per_px}: give a positive number of um, such as 0.32, or null."
            )
        for name in ("field_px", "size_px"):
            side = getattr(self, name)
            if side is not None and side < _SMALLEST_PX:
                raise ValueError(f"view.{name} is {side}: give at least {_SMALLEST_PX}.")
        for name in ("num_training", "num_predicted"):
            if getattr(self, name) < 1:
                raise ValueError(f"view.{name} is {getattr(self, name)}: give at least 1.")
        if self.num_predicted > self.num_training:
            raise ValueError(
                f"view.num_predicted is {self.num_predicted}, more than view.num_training, {self.num_training}: a "
                "model is validated as it predicts, on some of the squares cut for training. Raise num_training."
            )
        if self.seed < 0:
            raise ValueError(f"view.seed is {self.seed}: give 0 or more.")


def cut_squares(field: Field, settings: SquareSettings, *, num: int) -> CellCrops:
    """Squares of the field in the place of its cells, numbered from 1, each place as likely as any other.

    The field is normalised as a whole (see `normalise_field`) and resized. A square lies within the field; one that
    is larger than the field has the field in its middle and 0 around it.

    Parameters
    ----------
    field
        The field.
    settings
        Scale and size. The places are a function of its seed, the field's id, its resized shape and `num`.
    num
        Number of squares. No place is taken twice: of a field with fewer places each is there once, of one that is no
        larger than a square there is one.

    Returns
    -------
    CellCrops
        Areas are those of the squares within the field, and no square is marked as touching the border.
    """
    pixels = cv2.merge(list(normalise_field(field)))
    height, width, um_per_px = _resized_shape(field, settings)
    if (height, width) != pixels.shape[:2]:
        method = cv2.INTER_AREA if height < field.height_px else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, (width, height), interpolation=method)
    size = settings.size_px
    places = _draw_places(field.field_id, height - size, width - size, num, settings.seed)
    images = np.zeros((len(places), NUM_CHANNELS, size, size), dtype=np.uint8)
    filled_height, filled_width = min(height, size), min(width, size)
    down, right = (size - filled_height) // 2, (size - filled_width) // 2
    filled = images[:, :, down : down + filled_height, right : right + filled_width]
    for index, (top, left) in enumerate(places):
        filled[index] = pixels[top : top + size, left : left + size].transpose(2, 0, 1)
    area_um2 = filled_height * filled_width * um_per_px**2
    return CellCrops(
        field_id=field.field_id,
        cell_ids=np.arange(1, len(places) + 1, dtype=np.int32),
        images=images,
        touches_border=np.zeros(len(places), dtype=np.bool_),
        areas_um2=np.full(len(places), area_um2, dtype=np.float64),
    )


def _resized_shape(field: Field, settings: SquareSettings) -> tuple[int, int, float]:
    """Height and width of the resized field, and the side of its pixels in um."""
    if settings.field_px is not None:
        scale = settings.field_px / max(field.height_px, field.width_px)
    elif settings.um_per_px is not None:
        scale = field.pixel_size_um / settings.um_per_px
    else:
        scale = 1.0
    height, width = (max(1, round(side * scale)) for side in (field.height_px, field.width_px))
    return height, width, field.pixel_size_um / scale


def _draw_places(field_id: str, room_down: int, room_right: int, num: int, seed: int) -> NDArray[np.int64]:
    """(n, 2) top and left of at most `num` squares, that may move so many px; below 0 they do not move."""
    rows, columns = max(room_down, 0) + 1, max(room_right, 0) + 1
    # Python's own hash differs from process to process.
    digest = hashlib.sha256(field_id.encode()).digest()
    draw = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    chosen = draw.choice(rows * columns, size=min(num, rows * columns), replace=False)
    return np.stack(np.divmod(chosen, columns), axis=1)
