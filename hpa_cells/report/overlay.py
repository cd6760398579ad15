"""A field with its cells drawn over it, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hpa_cells.cells import normalise_field
from hpa_cells.classes import ClassSet
from hpa_cells.report.colors import Rgb, lightened
from hpa_cells.report.composite import mix_channels
from hpa_cells.report.marks import CellMark, cell_marks, label_image
from hpa_cells.report.placement import place_boxes
from hpa_cells.types import Field

__all__ = ["draw_lines", "draw_marks", "draw_over_field", "overlay"]

# A field with a shorter longest side is enlarged to it, since words over 512 px cannot be read.
_LEAST_SIDE_PX = 1024
# OpenCV takes coordinates as whole numbers of 1/16 px.
_SUBPIXEL_BITS = 4
# How far a drawn line may be from the edge of its cell.
_TOLERANCE_PX = 0.7
_HALO: Rgb = (0, 0, 0)
# Of the picture, by words: of more cells only the ids are written, and the colour tells the class.
_MOST_COVERED = 0.3


def overlay(
    field: Field, cells: pd.DataFrame, class_set: ClassSet, *, threshold: float = 0.5
) -> NDArray[np.uint8]:
    """The field in the atlas' colours with each cell's outline, id and most probable classes.

    Where so many cells are that their words would cover the field, only the ids are written.

    Parameters
    ----------
    field
        The field.
    cells
        Its rows of the cell table.
    class_set
        The classes of the probability columns.
    threshold
        Least probability of a class that is named; where none reaches it, the most probable one is followed
        by ``?``.

    Returns
    -------
    (H, W, 3) uint8, as large as the field, or enlarged so that the longer side has 1024 px.

    Raises
    ------
    ValueError
        If the masks do not fit the field.
    """
    labels = label_image(cells, field.height_px, field.width_px)
    marks = cell_marks(cells, labels, class_set, threshold=threshold)
    return draw_over_field(normalise_field(field), marks)


def draw_over_field(channels: NDArray[np.uint8], marks: Sequence[CellMark]) -> NDArray[np.uint8]:
    """`overlay` of (4, H, W) uint8 channels that are stretched already, and of marks."""
    scale = max(1.0, _LEAST_SIDE_PX / max(channels.shape[1:]))
    image = mix_channels(channels)
    if scale > 1:
        enlarged = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        image = np.asarray(enlarged, dtype=np.uint8)
    return draw_marks(image, marks, scale=scale)


def draw_marks(image: NDArray[np.uint8], marks: Sequence[CellMark], *, scale: float) -> NDArray[np.uint8]:
    """The picture with outlines and words drawn over it.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    marks
        The cells.
    scale
        Pixels of the picture per pixel of the field.

    Returns
    -------
    (H, W, 3) uint8, a new picture.
    """
    drawn = image.copy()
    unit = max(image.shape[:2]) / _LEAST_SIDE_PX
    thin, thick = (max(1, round(width * unit)) for width in (1.4, 3.2))
    for mark in marks:
        draw_lines(drawn, mark.outlines_px, _HALO, scale=scale, width_px=thick)
    for mark in marks:
        draw_lines(drawn, mark.outlines_px, mark.color, scale=scale, width_px=thin)
    return _with_words(drawn, marks, scale, size_px=round(13 * unit))


def draw_lines(
    image: NDArray[np.uint8], lines: Sequence[NDArray[np.float32]], color: Rgb, *, scale: float, width_px: int
) -> None:
    """Draw closed lines into the picture; each is (P, 2), x and y in px of the field from its corner."""
    # A line through every pixel of an edge costs five times more, and looks the same but for its stairs.
    smooth = [cv2.approxPolyDP(line.reshape(-1, 1, 2) * scale, _TOLERANCE_PX, True) for line in lines]
    points = [np.rint((line - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32) for line in smooth]
    cv2.polylines(image, points, True, color, width_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def _with_words(
    image: NDArray[np.uint8], marks: Sequence[CellMark], scale: float, size_px: int
) -> NDArray[np.uint8]:
    """Write each cell's words at its middle, moved a little where they would cover others; of many cells the ids."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size_px)
    stroke = max(1, size_px // 7)

    def sizes_of(texts: Sequence[str]) -> list[tuple[float, float]]:
        boxes = [pen.multiline_textbbox((0, 0), text, font, spacing=0, stroke_width=stroke) for text in texts]
        return [(right - left, bottom - top) for left, top, right, bottom in boxes]

    texts = [mark.words for mark in marks]
    if sum(math.prod(size) for size in sizes_of(texts)) > _MOST_COVERED * math.prod(picture.size):
        texts = [str(mark.cell_id) for mark in marks]
    centers = [(mark.middle_px[0] * scale, mark.middle_px[1] * scale) for mark in marks]
    places = place_boxes(centers, sizes_of(texts), picture.size)
    for mark, text, place in zip(marks, texts, places, strict=True):
        pen.multiline_text(
            place,
            text,
            fill=lightened(mark.color),
            font=font,
            anchor="mm",
            align="center",
            spacing=0,
            stroke_width=stroke,
            stroke_fill=_HALO,
        )
    return np.asarray(picture)
