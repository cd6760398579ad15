"""A field with its cells as layers of napari. Made without napari: a layer is data, settings and the name of a kind.

Examples
--------
With napari installed::

    import napari
    from hpa_cells import read_table
    from hpa_cells.export.napari import layers
    from hpa_cells.fields import find_fields

    viewer = napari.Viewer()
    for data, settings, kind in layers(read_table("RUN"), find_fields("DIR"), "57_F11_1"):
        getattr(viewer, f"add_{kind}")(data, **settings)
    viewer.scale_bar.visible = True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.export.cell_features import cell_colors, cell_features
from hpa_cells.export.channels import shown_channels
from hpa_cells.export.pixels import open_fields
from hpa_cells.fields import FieldSource
from hpa_cells.table import CellTable, Column

__all__ = ["LayerData", "layers"]

LayerData: TypeAlias = "tuple[NDArray[Any], dict[str, Any], str]"

_UNIT: Final = "um"
# In this column napari looks for the row of a label; without it, a label is a row number.
_INDEX: Final = "index"
# What a label without a colour of its own gets.
_NO_COLOR: Final = (0.0, 0.0, 0.0, 0.0)


def layers(table: CellTable, sources: Sequence[FieldSource], field_id: str) -> list[LayerData]:
    """The layers of a field: its channels as images, its nuclei and cells as labels.

    Parameters
    ----------
    table
        The cell table.
    sources
        Its fields, or this one; from `find_fields`.
    field_id
        The field.

    Returns
    -------
    list of tuple
        ``(data, settings, kind)`` each, the ``LayerDataTuple`` of napari. ``kind`` is ``image`` for each channel that
        the field has, (H, W) uint8 or uint16 with its colour and intensity window; and ``labels`` for nuclei and cells,
        (H, W) int32 whose values are cell ids, with the colour of the most probable class and the table of
        `cell_features` as ``features``. All are scaled to um.

    Raises
    ------
    ValueError
        If the table or `sources` lack the field, or it cannot be opened.
    """
    (opened,) = open_fields(table.of_field(field_id), sources)
    field, segmentation = opened.field, opened.segmentation
    common = {"scale": (field.pixel_size_um, field.pixel_size_um), "units": (_UNIT, _UNIT)}
    images: list[LayerData] = [
        (
            field.image[shown.channel],
            common
            | {
                "name": f"{field_id} {shown.name}",
                # A map of this name is in every napari.
                "colormap": shown.channel.color,
                "contrast_limits": shown.window,
                "blending": "additive",
                "metadata": {Column.FIELD_ID: field_id},
            },
            "image",
        )
        for shown in shown_channels(field)
    ]
    with_nucleus = opened.cells[opened.cells[Column.NUCLEUS_RLE].notna()]
    labels: list[LayerData] = [
        (
            ids,
            common | {"name": f"{field_id} {name}", "metadata": {Column.FIELD_ID: field_id}} | look,
            "labels",
        )
        for name, ids, look in (
            ("nuclei", segmentation.nuclei, _look(with_nucleus, table.class_set) | {"visible": False}),
            ("cells", segmentation.cells, _look(opened.cells, table.class_set)),
        )
    ]
    return images + labels


def _look(cells: pd.DataFrame, class_set: ClassSet) -> dict[str, Any]:
    """Numbers and colours of the labels of these cells; 0, the background, has a row without any and no colour."""
    features = cell_features(cells, class_set).rename(columns={Column.CELL_ID: _INDEX})
    features = pd.concat([pd.DataFrame({_INDEX: [0]}), features], ignore_index=True)
    colors: dict[int | None, tuple[float, ...]] = {None: _NO_COLOR, 0: _NO_COLOR}
    for cell_id, color in cell_colors(cells, class_set).items():
        colors[cell_id] = (*(each / 255 for each in color), 1.0)
    return {"features": features, "colormap": colors, "opacity": 0.4}
