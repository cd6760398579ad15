"""The cells as COCO instances: an annotation a cell and class, as pycocotools reads and scores them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import ClassSet
from hpa_cells.export.json_values import compact_json
from hpa_cells.table import CellTable, Column

__all__ = ["CocoFormat", "coco_categories", "coco_image_id", "write_coco"]

# As the metrics take it.
_TRUE_FROM = 0.5
# Numbers up to 2^53 are whole in every reader of JSON.
_ID_BITS = 52


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoFormat:
    """COCO instances; the settings are those of `write_coco`."""

    file_name: ClassVar[str] = "instances.json"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    min_confidence: float = 0.0
    truth: bool | None = None
    results: bool = False
    image_suffix: str = "_green.png"

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"format.min_confidence is {self.min_confidence}: give a number from 0 to 1.")

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_coco`."""
        write_coco(
            table,
            path,
            min_confidence=self.min_confidence,
            truth=self.truth,
            results=self.results,
            image_suffix=self.image_suffix,
        )


def coco_image_id(field_id: str) -> int:
    """The number of a field in COCO: the same in every export, so that a truth and a prediction meet.

    Examples
    --------
    >>> coco_image_id("f1")
    1113963349703185
    """
    digest = hashlib.sha256(field_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _ID_BITS)


def coco_categories(class_set: ClassSet) -> list[dict[str, Any]]:
    """The classes as categories, numbered from 1, since many readers take 0 for the background."""
    return [
        {"id": number, "name": location.name, "key": location.key, "supercategory": "protein location"}
        for number, location in enumerate(class_set.locations, start=1)
    ]


def write_coco(
    table: CellTable,
    path: Path,
    *,
    min_confidence: float = 0.0,
    truth: bool | None = None,
    results: bool = False,
    image_suffix: str = "_green.png",
) -> None:
    """Write the instances of all fields, or the list of results that goes with such a file.

    Parameters
    ----------
    table
        Cells with probabilities; NaN, which is no detection, gives no annotation.
    path
        The file; it appears whole or not at all.
    min_confidence
        Least probability of an annotation. A cell of which none is left is not in the file.
    truth
        Whether only the classes that are true of a cell, by a probability of 0.5 or more, are annotated. None: where
        all probabilities are 0 or 1, as those of a truth are.
    results
        Whether to write the bare list that ``COCO.loadRes`` reads, with the annotations of a whole file in all else.
    image_suffix
        What makes the ``file_name`` of an image of a field's id.

    Raises
    ------
    ValueError
        If no cell has a probability, or fields have and there is no cell.
    """
    _check_cells(table)
    probabilities = table.probabilities()
    if truth is None:
        truth = bool(np.isin(probabilities[~np.isnan(probabilities)], (0, 1)).all())
    images = _images(table, image_suffix)
    about = {
        "description": "Cells and the locations of a protein in them",
        "version": __version__,
        "class_set": table.class_set.name,
        "truth": truth,
    }
    # A comparison with NaN is False.
    chosen = probabilities >= max(min_confidence, _TRUE_FROM if truth else 0.0)
    with (
        replaced_on_success(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        if not results:
            parts = {"info": about, "images": images, "categories": coco_categories(table.class_set)}
            file.write(compact_json(parts)[:-1])
            file.write(',"annotations":')
        file.write("[")
        for number, annotation in enumerate(_annotations(table, probabilities, chosen)):
            file.write(",\n" if number else "\n")
            file.write(compact_json(annotation))
        file.write("\n]\n" if results else "\n]}\n")


def _check_cells(table: CellTable) -> None:
    if len(table.cells) and np.isnan(table.probabilities()).all():
        raise ValueError(f"None of the {len(table.cells)} cells has a probability: predict with a model.")
    if not len(table.cells) and np.isfinite(table.field_probabilities()).any():
        raise ValueError(
            f"The table has {len(table.fields)} fields with probabilities and no cell, as of a model that sees squares "
            "of fields; instances are cells: predict with a model that sees cells."
        )


def _images(table: CellTable, image_suffix: str) -> list[dict[str, Any]]:
    columns = (Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX, Column.PIXEL_SIZE_UM)
    return [
        {
            "id": coco_image_id(field_id),
            "file_name": f"{field_id}{image_suffix}",
            "height": height_px,
            "width": width_px,
            Column.FIELD_ID: field_id,
            Column.PIXEL_SIZE_UM: None if math.isnan(pixel_size_um) else pixel_size_um,
        }
        for field_id, height_px, width_px, pixel_size_um in zip(
            *(table.fields[column].tolist() for column in columns), strict=True
        )
    ]


def _annotations(
    table: CellTable, probabilities: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    """Of each cell and each of its chosen classes, numbered from 1: COCOeval takes 0 for no match."""
    boxes = (Column.BBOX_X_PX, Column.BBOX_Y_PX, Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX)
    sides = (Column.HEIGHT_PX, Column.WIDTH_PX)
    names = (Column.FIELD_ID, Column.CELL_ID, *sides, Column.CELL_RLE, Column.AREA_PX)
    columns = [table.cells[column].tolist() for column in (*names, *boxes)]
    number = 0
    for scores, is_chosen, values in zip(probabilities, chosen, zip(*columns, strict=True), strict=True):
        field_id, cell_id, height_px, width_px, rle, area_px, *box = values
        shared = {
            "image_id": coco_image_id(field_id),
            Column.CELL_ID: cell_id,
            "segmentation": {"size": [height_px, width_px], "counts": rle},
            "bbox": box,
            "area": area_px,
            "iscrowd": 0,
        }
        classes = np.flatnonzero(is_chosen)
        # numpy writes a float32 with as few digits as tell it from its neighbours.
        texts = scores[classes].astype(str).tolist()
        for class_index, text in zip(classes.tolist(), texts, strict=True):
            number += 1
            yield {"id": number, "category_id": class_index + 1, "score": float(text)} | shared
