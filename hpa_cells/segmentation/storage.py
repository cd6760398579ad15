"""Segmentations on disk: ``<id>_cells`` and ``<id>_nuclei``, 16-bit PNG or, for larger ids, 32-bit TIFF."""

from __future__ import annotations

import re
from typing import Final

import cv2
import numpy as np
from PIL import Image

from hpa_cells.atomic import replaced_on_success
from hpa_cells.places import Place, files_in, place
from hpa_cells.segmentation.label_files import read_labels
from hpa_cells.types import Segmentation

__all__ = ["SETTINGS_FILE", "is_written", "read_segmentation", "write_segmentation", "written_fields"]

# Beside the label images: what made them.
SETTINGS_FILE: Final = "segmentation.json"

_SUFFIXES = (".png", ".tif")
_CELLS_NAME: Final = re.compile(r"(?P<id>.*)_cells(?P<suffix>\.png|\.tif)", re.DOTALL)
_MAX_PNG_ID = 65_535


def write_segmentation(segmentation: Segmentation, folder: Place | str) -> None:
    """Write the two label images of a field; each appears whole or not at all.

    The nuclei are written first: where the cells are, the field is finished. An earlier result of the field
    in the other format is removed.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    top = max(int(segmentation.cells.max(initial=0)), int(segmentation.nuclei.max(initial=0)))
    suffix, other = _SUFFIXES if top <= _MAX_PNG_ID else reversed(_SUFFIXES)
    for name, labels in (("nuclei", segmentation.nuclei), ("cells", segmentation.cells)):
        path = _path(folder, segmentation.field_id, name, suffix)
        with replaced_on_success(path) as temporary:
            if suffix == ".png":
                encoded, data = cv2.imencode(".png", labels.astype(np.uint16))
                assert encoded
                temporary.write_bytes(data.tobytes())
            else:
                Image.fromarray(labels).save(temporary, compression="tiff_deflate")
        _path(folder, segmentation.field_id, name, other).unlink(missing_ok=True)


def is_written(folder: Place | str, field_id: str) -> bool:
    """Whether both label images of a field are there."""
    return any(
        all(_path(folder, field_id, name, suffix).is_file() for name in ("cells", "nuclei"))
        for suffix in _SUFFIXES
    )


def written_fields(folder: Place | str) -> frozenset[str]:
    """Ids of the fields of which `is_written` is true, by one look at the folder; none where it does not exist."""
    try:
        names = {path.name for path in files_in(place(folder))}
    except FileNotFoundError:
        return frozenset()
    found = filter(None, map(_CELLS_NAME.fullmatch, names))
    return frozenset(each["id"] for each in found if f"{each['id']}_nuclei{each['suffix']}" in names)


def read_segmentation(folder: Place | str, field_id: str, *, pixel_size_um: float) -> Segmentation:
    """Read what `write_segmentation` wrote; `Precomputed` reads other layouts too.

    Raises
    ------
    FileNotFoundError
        If the field has no label images in this folder.
    ValueError
        If they are damaged or do not fit together.
    """
    for suffix in _SUFFIXES:
        cells = _path(folder, field_id, "cells", suffix)
        if cells.is_file():
            return Segmentation(
                field_id=field_id,
                cells=read_labels(cells),
                nuclei=read_labels(_path(folder, field_id, "nuclei", suffix)),
                pixel_size_um=pixel_size_um,
            )
    raise FileNotFoundError(
        f"Field {field_id} has no {field_id}_cells.png in {folder}: run `hpa-cells segment` for it."
    )


def _path(folder: Place | str, field_id: str, name: str, suffix: str) -> Place:
    return place(folder) / f"{field_id}_{name}{suffix}"
