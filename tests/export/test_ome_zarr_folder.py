"""OME-Zarr of fields, by readers and validators that are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.classes import color_on_dark
from hpa_cells.export import OmeZarrFormat, open_fields
from hpa_cells.export.extra import import_extra, quiet

zarr = import_extra("zarr", wanted_by="a test")
reader = import_extra("ome_zarr.reader", wanted_by="a test")
models = import_extra("ome_zarr_models", wanted_by="a test")


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def written(request, pixel_run, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("out")
    OmeZarrFormat(version=request.param, scales=3).write_with_fields(
        pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), folder
    )
    return request.param, folder


@pytest.fixture
def version(written) -> str:
    return written[0]


@pytest.fixture
def folder(written) -> Path:
    return written[1]


def nodes(path: Path) -> dict:
    """What ome-zarr-py, and napari by it, find: the image first."""
    from ome_zarr.io import parse_url

    with quiet():
        found = list(reader.Reader(parse_url(str(path)))())
    return {node.zarr.basename(): node for node in found}


def test_a_folder_a_field(folder: Path, pixel_run) -> None:
    assert {path.name for path in folder.iterdir()} == {
        f"{field_id}.ome.zarr" for field_id in pixel_run.fields
    }


def test_pixels_and_ids(folder: Path, pixel_run) -> None:
    for field_id, field in pixel_run.fields.items():
        found = nodes(folder / f"{field_id}.ome.zarr")
        image = found[f"{field_id}.ome.zarr"].data[0]
        assert image.dtype == field.image.dtype
        np.testing.assert_array_equal(image.compute(), field.image[: 4 - len(field.missing)])
        for kind in ("cells", "nuclei"):
            labels = found[kind].data[0]
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels.compute(), getattr(pixel_run.segmentations[field_id], kind))


def test_how_channels_are_shown(folder: Path) -> None:
    image = nodes(folder / "many.ome.zarr")["many.ome.zarr"].metadata
    assert image["channel_names"] == ["microtubules", "protein", "nucleus", "ER"]
    assert [each[1] for each in image["colormap"]] == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    for low, high in image["contrast_limits"]:
        assert 0 <= low < 20
        assert 240 < high <= 255
    assert nodes(folder / "=1+1, é.ome.zarr")["=1+1, é.ome.zarr"].metadata["channel_names"][2:] == ["nucleus"]
    high = nodes(folder / "large ids.ome.zarr")["large ids.ome.zarr"].metadata["contrast_limits"][0][1]
    assert 60_000 < high <= 65_535


def test_sizes_are_in_um(folder: Path) -> None:
    found = nodes(folder / "many.ome.zarr")
    for name, axes in (("many.ome.zarr", "cyx"), ("cells", "yx"), ("nuclei", "yx")):
        metadata = found[name].metadata
        assert "".join(axis["name"] for axis in metadata["axes"]) == axes
        assert {axis["unit"] for axis in metadata["axes"] if axis["type"] == "space"} == {"micrometer"}
        for level, (scale, translation) in enumerate(metadata["coordinateTransformations"]):
            assert scale["scale"][-2:] == [0.25 * 2**level] * 2
            assert translation["translation"][-2:] == [0.125 * (2**level - 1)] * 2
        assert [each.shape[-2:] for each in found[name].data] == [(40, 60), (20, 30), (10, 15)]


def test_each_cell_has_its_numbers_and_colour(folder: Path, pixel_run) -> None:
    classes = pixel_run.table.class_set
    for field_id in pixel_run.fields:
        found = nodes(folder / f"{field_id}.ome.zarr")
        cells = pixel_run.table.cells[pixel_run.table.cells["field_id"] == field_id].set_index("cell_id")
        properties = found["cells"].metadata.get("properties", {})
        assert sorted(properties) == cells.index.tolist()
        with_nucleus = cells.index[cells["nucleus_area_px"] > 0].tolist()
        assert sorted(found["nuclei"].metadata.get("properties", {})) == with_nucleus
        for cell_id, numbers in properties.items():
            best = classes.locations[
                cells.loc[cell_id, [f"p_{key}" for key in classes.keys]].to_numpy().argmax()
            ]
            assert numbers["most_probable_class"] == best.name
            assert numbers["area_um2"] == cells.loc[cell_id, "area_um2"]
            assert np.float32(numbers["p_cytosol"]) == cells.loc[cell_id, "p_cytosol"]
            color = "".join(f"{round(255 * each):02x}" for each in found["cells"].metadata["color"][cell_id])
            assert color == bytes((*color_on_dark(best.color), 255)).hex()


def test_by_the_models_of_the_format(folder: Path, version: str) -> None:
    part = __import__(f"ome_zarr_models.v{version.replace('.', '')}", fromlist=["ImageLabel"])
    for path in folder.iterdir():
        with quiet():
            group = zarr.open_group(str(path), mode="r")
            assert type(models.open_ome_zarr(group)).__name__ == "Image"
            label_paths = part.Image.from_zarr(group).labels.attributes
            assert "cells" in str(label_paths)
            for kind in ("cells", "nuclei"):
                label = part.ImageLabel.from_zarr(group[f"labels/{kind}"])
                assert label is not None


def test_where_the_files_of_0_4_lie(tmp_path: Path, pixel_run) -> None:
    """As Fiji and Bio-Formats look for them: Zarr 2 with a folder for each dimension."""
    OmeZarrFormat().write_with_fields(
        pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path
    )
    array = json.loads((tmp_path / "many.ome.zarr" / "0" / ".zarray").read_text())
    assert (array["zarr_format"], array["dimension_separator"]) == (2, "/")
    assert (tmp_path / "many.ome.zarr" / "0" / "3" / "0" / "0").is_file()
    about = json.loads((tmp_path / "many.ome.zarr" / ".zattrs").read_text())
    assert about["multiscales"][0]["version"] == "0.4"
    assert about["hpa_cells"]["class_set"] == "hpa2021"


def test_numbers_that_are_not_known(tmp_path: Path, pixel_run) -> None:
    """JSON has no NaN: a browser would refuse the file."""
    from dataclasses import replace

    unknown = replace(pixel_run.table, cells=pixel_run.table.cells.assign(p_cytosol=np.float32(np.nan)))
    OmeZarrFormat().write_with_fields(unknown, open_fields(unknown, pixel_run.sources), tmp_path)
    text = (tmp_path / "many.ome.zarr" / "labels" / "cells" / ".zattrs").read_text()
    properties = json.loads(text, parse_constant=pytest.fail)["image-label"]["properties"]
    assert {each["p_cytosol"] for each in properties} == {None}


def test_again_into_the_same_folder(tmp_path: Path, pixel_run) -> None:
    for version in ("0.5", "0.4"):
        OmeZarrFormat(version=version, scales=1).write_with_fields(
            pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path
        )
    assert not list(tmp_path.rglob("zarr.json"))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": "0.3"}, r"format\.version is 0\.3: give one of 0\.4, 0\.5"),
        ({"scales": 0}, r"format\.scales is 0"),
    ],
)
def test_settings_out_of_range(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OmeZarrFormat(**settings)
