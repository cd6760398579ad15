"""Images of nuclei and their labels, as fields without other channels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields import FieldSource, ImageFile, read_field
from hpa_cells.segmentation.label_files import read_labels
from hpa_cells.types import Channel, Field

__all__ = ["read_nucleus_images"]


def read_nucleus_images(folder: Path, *, um_per_px: float) -> Iterator[tuple[Field, NDArray[np.int32]]]:
    """Fields of the nuclear stain alone, each with its (H, W) int32 nuclei, in the order of their names.

    Parameters
    ----------
    folder
        Holds ``images/`` (PNG, JPEG or TIFF, of one channel) and ``labels/``, a file of the same name for each.
    um_per_px
        Side of a pixel, for images that do not state it.

    Raises
    ------
    ValueError
        If an image or its labels cannot be read, are missing, or differ in size.
    """
    for path in sorted((folder / "images").iterdir()):
        labels_path = folder / "labels" / path.name
        if not labels_path.is_file():
            raise ValueError(f"{path} has no {labels_path}: images/ and labels/ go in pairs.")
        source = FieldSource(field_id=path.stem, files={Channel.NUCLEUS: ImageFile.at(path)})
        field = read_field(source, pixel_size_um=um_per_px)
        nuclei = read_labels(labels_path)
        if nuclei.shape != field.image.shape[1:]:
            raise ValueError(
                f"{path} has {field.height_px} x {field.width_px} px, {labels_path} {nuclei.shape[0]} x "
                f"{nuclei.shape[1]}: labels are as large as their image."
            )
        yield field, nuclei
