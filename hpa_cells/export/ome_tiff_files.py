"""Fields and their label images as OME-TIFF, which `find_fields` and ``segmenter=precomputed`` read back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import rgb_of
from hpa_cells.export.channels import shown_channels
from hpa_cells.export.pixels import LABEL_KINDS, FieldWithCells
from hpa_cells.table import CellTable

__all__ = ["OmeTiffFormat", "write_ome_tiff"]

_LABELS: Final = "labels"
_TILE_PX: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class OmeTiffFormat:
    """A folder of OME-TIFF files."""

    file_name: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = ()

    labels: bool = True

    def write_with_fields(
        self,
        table: CellTable,  # noqa: ARG002
        fields: Iterable[FieldWithCells],
        path: Path,
    ) -> None:
        """See `write_ome_tiff`."""
        for each in fields:
            write_ome_tiff(each, path, labels=self.labels)


def write_ome_tiff(opened: FieldWithCells, folder: Path, *, labels: bool = True) -> None:
    """Write ``<field_id>.ome.tif``, ``labels/<field_id>_cells.tif`` and ``labels/<field_id>_nuclei.tif``.

    All are OME-TIFF with the size of a pixel in um, and each appears whole or not at all. The label images have 16
    bits, or 32 (int32) where an id needs them, and lie in a folder of their own: beside the images they would be
    fields.

    Parameters
    ----------
    opened
        The field, from `open_fields`.
    folder
        Where to.
    labels
        Whether to write the label images.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    field = opened.field
    shown = shown_channels(field)
    channels = {"Name": [each.name for each in shown], "Color": [_signed_rgba(each.color) for each in shown]}
    _write(
        folder / f"{field.field_id}.ome.tif",
        field.image[[each.channel for each in shown]],
        pixel_size_um=field.pixel_size_um,
        metadata={"axes": "CYX", "Name": field.field_id, "Channel": channels},
    )
    for kind in LABEL_KINDS if labels else ():
        ids: NDArray[np.int32] = getattr(opened.segmentation, kind)
        fits = ids.max(initial=0) <= np.iinfo(np.uint16).max
        _write(
            folder / _LABELS / f"{field.field_id}_{kind}.tif",
            ids.astype(np.uint16) if fits else ids,
            pixel_size_um=field.pixel_size_um,
            metadata={"axes": "YX", "Name": f"{field.field_id} {kind}", "Channel": {"Name": [kind]}},
        )


def _write(path: Path, image: NDArray[Any], *, pixel_size_um: float, metadata: dict[str, Any]) -> None:
    size = {f"PhysicalSize{axis}": pixel_size_um for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    with replaced_on_success(path) as temporary:
        tifffile.imwrite(
            temporary,
            image,
            ome=True,
            photometric="minisblack",
            tile=(_TILE_PX, _TILE_PX),
            compression="zlib",
            resolution=(1e4 / pixel_size_um, 1e4 / pixel_size_um),
            resolutionunit="CENTIMETER",
            metadata=metadata | size | units,
        )


def _signed_rgba(color: str) -> int:
    """A colour as OME has it: red, green, blue and opacity as the bytes of a signed number.

    Examples
    --------
    >>> _signed_rgba("#ffff00"), _signed_rgba("#0000ff")
    (-65281, 65535)
    """
    return int.from_bytes(bytes((*rgb_of(color), 255)), "big", signed=True)
