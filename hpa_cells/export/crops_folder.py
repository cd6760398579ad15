"""Single cells as images in one plain Zarr folder: arrays that zarr, dask and PyTorch read as they are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import folder_replaced_on_success
from hpa_cells.cells import NORMALISATION_QUANTILES
from hpa_cells.export.cell_images import CellImages, CellImageSettings
from hpa_cells.export.channels import CHANNEL_NAMES
from hpa_cells.export.extra import import_extra, quiet
from hpa_cells.export.ngff import ZARR_MARKS
from hpa_cells.export.pixels import FieldWithCells
from hpa_cells.table import CellTable, Column

__all__ = ["CropsFormat", "write_crops"]

_FORMAT: Final = "format=crops"
_MASKS: Final = ("nucleus", "cell")
# What is read at once.
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CropsFormat(CellImageSettings):
    """A Zarr folder of single-cell images; the settings are those of `write_crops`."""

    file_name: ClassVar[str] = "crops.zarr"
    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)

    masked: bool = False

    def write_with_fields(self, table: CellTable, fields: Iterable[FieldWithCells], path: Path) -> None:
        """See `write_crops`."""
        write_crops(table, fields, path, size_px=self.size_px, shrink=self.shrink, masked=self.masked)


def write_crops(
    table: CellTable,
    fields: Iterable[FieldWithCells],
    path: Path,
    *,
    size_px: int | None = None,
    shrink: int = 1,
    masked: bool = False,
) -> None:
    """Write every cell of a table as an image into a Zarr folder, which appears whole or not at all.

    Arrays, all in the order of the rows of the table: ``images`` (N, 4, S, S) uint8, microtubules, protein, nucleus and
    ER as `normalise_field` scales them; ``masks`` (N, 2, S, S) uint8, nucleus and cell, 255 inside; ``field_id`` text,
    ``cell_id`` int64, ``probabilities`` (N, K) float32; and, where the table has them, ``embeddings`` (N, D) float32.
    The attributes name channels, masks and classes and have the provenance. It is Zarr 2, which all readers know.

    Parameters
    ----------
    table
        The cell table.
    fields
        Its fields, from `open_fields`; none is held beyond the next.
    path
        The folder. A Zarr folder that is there is replaced, any other is refused.
    size_px, shrink, masked
        See `CellImages`; a larger cell is cut off, and told. `size_px` None: what the largest cell of the table needs.

    Raises
    ------
    ValueError
        If zarr is not installed, or a field cannot be opened.
    FileExistsError
        If `path` holds something else.
    """
    zarr = import_extra("zarr", wanted_by=_FORMAT)
    cut = CellImages.of(table, size_px=size_px, shrink=shrink, masked=masked)
    rows_of_field = table.cells.groupby(Column.FIELD_ID).indices
    with folder_replaced_on_success(path, marks=ZARR_MARKS) as temporary, quiet():
        root = zarr.open_group(str(temporary), mode="w", zarr_format=2)
        root.attrs.update(_attributes(table, cut))
        for name, values in _columns(table).items():
            root.create_array(name, data=values)
        masks, images = (
            _empty(root, name, (len(table.cells), number, cut.size_px, cut.size_px))
            for name, number in (("masks", len(_MASKS)), ("images", len(CHANNEL_NAMES)))
        )
        for opened in fields:
            rows = np.asarray(rows_of_field.get(opened.field.field_id, ()), dtype=np.intp)
            found = np.empty((len(rows), len(_MASKS) + len(CHANNEL_NAMES), *masks.shape[2:]), dtype=np.uint8)
            for place, image in enumerate(cut.of_field(opened)):
                found[place] = np.rint(255 * image)
            for part in _together(rows):
                masks[rows[part][0] : rows[part][-1] + 1] = found[part, : len(_MASKS)]
                images[rows[part][0] : rows[part][-1] + 1] = found[part, len(_MASKS) :]


def _attributes(table: CellTable, cut: CellImages) -> dict[str, Any]:
    about = {
        "channels": CHANNEL_NAMES,
        "masks": _MASKS,
        "class_set": table.class_set.name,
        "classes": table.class_set.keys,
        "normalisation_quantiles": NORMALISATION_QUANTILES,
        "provenance": asdict(table.provenance),
    } | asdict(cut)
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain


def _columns(table: CellTable) -> dict[str, NDArray[Any]]:
    """What is known of each cell beside its image."""
    cells = table.cells
    columns = {
        Column.FIELD_ID: cells[Column.FIELD_ID].to_numpy(dtype=np.str_),
        Column.CELL_ID: cells[Column.CELL_ID].to_numpy(dtype=np.int64),
        "probabilities": table.probabilities(),
    }
    if Column.EMBEDDING in cells and len(cells):
        columns["embeddings"] = np.stack(cells[Column.EMBEDDING].tolist()).astype(np.float32)
    return columns


def _empty(root: Any, name: str, shape: tuple[int, int, int, int]) -> Any:
    at_once = max(1, _CHUNK_BYTES // (shape[1] * shape[2] * shape[3]))
    return root.create_array(
        name, shape=shape, chunks=(min(at_once, max(1, shape[0])), *shape[1:]), dtype=np.uint8, fill_value=0
    )


def _together(rows: NDArray[np.intp]) -> list[slice]:
    """Slices of rows that follow each other: in a table in order it is one, and each chunk is written once or twice."""
    breaks = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return [slice(start, stop) for start, stop in pairwise(breaks) if stop > start]
