"""COCO instances read back as a cell table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa_cells import __version__
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.export.expected import FieldSize
from hpa_cells.export.json_values import JsonObject, read_json
from hpa_cells.export.mask_rows import checked_masks, mask_rows, typed_rows
from hpa_cells.limits import MAX_SIDE_PX
from hpa_cells.masks import MAX_COUNTS_BYTES
from hpa_cells.table import CELL_COLUMNS, FIELD_COLUMNS, CellTable, Column, Provenance

__all__ = ["read_coco"]

_LARGEST_ID = 2**31 - 1
_LARGEST_SCORE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    """A mask and the score of each class that was given for it."""

    counts: bytes
    scores: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """A field and its cells; those without an id of their own are under their masks until they are numbered."""

    field_id: str
    size: FieldSize
    pixel_size_um: float
    cells: dict[int | bytes, _Cell] = field(default_factory=dict)


def read_coco(path: Path, *, class_set: str | None = None, pixel_size_um: float = math.nan) -> CellTable:
    """The cell table of COCO instances, with everything that follows from the masks.

    Annotations of an image with the same ``cell_id``, or, where there is none, with the same mask, are one cell; cells
    without an id are numbered from 1 in the order in which they appear. A class that is not annotated has the
    probability NaN, which the metric takes for no detection, and 0 in a file that says it is a truth. An annotation
    without a score has 1. There are no nuclei, no embeddings and no probabilities of fields (NaN).

    Parameters
    ----------
    path
        A file such as `write_coco` makes. Of other programs, its masks must be compressed run lengths, and the names of
        its categories keys or names of classes.
    class_set
        Name of the class set; None: the one that the file names.
    pixel_size_um
        Side of a pixel, in um, of images that tell none. NaN: areas in um2 are unknown.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If anything is wrong with the file; the message names the image or annotation.
    """
    whole = read_json(path)
    info = whole.optional("info")
    is_truth = info is not None and info.get("truth") is True
    classes = _class_set(path, info, class_set)
    images: dict[int, _Image] = {}
    for each in whole.objects("images"):
        _add_image(images, each, pixel_size_um)
    categories = _categories(whole, classes)
    seen: set[int] = set()
    for each in whole.objects("annotations"):
        number = each.whole("id", 0, 2**53)
        if number in seen:
            raise each.error("id", "is that of an earlier annotation: number them anew")
        seen.add(number)
        _add_annotation(images, each, categories)
    fields = [_field_row(each) for each in images.values()]
    if len({each[Column.FIELD_ID] for each in fields}) < len(fields):
        raise ValueError(f"{path} has two images of one field: keep one of each.")
    absent = 0.0 if is_truth else math.nan
    cells = [_cell_rows(path, each, classes, absent) for each in images.values() if each.cells]
    return CellTable(
        cells=typed_rows(cells, CELL_COLUMNS, classes, [Column.FIELD_ID, Column.CELL_ID]),
        fields=typed_rows([pd.DataFrame(fields)], FIELD_COLUMNS, classes, [Column.FIELD_ID]),
        class_set=classes,
        provenance=Provenance(version=__version__, class_set=classes.name, source="coco"),
    )


def _class_set(path: Path, info: JsonObject | None, name: str | None) -> ClassSet:
    told = None if info is None else info.get("class_set")
    if name is not None:
        return get_class_set(name)
    if not isinstance(told, str):
        raise ValueError(f"{path} does not say what its classes are: give `class_set`, e.g. 'hpa2021'.")
    return get_class_set(told)


def _add_image(images: dict[int, _Image], found: JsonObject, pixel_size_um: float) -> None:
    number = found.whole("id", 0, 2**53)
    if number in images:
        raise found.error("id", "is that of an earlier image: number them anew")
    field_id = found.get(Column.FIELD_ID)
    if field_id is None:
        # Of other programs: what a person would call the field.
        field_id = Path(found.text("file_name")).stem
    elif not isinstance(field_id, str) or not field_id:
        raise found.error(Column.FIELD_ID, "is no text: give the id of the field")
    sides = (found.whole(name, 1, MAX_SIDE_PX) for name in ("width", "height"))
    told = found.get(Column.PIXEL_SIZE_UM)
    pixel_size_um = pixel_size_um if told is None else found.number(Column.PIXEL_SIZE_UM, 1e-6, 1e6)
    images[number] = _Image(field_id=field_id, size=FieldSize(*sides), pixel_size_um=pixel_size_um)


def _categories(whole: JsonObject, classes: ClassSet) -> dict[int, int]:
    """The class of each category."""
    indices = {name: index for names in (classes.names, classes.keys) for index, name in enumerate(names)}
    categories: dict[int, int] = {}
    for each in whole.objects("categories"):
        number = each.whole("id", 0, 2**53)
        name = each.text("key" if each.get("key") is not None else "name")
        if name not in indices:
            raise each.error("name", f"is no class of {classes.name}: expected e.g. {classes.names[0]!r}")
        if number in categories or indices[name] in categories.values():
            raise each.error("id", "or its name is that of an earlier category: leave out one")
        categories[number] = indices[name]
    return categories


def _add_annotation(images: dict[int, _Image], found: JsonObject, categories: dict[int, int]) -> None:
    image = images.get(found.whole("image_id", 0, 2**53))
    if image is None:
        raise found.error("image_id", "is that of no image: add the image, or leave out the annotation")
    class_index = categories.get(found.whole("category_id", 0, 2**53))
    if class_index is None:
        raise found.error(
            "category_id", "is that of no category: add the category, or leave out the annotation"
        )
    counts = _counts(found, image.size)
    has_id = found.get(Column.CELL_ID) is not None
    key = found.whole(Column.CELL_ID, 1, _LARGEST_ID) if has_id else counts
    cell = image.cells.setdefault(key, _Cell(counts=counts))
    if cell.counts != counts:
        raise found.error(Column.CELL_ID, "is that of a cell with another mask: number the cells anew")
    if class_index in cell.scores:
        raise found.error("category_id", "is there a second time for this cell: keep one")
    score = 1.0 if found.get("score") is None else found.number("score", -_LARGEST_SCORE, _LARGEST_SCORE)
    cell.scores[class_index] = score


def _counts(found: JsonObject, size: FieldSize) -> bytes:
    segmentation = found.get("segmentation")
    if not isinstance(segmentation, dict) or not isinstance(segmentation.get("counts"), str):
        raise found.error(
            "segmentation",
            "is no compressed run-length mask ({'size': [height, width], 'counts': '...'}): "
            "convert it, e.g. by COCO.annToRLE of pycocotools",
        )
    if segmentation.get("size") != [size.height_px, size.width_px]:
        raise found.error(
            "segmentation",
            f"is not of the size of its image, {size.height_px} x {size.width_px} (height x width)",
        )
    text = str(segmentation["counts"])
    if not text.isascii() or len(text) > MAX_COUNTS_BYTES:
        raise found.error(
            "segmentation", "has counts that COCO does not write, or overlong ones: export it again"
        )
    return text.encode("ascii")


def _cell_rows(path: Path, image: _Image, classes: ClassSet, absent: float) -> pd.DataFrame:
    probabilities = np.full((len(classes), len(image.cells)), absent, dtype=np.float32)
    for position, cell in enumerate(image.cells.values()):
        probabilities[list(cell.scores), position] = list(cell.scores.values())
    counts, ids = [cell.counts for cell in image.cells.values()], list(_ids(image.cells))
    checked_masks(counts, ids, image.size, f"{path}, field {image.field_id}")
    values = mask_rows(counts, image.size, image.pixel_size_um)
    values |= {Column.FIELD_ID: image.field_id, Column.CELL_ID: ids}
    return pd.DataFrame(values | dict(zip(Column.probabilities(classes), probabilities, strict=True)))


def _ids(keys: dict[int | bytes, _Cell]) -> Iterator[int]:
    """Ids of their own, or the next that is free."""
    taken = {key for key in keys if isinstance(key, int)}
    free = (number for number in range(1, _LARGEST_ID) if number not in taken)
    for key in keys:
        yield key if isinstance(key, int) else next(free)


def _field_row(image: _Image) -> dict[str, Any]:
    return {
        Column.FIELD_ID: image.field_id,
        Column.HEIGHT_PX: image.size.height_px,
        Column.WIDTH_PX: image.size.width_px,
        Column.PIXEL_SIZE_UM: image.pixel_size_um,
        Column.NUM_CELLS: len(image.cells),
    }
