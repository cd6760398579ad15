"""Single cells as images in one ``.h5sc`` file, the form of scPortrait: HDF5 of AnnData with an array of images.

References
----------
.. [1] The layout: https://github.com/MannLabs/scPortrait, ``docs/pages/workflow/single_cell_image_format.rst`` and
   ``src/scportrait/io/h5sc.py``.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd

from hpa_cells.atomic import replaced_on_success
from hpa_cells.cells import NORMALISATION_QUANTILES
from hpa_cells.export.anndata_table import AnnDataKey, to_anndata
from hpa_cells.export.cell_images import CellImages, CellImageSettings
from hpa_cells.export.channels import CHANNEL_NAMES
from hpa_cells.export.extra import import_extra, quiet
from hpa_cells.export.h5ad import write_h5ad
from hpa_cells.export.pixels import FieldWithCells
from hpa_cells.table import CellTable, Column

__all__ = ["H5scFormat", "write_h5sc"]

_FORMAT: Final = "format=h5sc"
_IMAGES: Final = "single_cell_images"
_CELL_ID: Final = "scportrait_cell_id"
_MASKS: Final = ("seg_all_nucleus", "seg_all_cytosol")
_DTYPE: Final = np.float16
# What HDF5 notes of a chunk, and what it writes besides when it closes a file: more than was seen of either.
_CHUNK_BYTES: Final = 128
_CLOSING_BYTES: Final = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class H5scFormat(CellImageSettings):
    """An ``.h5sc`` file; the settings are those of `write_h5sc`."""

    file_name: ClassVar[str] = "single_cells.h5sc"
    suffixes: ClassVar[tuple[str, ...]] = (".h5sc",)

    def write_with_fields(self, table: CellTable, fields: Iterable[FieldWithCells], path: Path) -> None:
        """See `write_h5sc`."""
        write_h5sc(table, fields, path, size_px=self.size_px, shrink=self.shrink, masked=self.masked)


def write_h5sc(
    table: CellTable,
    fields: Iterable[FieldWithCells],
    path: Path,
    *,
    size_px: int | None = None,
    shrink: int = 1,
    masked: bool = True,
) -> None:
    """Write every cell of a table as an image into one file, which appears whole or not at all.

    ``obsm["single_cell_images"]`` is (N, 6, S, S) float16 in [0, 1], in the order of the rows of the table: the mask of
    the nucleus and that of the cell (``seg_all_cytosol`` in scPortrait), then microtubules, protein, nucleus and ER.
    The box of the cell is in the middle; beyond the edge of the field there is 0, and in a channel that a field does
    not have. Channels are scaled by field and not by cell, so that dim cells stay dim. `obs` is that of `to_anndata`
    with the probabilities and ``scportrait_cell_id``, which numbers the rows from 1, since ``cell_id`` is unique within
    a field only.

    Parameters
    ----------
    table
        The cell table.
    fields
        Its fields, from `open_fields`; none is held beyond the next.
    path
        The file.
    size_px
        S, the side of the images; a larger cell is cut off, and told. None: what the largest cell of the table needs.
    shrink
        Pixels of the field a side that one of the image is the mean of.
    masked
        Whether the channels are 0 outside the cell.

    Raises
    ------
    ValueError
        If anndata is not installed, or a field cannot be opened.
    OSError
        If the disk is full, or is about to be.
    """
    import_extra("anndata", wanted_by=_FORMAT)
    h5py = import_extra("h5py", wanted_by=_FORMAT)
    cut = CellImages.of(table, size_px=size_px, shrink=shrink, masked=masked)
    rows_of_field = table.cells.groupby(Column.FIELD_ID).indices
    with replaced_on_success(path) as temporary:
        with quiet():
            write_h5ad(_described(table, cut.size_px), temporary, wanted_by=_FORMAT)
        with h5py.File(temporary, "a") as file:
            images = _empty_images(file, len(table.cells), cut.size_px)
            for opened in fields:
                rows = rows_of_field.get(opened.field.field_id, ())
                _refuse_full_disk(path, images, num_cells=len(rows))
                for row, image in zip(rows, cut.of_field(opened), strict=True):
                    images[int(row)] = image.astype(_DTYPE)


def _refuse_full_disk(path: Path, images: Any, *, num_cells: int) -> None:
    """End while HDF5 can still close its file: where it cannot, it takes the process with it.

    Raises
    ------
    OSError
        If the images of so many more cells may not fit.
    """
    num_images, *shape = images.shape
    num_bytes = num_cells * math.prod(shape) * images.dtype.itemsize
    if (
        shutil.disk_usage(path.parent).free
        < num_bytes + num_images * shape[0] * _CHUNK_BYTES + _CLOSING_BYTES
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _described(table: CellTable, size_px: int) -> Any:
    """AnnData of the cells, with a variable a channel as scPortrait has it, still without images."""
    import anndata

    cells = to_anndata(table)
    names = [*_MASKS, *CHANNEL_NAMES]
    kinds = ["mask"] * len(_MASKS) + ["image_channel"] * len(CHANNEL_NAMES)
    obs = cells.obs.join(table.cells[Column.probabilities(table.class_set)].set_axis(cells.obs_names))
    # By it scPortrait finds an image: it has to be unique in the file, and the names of the rows to be numbers.
    obs.insert(0, _CELL_ID, np.arange(1, len(obs) + 1, dtype=np.uint64))
    obs = obs.set_axis([str(row) for row in range(len(obs))])
    about = _image_attributes(len(cells), size_px) | {
        "normalization_range_lower": NORMALISATION_QUANTILES[0],
        "normalization_range_upper": NORMALISATION_QUANTILES[1],
        "channel_names": np.array(names),
        "channel_mapping": np.array(kinds),
    }
    return anndata.AnnData(
        obs=obs,
        var=pd.DataFrame(
            {"channels": names, "channel_mapping": kinds}, index=[str(each) for each in range(len(names))]
        ),
        obsm={key: cells.obsm[key] for key in cells.obsm},
        uns={key: cells.uns[key] for key in (AnnDataKey.CLASS_COLORS, AnnDataKey.ABOUT)} | {_IMAGES: about},
    )


def _image_attributes(num_cells: int, size_px: int) -> dict[str, Any]:
    """What both the file and its array of images say of the images; ``image_size`` by older versions of scPortrait."""
    return {
        "n_cells": num_cells,
        "n_channels": len(_MASKS) + len(CHANNEL_NAMES),
        "n_masks": len(_MASKS),
        "n_image_channels": len(CHANNEL_NAMES),
        "image_size": size_px,
        "image_size_x": size_px,
        "image_size_y": size_px,
        "normalization": True,
        "compression": "lzf",
    }


def _empty_images(file: Any, num_cells: int, size_px: int) -> Any:
    """The array of images: a chunk a channel of a cell, which is how one cell is read alone."""
    names = [*_MASKS, *CHANNEL_NAMES]
    images = file.create_dataset(
        f"obsm/{_IMAGES}",
        shape=(num_cells, len(names), size_px, size_px),
        chunks=(1, 1, size_px, size_px) if num_cells else None,
        compression="lzf" if num_cells else None,
        dtype=_DTYPE,
    )
    kinds = ["mask"] * len(_MASKS) + ["image_channel"] * len(CHANNEL_NAMES)
    images.attrs.update(
        _image_attributes(num_cells, size_px)
        | {
            "encoding-type": "array",
            "encoding-version": "0.2.0",
            "normalization_range": NORMALISATION_QUANTILES,
            "channel_names": np.array([each.encode() for each in names]),
            "channel_mapping": np.array([each.encode() for each in kinds]),
        }
    )
    return images
