"""The fields and the cell table as SpatialData: images, label images and the table that annotates them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import pandas as pd

from hpa_cells.atomic import folder_replaced_on_success
from hpa_cells.export.anndata_table import AnnDataKey, to_anndata
from hpa_cells.export.channels import shown_channels
from hpa_cells.export.element_names import element_names
from hpa_cells.export.extra import import_extra, quiet
from hpa_cells.export.ngff import ZARR_MARKS, Pyramid, image_pyramid, label_pyramid, multiscale, write_pyramid
from hpa_cells.export.pixels import LABEL_KINDS, FieldWithCells
from hpa_cells.table import CellTable, Column

__all__ = ["SpatialDataFormat", "write_spatialdata"]

_FORMAT: Final = "format=spatialdata"
_TABLE: Final = "cells"
_REGION: Final = "region"
_CELLS: Final = LABEL_KINDS[0]
# The format of spatialdata for images in Zarr 3, since its version 0.5; what NGFF has for its coordinate systems is not
# final, thus the name.
_RASTER_VERSION: Final = "0.3"
_NGFF_VERSION: Final = "0.5-dev-spatialdata"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpatialDataFormat:
    """A ``.zarr`` folder of spatialdata; the settings are those of `write_spatialdata`."""

    file_name: ClassVar[str] = "cells.zarr"
    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)

    scales: int = 1
    masks: bool = False

    def __post_init__(self) -> None:
        if self.scales < 1:
            raise ValueError(f"format.scales is {self.scales}: give at least 1, which is the field as it is.")

    def write_with_fields(self, table: CellTable, fields: Iterable[FieldWithCells], path: Path) -> None:
        """See `write_spatialdata`."""
        write_spatialdata(table, fields, path, scales=self.scales, masks=self.masks)


def write_spatialdata(
    table: CellTable,
    fields: Iterable[FieldWithCells],
    path: Path,
    *,
    scales: int = 1,
    masks: bool = False,
) -> None:
    """Write a ``.zarr`` folder that `spatialdata.read_zarr` opens; it appears whole or not at all.

    Of each field there are the image ``<name>_image`` (c, y, x) in its own 8 or 16 bit with the names of its channels,
    and the label images ``<name>_cells`` and ``<name>_nuclei`` (y, x) int32, whose pixels are cell ids. All three are
    scaled to um in a coordinate system of the field's own, ``<name>``, from the field's top left corner. ``<name>`` is
    the field's id as far as spatialdata allows it (`element_names`); ``attrs["hpa_cells"]`` lists both. The table
    ``cells`` is that of `to_anndata`; its column ``region`` names the label image of a cell, and ``cell_id`` is its
    pixel value there.

    Parameters
    ----------
    table
        The cell table.
    fields
        Its fields, from `open_fields`; none is held beyond the next.
    path
        The folder. A Zarr folder that is there is replaced, any other is refused.
    scales
        Most levels of each image, each half as large as the one before; fewer for small fields.
    masks
        Whether the table has the run-length masks too, which say the same as the label images.

    Raises
    ------
    ValueError
        If spatialdata is not installed, or a field cannot be opened.
    FileExistsError
        If `path` holds something else.
    """
    import_extra("spatialdata", wanted_by=_FORMAT)
    names = element_names(table.fields[Column.FIELD_ID].tolist())
    about = {
        AnnDataKey.PROVENANCE: asdict(table.provenance),
        AnnDataKey.UNIT: "um",
        "elements": [{Column.FIELD_ID: field_id, "name": name} for field_id, name in names.items()],
    }
    with folder_replaced_on_success(path, marks=ZARR_MARKS) as temporary, quiet():
        import zarr
        from spatialdata import SpatialData

        data = SpatialData(attrs={AnnDataKey.ABOUT: json.loads(json.dumps(about))})
        data.write(temporary, consolidate_metadata=False)
        root = zarr.open_group(str(temporary), mode="r+", use_consolidated=False)
        images, labels = (root.require_group(each) for each in ("images", "labels"))
        for each in fields:
            _write_field(each, names[each.field.field_id], images=images, labels=labels, scales=scales)
        labels.attrs["ome"] = {
            "labels": [_labels_of(name, kind) for name in names.values() for kind in LABEL_KINDS]
        }
        with warnings.catch_warnings():
            # They are there, but on disk.
            warnings.filterwarnings("ignore", "The table is annotating")
            data[_TABLE] = _annotations(table, names, masks=masks)
            data.write_element(_TABLE)
        data.write_consolidated_metadata()


def _write_field(opened: FieldWithCells, name: str, *, images: Any, labels: Any, scales: int) -> None:
    """Write the image and the label images of a field into their groups."""
    field = opened.field
    shown = shown_channels(field)
    pixels = field.image[[each.channel for each in shown]]
    group = images.create_group(f"{name}_image")
    channels = {"omero": {"channels": [{"label": each.name} for each in shown]}}
    _write_element(group, image_pyramid(pixels, scales=scales), name, field.pixel_size_um, channels)
    for kind in LABEL_KINDS:
        pyramid = label_pyramid(getattr(opened.segmentation, kind), scales=scales)
        group = labels.create_group(_labels_of(name, kind))
        _write_element(group, pyramid, name, field.pixel_size_um, {"image-label": {"version": "0.5"}})


def _write_element(
    group: Any, pyramid: Pyramid, system: str, pixel_size_um: float, further: dict[str, Any]
) -> None:
    """Write a raster element as spatialdata has it: levels in pixels, and the way from there to um."""
    write_pyramid(group, pyramid)
    axes = [
        {"name": axis, "type": "channel" if axis == "c" else "space", "unit": "micrometer"}
        for axis in pyramid.axes
    ]
    to_system = {
        "type": "scale",
        "scale": [1.0 if axis == "c" else pixel_size_um for axis in pyramid.axes],
        "input": {"name": "".join(pyramid.axes), "axes": axes},
        "output": {"name": system, "axes": axes},
    }
    name = group.basename
    described = multiscale(pyramid, name=name, pixel_size_um=None, further=[to_system])
    group.attrs.update(
        {
            "ome": {"version": _NGFF_VERSION, "multiscales": [described]} | further,
            "spatialdata_attrs": {"version": _RASTER_VERSION},
        }
    )


def _labels_of(name: str, kind: str) -> str:
    return f"{name}_{kind}"


def _annotations(table: CellTable, names: dict[str, str], *, masks: bool) -> Any:
    """The cells as a table of SpatialData."""
    from spatialdata.models import TableModel

    cells = to_anndata(table, masks=masks)
    regions = table.cells[Column.FIELD_ID].map(lambda field_id: _labels_of(names[field_id], _CELLS))
    cells.obs[_REGION] = pd.Categorical(regions)
    if not len(cells):
        # Without a cell there is nothing to annotate, and spatialdata takes no table that says so.
        return TableModel.parse(cells)
    return TableModel.parse(
        cells,
        region=list(cells.obs[_REGION].cat.categories),
        region_key=_REGION,
        instance_key=Column.CELL_ID,
    )
