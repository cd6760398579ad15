"""Pictures of a report, with the words around them: what the page's template fills in."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.report.colors import hex_color, lightened, short_name
from hpa_cells.report.marks import CellMark
from hpa_cells.report.placement import place_boxes
from hpa_cells.table import Column

__all__ = ["CellShape", "CellTile", "FieldFigure", "cell_shapes", "cell_words", "data_uri"]

_WEBP_QUALITY = 78
_NUM_NAMED = 5
# Of a line of words in a sans serif, per letter, in heights of the font.
_LETTER_WIDTH = 0.6
_LINE_HEIGHT = 1.1


@dataclass(frozen=True, kw_only=True, slots=True)
class CellShape:
    """A cell drawn over a field: path, colours, words and their place, and what pointing at it tells."""

    path: str
    color: str
    word_color: str
    x: float
    y: float
    lines: tuple[str, ...]
    told: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldFigure:
    """A field on the page: two views as data URIs of `width` x `height` px, its cells and its classes."""

    field_id: str
    width: int
    height: int
    composite: str
    protein: str
    shapes: list[CellShape]
    font_size: float
    predicted: list[str]
    true: list[str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CellTile:
    """A single cell on the page; `is_right` is None where no truth is known."""

    picture: str
    probability: float
    told: str
    is_right: bool | None


def data_uri(image: NDArray[np.uint8]) -> str:
    """An (H, W, 3) or (H, W) uint8 picture as the text of a WebP image inside a page."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    _, encoded = cv2.imencode(
        ".webp", np.ascontiguousarray(pixels), [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]
    )
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def cell_words(row: pd.Series, class_set: ClassSet, truth: str) -> str:
    """What is told of a cell: id, most probable classes, area, whether it is cut, and the truth."""
    probabilities = row[Column.probabilities(class_set)].to_numpy(dtype=np.float32)
    lines = [f"Cell {row[Column.CELL_ID]} of {row[Column.FIELD_ID]}"]
    lines += [
        f"{probabilities[index]:.2f}  {short_name(class_set.keys[index])}"
        for index in np.argsort(-probabilities, kind="stable")[:_NUM_NAMED]
        if not np.isnan(probabilities[index])
    ]
    lines.append(
        f"{row[Column.AREA_UM2]:,.0f} µm²" + (", cut by the edge" if row[Column.TOUCHES_BORDER] else "")
    )
    return "\n".join([*lines, f"Truth: {truth}"] if truth else lines)


def cell_shapes(
    marks: list[CellMark], told: Mapping[int, str], *, scale: float, size: tuple[int, int], font_size: float
) -> list[CellShape]:
    """The marks as shapes of a picture of `size` (width, height), `scale` times as large as the field."""
    lines = [tuple(mark.words.split("\n")) for mark in marks]
    sizes = [
        (_LETTER_WIDTH * font_size * max(map(len, each)), _LINE_HEIGHT * font_size * len(each))
        for each in lines
    ]
    centers = [(mark.middle_px[0] * scale, mark.middle_px[1] * scale) for mark in marks]
    places = place_boxes(centers, sizes, (float(size[0]), float(size[1])))
    return [
        CellShape(
            path="".join(_path(line * scale) for line in mark.outlines_px),
            color=hex_color(mark.color),
            word_color=hex_color(lightened(mark.color)),
            x=round(x, 1),
            y=round(y - height / 2 + 0.85 * font_size, 1),
            lines=words,
            told=told[mark.cell_id],
        )
        for mark, words, (x, y), (_, height) in zip(marks, lines, places, sizes, strict=True)
    ]


def _path(line: NDArray[np.float32]) -> str:
    """A closed SVG path; points that lie within half a pixel of a straight line are left out."""
    points = cv2.approxPolyDP(line.reshape(-1, 1, 2), 0.5, True).reshape(-1, 2)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
