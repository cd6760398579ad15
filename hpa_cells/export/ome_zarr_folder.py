"""Fields as OME-Zarr, one folder a field, for napari, Fiji and other viewers: the image, its cells and its nuclei."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import pandas as pd

from hpa_cells.atomic import folder_replaced_on_success
from hpa_cells.classes import ClassSet
from hpa_cells.export.cell_features import cell_colors, cell_features
from hpa_cells.export.channels import shown_channels
from hpa_cells.export.extra import import_extra, quiet
from hpa_cells.export.ngff import ZARR_MARKS, Pyramid, image_pyramid, label_pyramid, multiscale, write_pyramid
from hpa_cells.export.pixels import LABEL_KINDS, FieldWithCells
from hpa_cells.table import CellTable, Column
from hpa_cells.types import Field

__all__ = ["OmeZarrFormat", "write_ome_zarr"]

_FORMAT: Final = "format=ome_zarr"
# Version of OME-NGFF -> version of Zarr.
_ZARR_VERSIONS: Final = {"0.4": 2, "0.5": 3}
_PROVENANCE: Final = "hpa_cells"


@dataclass(frozen=True, kw_only=True, slots=True)
class OmeZarrFormat:
    """A folder of OME-Zarr images; the settings are those of `write_ome_zarr`."""

    file_name: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = ()

    version: str = "0.4"
    scales: int = 4

    def __post_init__(self) -> None:
        if self.version not in _ZARR_VERSIONS:
            raise ValueError(
                f"format.version is {self.version}: give one of {', '.join(_ZARR_VERSIONS)}, in quotes."
            )
        if self.scales < 1:
            raise ValueError(f"format.scales is {self.scales}: give at least 1, which is the field as it is.")

    def write_with_fields(self, table: CellTable, fields: Iterable[FieldWithCells], path: Path) -> None:
        """See `write_ome_zarr`."""
        for each in fields:
            write_ome_zarr(table, each, path, version=self.version, scales=self.scales)


def write_ome_zarr(
    table: CellTable, opened: FieldWithCells, folder: Path, *, version: str = "0.4", scales: int = 4
) -> Path:
    """Write ``<field_id>.ome.zarr`` of a field; it appears whole or not at all.

    The image (c, y, x) has the field's 8 or 16 bit and, for viewers, names, colours and intensity windows of its
    channels. ``labels/cells`` and ``labels/nuclei`` (y, x) int32 hold cell ids, with a colour, that of the most
    probable class, and the numbers of `cell_features` a cell. All have their size in um.

    Parameters
    ----------
    table
        The cell table, for its classes and provenance.
    opened
        The field, from `open_fields`.
    folder
        Where to.
    version
        Of OME-NGFF: ``0.4``, in Zarr 2, which most programs open, or ``0.5``, in Zarr 3.
    scales
        Most levels of each image, each half as large as the one before; fewer for small fields.

    Returns
    -------
    Path
        The folder of the field.

    Raises
    ------
    ValueError
        If zarr is not installed.
    FileExistsError
        If there is something else at the place of the field.
    """
    zarr = import_extra("zarr", wanted_by=_FORMAT)
    field = opened.field
    path = folder / f"{field.field_id}.ome.zarr"
    with folder_replaced_on_success(path, marks=ZARR_MARKS) as temporary, quiet():
        root = zarr.open_group(str(temporary), mode="w", zarr_format=_ZARR_VERSIONS[version])
        shown = shown_channels(field)
        pyramid = image_pyramid(field.image[[each.channel for each in shown]], scales=scales)
        _write_image(root, pyramid, field, field.field_id, version, {"omero": _omero(field)})
        root.attrs[_PROVENANCE] = json.loads(json.dumps(asdict(table.provenance)))
        labels = root.create_group("labels")
        _describe(labels, {"labels": list(LABEL_KINDS)}, version)
        for kind in LABEL_KINDS:
            pyramid = label_pyramid(getattr(opened.segmentation, kind), scales=scales)
            cells = (
                opened.cells if kind == "cells" else opened.cells[opened.cells[Column.NUCLEUS_RLE].notna()]
            )
            image_label = {"version": version} | _image_label(cells, table.class_set)
            _write_image(
                labels.create_group(kind), pyramid, field, kind, version, {"image-label": image_label}
            )
    return path


def _write_image(
    group: Any, pyramid: Pyramid, field: Field, name: str, version: str, further: dict[str, Any]
) -> None:
    write_pyramid(group, pyramid)
    described = multiscale(pyramid, name=name, pixel_size_um=field.pixel_size_um)
    _describe(group, {"multiscales": [described]} | further, version)


def _describe(group: Any, metadata: dict[str, Any], version: str) -> None:
    """Put the metadata where this version has them."""
    if version == "0.4":
        for each in metadata.get("multiscales", []):
            each["version"] = version
        group.attrs.update(metadata)
    else:
        group.attrs["ome"] = {"version": version} | metadata


def _omero(field: Field) -> dict[str, Any]:
    """How the channels are shown."""
    return {
        "name": field.field_id,
        "channels": [
            {
                "label": each.name,
                "color": each.color.removeprefix("#").upper(),
                "active": True,
                "coefficient": 1.0,
                "family": "linear",
                "inverted": False,
                "window": {"min": 0, "max": field.max_value, "start": each.window[0], "end": each.window[1]},
            }
            for each in shown_channels(field)
        ],
        "rdefs": {"model": "color", "defaultT": 0, "defaultZ": 0},
    }


def _image_label(cells: pd.DataFrame, class_set: ClassSet) -> dict[str, Any]:
    """Colour and numbers of each cell."""
    colors = [
        {"label-value": cell_id, "rgba": [*color, 255]}
        for cell_id, color in cell_colors(cells, class_set).items()
    ]
    # As JSON, which knows no NaN: a number that is not known is null.
    properties = json.loads(
        cell_features(cells, class_set)
        .rename(columns={Column.CELL_ID: "label-value"})
        .to_json(orient="records")
    )
    return {"colors": colors, "properties": properties, "source": {"image": "../../"}}
