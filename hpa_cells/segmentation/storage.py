"""Segmentations on disk: ``<id>_cells`` and ``<id>_nuclei``, 16-bit PNG or, for larger ids, 32-bit TIFF."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hpa_cells.atomic import replaced_on_success
from hpa_cells.segmentation.label_files import read_labels
from hpa_cells.types import Segmentation

__all__ = ["is_written", "read_segmentation", "write_segmentation"]

_SUFFIXES = (".png", ".tif")
_MAX_PNG_ID = 65_535


def write_segmentation(segmentation: Segmentation, folder: Path | str) -> None:
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


def is_written(folder: Path | str, field_id: str) -> bool:
    """Whether both label images of a field are there."""
    return any(
        all(_path(folder, field_id, name, suffix).is_file() for name in ("cells", "nuclei"))
        for suffix in _SUFFIXES
    )


def read_segmentation(folder: Path | str, field_id: str, *, pixel_size_um: float) -> Segmentation:
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


def _path(folder: Path | str, field_id: str, name: str, suffix: str) -> Path:
    return Path(folder) / f"{field_id}_{name}{suffix}"
