"""Layers for napari: their structure, and where napari is installed, napari itself."""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np
import pytest

from hpa_cells.classes import color_on_dark
from hpa_cells.export.napari import layers


@pytest.mark.parametrize("field_id", ["many", "large ids", "=1+1, é", "Large_ids"])
def test_layers_of_a_field(pixel_run, field_id: str) -> None:
    found = layers(pixel_run.table, pixel_run.sources, field_id)
    field, segmentation = pixel_run.fields[field_id], pixel_run.segmentations[field_id]
    num_channels = 4 - len(field.missing)
    assert [kind for _, _, kind in found] == ["image"] * num_channels + ["labels"] * 2
    names = [*["microtubules", "protein", "nucleus", "ER"][:num_channels], "nuclei", "cells"]
    assert [settings["name"] for _, settings, _ in found] == [f"{field_id} {name}" for name in names]
    for (data, settings, kind), wanted in zip(
        found, [*field.image[:num_channels], segmentation.nuclei, segmentation.cells], strict=True
    ):
        np.testing.assert_array_equal(data, wanted)
        assert data.dtype == wanted.dtype
        assert settings["scale"] == (0.25, 0.25)
        if kind == "image":
            low, high = settings["contrast_limits"]
            assert 0 <= low < high <= field.max_value
    assert [settings["colormap"] for _, settings, kind in found if kind == "image"] == [
        "red",
        "green",
        "blue",
        "yellow",
    ][:num_channels]


def test_a_pixel_leads_to_its_row_and_colour(pixel_run) -> None:
    """As napari looks: by the column `index`, where the background has a row too."""
    classes = pixel_run.table.class_set
    for field_id in ("many", "large ids"):
        *_, (nuclei, nucleus_look, _), (cells, cell_look, _) = layers(
            pixel_run.table, pixel_run.sources, field_id
        )
        for labels, look in ((nuclei, nucleus_look), (cells, cell_look)):
            features = look["features"]
            assert set(features["index"]) == set(np.unique(labels)) | {0}
            assert set(look["colormap"]) == set(np.unique(labels).tolist()) | {0, None}
            rows = pixel_run.table.cells[pixel_run.table.cells["field_id"] == field_id].set_index("cell_id")
            for cell_id in np.unique(labels[labels > 0])[:20]:
                (shown,) = features[features["index"] == cell_id].to_dict("records")
                assert shown["area_um2"] == rows.loc[cell_id, "area_um2"]
                assert shown["p_cytosol"] == rows.loc[cell_id, "p_cytosol"]
                best = classes.locations[classes.names.index(shown["most_probable_class"])]
                assert shown[f"p_{best.key}"] == max(shown[f"p_{key}"] for key in classes.keys)
                rgb = "".join(f"{round(255 * each):02x}" for each in look["colormap"][cell_id][:3])
                assert rgb == bytes(color_on_dark(best.color)).hex()


def test_only_the_field_that_is_shown_is_read(pixel_run) -> None:
    """Its source alone is enough."""
    alone = [source for source in pixel_run.sources if source.field_id == "many"]
    assert len(layers(pixel_run.table, alone, "many")) == 6


def test_a_field_that_the_table_lacks(pixel_run) -> None:
    with pytest.raises(
        ValueError, match=r"Field other is not in the table: give one of its 4 fields, such as =1"
    ):
        layers(pixel_run.table, pixel_run.sources, "other")
    with pytest.raises(ValueError, match="1 of the table's 1 fields are not among the 0 fields given"):
        layers(pixel_run.table, [], "many")


@pytest.mark.skipif(find_spec("napari") is None, reason="napari is not installed")
def test_napari_takes_them(pixel_run) -> None:
    from napari.layers import Layer

    for data in layers(pixel_run.table, pixel_run.sources, "many"):
        assert Layer.create(*data).data.shape == (40, 60)


@pytest.mark.skipif(
    find_spec("napari") is None or "DISPLAY" not in os.environ, reason="napari or a display is missing"
)
def test_what_napari_shows(pixel_run) -> None:
    """Pixels of the canvas: a cell has the colour of its class, and what is told of it is its row."""
    import napari

    viewer = napari.Viewer(show=True)
    try:
        for data, settings, kind in layers(pixel_run.table, pixel_run.sources, "many"):
            getattr(viewer, f"add_{kind}")(data, **settings)
        for layer in viewer.layers:
            layer.visible = layer.name.endswith("cells")
        shown = viewer.layers[-1]
        shown.opacity = 1.0
        seen = viewer.screenshot(canvas_only=True)[..., :3].reshape(-1, 3)
        for cell_id in (1, 150, 300):
            wanted = 255 * np.asarray(shown.colormap.map(cell_id)).ravel()[:3]
            assert (np.abs(seen - wanted).max(axis=1) < 3).any()
        inside = np.argwhere(pixel_run.segmentations["many"].cells == 150)[4]
        told = shown.get_status(tuple(inside * 0.25), world=True)["value"]
        assert told.startswith("150; most_probable_class: ")
    finally:
        viewer.close()
